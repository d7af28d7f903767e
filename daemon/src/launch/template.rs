//! Prepared roots: everything of a job's file system that does not differ
//! between jobs, built once for each profile and set of mount points.

use super::devices;
use super::host_view::HostView;
use crate::plan::{HOST_NAME, Skeleton, failed};
use crate::supervise::Refusal;
use fetchml_policies::Profile;
use fetchml_sys::mount::{MountAttributes, Scope, pivot_to_cwd, restrict, stop_propagation};
use fetchml_sys::namespace::{enter_mounts, own_mounts_for_thread, own_network_for_thread};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

/// More roots than this are never needed at once; the least recently used goes.
const MOST_TEMPLATES: usize = 16;

/// A prepared root: a mount namespace that holds nothing else.
#[derive(Debug)]
pub(super) struct Template {
    skeleton: Skeleton,
    namespace: OwnedFd,
    /// The host's directories that the root shows, for Landlock's rules.
    pub(super) shown: Vec<OwnedFd>,
}

/// The prepared roots.
#[derive(Debug)]
pub(super) struct Templates {
    host: HostView,
    /// `/proc/thread-self/ns` of the launcher thread.
    namespaces: OwnedFd,
    /// A namespace with an empty directory to begin a root in.
    bare: OwnedFd,
    /// The least recently used first.
    made: VecDeque<Template>,
}

/// Where a root is built, in a copy of the bare namespace.
const BUILDING: &str = "/root";
/// Where a sysfs without the host's network is attached meanwhile.
const OWN_SYSFS: &str = "/sys";

impl Templates {
    /// Gives the calling thread a mount namespace with an own, nearly empty root.
    pub(super) fn enter_own_namespace(host: HostView) -> Result<Self, Refusal> {
        let entered = || -> Result<(OwnedFd, OwnedFd), Errno> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let namespaces = rustix::fs::open("/proc/thread-self/ns", flags, Mode::empty())?;
            own_mounts_for_thread()?;
            // Of this thread alone: the supervisor's own files stay private.
            rustix::process::umask(Mode::from_raw_mode(0o022));
            stop_propagation()?;
            let root = tmpfs("755", "1m")?;
            // Any directory will do: nobody else sees this namespace.
            attach(&root, "/proc")?;
            rustix::process::fchdir(&root)?;
            pivot_to_cwd()?;
            for directory in [BUILDING, OWN_SYSFS] {
                rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))?;
            }
            let bare = current_mounts(&namespaces)?;
            Ok((namespaces, bare))
        };
        let (namespaces, bare) =
            entered().map_err(failed("prepare the launcher's mount namespace"))?;
        Ok(Self { host, namespaces, bare, made: VecDeque::new() })
    }

    /// Takes the thread into the root for a skeleton, built if there is none yet.
    pub(super) fn enter(
        &mut self,
        skeleton: &Skeleton,
        profile: &Profile,
    ) -> Result<&Template, Refusal> {
        match self.made.iter().position(|t| t.skeleton == *skeleton) {
            Some(at) => {
                let hit = self.made.remove(at);
                self.made.extend(hit);
            }
            None => {
                if self.made.len() == MOST_TEMPLATES {
                    self.made.pop_front();
                }
                enter_mounts(self.bare.as_fd()).map_err(failed("begin a root"))?;
                let template = self.build(skeleton, profile)?;
                self.made.push_back(template);
            }
        }
        let gone = || Refusal::Infrastructure("the prepared root is gone".into());
        let template = self.made.back().ok_or_else(gone)?;
        // Each time, so that the thread is never in another job's root by mistake.
        enter_mounts(template.namespace.as_fd()).map_err(failed("enter a prepared root"))?;
        Ok(template)
    }

    fn build(&self, skeleton: &Skeleton, profile: &Profile) -> Result<Template, Refusal> {
        own_mounts_for_thread().map_err(failed("make a mount namespace"))?;
        if profile.show.iter().any(|shown| tells_of_networks(&shown.path)) {
            let made = std::thread::spawn(sysfs_of_no_network).join();
            made.unwrap_or(Err(Errno::IO))
                .and_then(|sysfs| attach(&sysfs, OWN_SYSFS))
                .map_err(failed("mount a sysfs without the host's network"))?;
        }
        let shown = build(&self.host, BUILDING, skeleton, profile)?;
        let pivoted = || {
            rustix::process::chdir(BUILDING)?;
            pivot_to_cwd()?;
            current_mounts(&self.namespaces)
        };
        let namespace = pivoted().map_err(failed("enter a new root"))?;
        Ok(Template { skeleton: skeleton.clone(), namespace, shown })
    }
}

/// Whether a shown path has devices below it that a network interface may belong to.
fn tells_of_networks(path: &str) -> bool {
    path.starts_with("/sys/") && !path.starts_with("/sys/devices/system/")
}

/// A sysfs shows the interfaces of the network that its maker is in: one that is made
/// in a network without any has none of the host's, nor those that come later.
/// In a thread of its own, which ends with its network.
fn sysfs_of_no_network() -> Result<OwnedFd, Errno> {
    own_network_for_thread()?;
    let fs = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, quiet)
}

fn current_mounts(namespaces: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(namespaces, "mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn tmpfs(mode: &str, size: &str) -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", mode)?;
    fsconfig_set_string(&fs, "size", size)?;
    fsconfig_create(&fs)?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, quiet)
}

fn attach(mount: &OwnedFd, at: &str) -> Result<(), Errno> {
    move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Fills a root; gives the host's directories that it shows.
fn build(
    host: &HostView,
    at: &str,
    skeleton: &Skeleton,
    profile: &Profile,
) -> Result<Vec<OwnedFd>, Refusal> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| {
            Refusal::Infrastructure(format!("cannot build the root: {what}: {e}"))
        }
    };
    tmpfs("755", "4m").and_then(|t| attach(&t, at)).map_err(failed("mount a root"))?;
    let root = Path::new(at);
    for dir in ["proc", "dev", "dev/shm", "tmp", "work", "outputs", "etc"] {
        fs::create_dir(root.join(dir)).map_err(io(dir))?;
    }
    merged_usr(host, root).map_err(io("top-level links"))?;
    let mut directories = Vec::new();
    for shown in &profile.show {
        match show(host, root, &shown.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && shown.optional => {}
            // What is below /etc can be read as all of /etc can, but not be executed.
            other => directories.extend(
                other.map_err(io(&shown.path))?.filter(|_| !shown.path.starts_with("/etc/")),
            ),
        }
    }
    devices::show_usual(host, root)?;
    if profile.terminals {
        devices::lead_to_terminals(root).map_err(io("dev/pts"))?;
    }
    for path in &skeleton.devices {
        devices::show(host, root, path, None)?;
    }
    identity(root, skeleton).map_err(io("/etc"))?;
    for target in &skeleton.mount_points {
        fs::create_dir_all(root.join(target.trim_start_matches('/'))).map_err(io(target))?;
    }
    let dir = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open a root"))?;
    restrict(dir.as_fd(), c"", Scope::One, MountAttributes::READ_ONLY)
        .map_err(failed("make a root read-only"))?;
    Ok(directories)
}

/// `/bin` and kin as the host has them: links into /usr or, on a host without a
/// merged /usr, the directories themselves.
fn merged_usr(host: &HostView, root: &Path) -> std::io::Result<()> {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        let target = host.run({
            let path = path.clone();
            move || match fs::symlink_metadata(&path) {
                Ok(m) if m.is_symlink() => fs::read_link(&path).map(Some),
                Ok(_) => Ok(None),
                Err(e) => Err(e),
            }
        });
        match target {
            Ok(Some(target)) => symlink(target, root.join(name))?,
            Ok(None) => show(host, root, &format!("/{name}")).map(drop)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Shows a host path read-only at the same place; gives a handle if it is a directory.
fn show(host: &HostView, root: &Path, path: &str) -> std::io::Result<Option<OwnedFd>> {
    let source = path.to_owned();
    let open = move || -> std::io::Result<(FileType, OwnedFd)> {
        let source = rustix::fs::open(&source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&source)?.st_mode);
        Ok((kind, crate::plan::detached_tree(source.as_fd(), true)?))
    };
    let (kind, tree) = if tells_of_networks(path) { open() } else { host.run(open) }?;
    let target = root.join(path.trim_start_matches('/'));
    match kind {
        FileType::Directory => fs::create_dir_all(&target)?,
        FileType::RegularFile => {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            empty_file(&target)?;
        }
        _ => return Err(std::io::Error::other("is neither a directory nor a plain file")),
    }
    let attributes =
        MountAttributes::READ_ONLY.and(MountAttributes::NO_SUID).and(MountAttributes::NO_DEV);
    restrict(tree.as_fd(), c"", Scope::Tree, attributes)?;
    move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok((kind == FileType::Directory).then_some(tree))
}

pub(super) fn empty_file(path: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map(drop)
}

/// What a program asks of /etc to know who and where it is; nothing of the host's.
fn identity(root: &Path, skeleton: &Skeleton) -> std::io::Result<()> {
    let (uid, gid) = (skeleton.uid, skeleton.gid);
    let etc = root.join("etc");
    let nologin = "/usr/sbin/nologin";
    for (name, text) in [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:{nologin}\njob:x:{uid}:{gid}:job:/tmp:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:{nologin}\n"
            ),
        ),
        ("group", format!("root:x:0:\njob:x:{gid}:\nnogroup:x:65534:\n")),
        ("hosts", format!("127.0.0.1 localhost {HOST_NAME}\n::1 localhost {HOST_NAME}\n")),
        ("hostname", format!("{HOST_NAME}\n")),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".into()),
        ("resolv.conf", skeleton.resolver.clone()),
    ] {
        fs::write(etc.join(name), text)?;
    }
    Ok(())
}
