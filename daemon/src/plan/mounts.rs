//! The directories of one job: cloned from the descriptors that the client
//! opened, with ids mapped so that what the job writes belongs to the submitter.

use super::failed;
use crate::jail::overlay_of_detached;
use crate::launch::{Account, HostView};
use crate::supervise::{Refusal, StartRequest};
use fetchml_api::job::{MountMode, MountRequest};
use fetchml_policies::Profile;
use fetchml_sys::mount::{MountAttributes, isolate, map_ids};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One directory to attach.
#[derive(Debug)]
pub(crate) struct MountPlan {
    pub(crate) tree: OwnedFd,
    /// Path below the root or, with `inside_work`, below /work.
    pub(crate) target: CString,
    pub(crate) inside_work: bool,
    pub(crate) writable: bool,
}

impl MountPlan {
    /// Where the job finds it.
    pub(crate) fn target_path(&self) -> PathBuf {
        let root = Path::new(if self.inside_work { "/work" } else { "/" });
        root.join(OsStr::from_bytes(self.target.as_bytes()))
    }
}

/// The layers of /work.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// The project directory, read-only and with mapped ids.
    pub(crate) lower: OwnedFd,
    /// What the job writes, in the area of the work directory.
    pub(crate) upper: OwnedFd,
    /// The overlay's own directory, beside it.
    pub(crate) area: OwnedFd,
    /// Made of them, attached nowhere yet; nothing where the kernel cannot.
    pub(crate) mounted: Option<OwnedFd>,
}

impl Overlay {
    pub(super) fn new(lower: OwnedFd, work: &OwnedFd) -> Result<Self, Refusal> {
        let open = |name: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(work, name, flags, Mode::empty())
                .map_err(failed("open the job's work directory"))
        };
        let (upper, area) = (open("upper")?, open("work")?);
        let mut layers = Self { lower, upper, area, mounted: None };
        // Otherwise the child does it in another way, and says what is wrong.
        layers.mounted = overlay_of_detached(&layers).ok();
        Ok(layers)
    }
}

/// The job's directories by role.
#[derive(Debug)]
pub(crate) struct Mounts {
    pub(super) project: Option<OwnedFd>,
    pub(super) others: Vec<MountPlan>,
}

/// A detached copy of the mount below a descriptor: what `mount --bind` shows,
/// attached nowhere yet, and nobody's peer.
pub(crate) fn detached_tree(directory: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(directory, c"", flags)?;
    isolate(tree.as_fd())?;
    Ok(tree)
}

/// Clones directories with the submitter's ids on the disk translated to the job's.
pub(super) struct IdMaps<'a> {
    view: &'a HostView,
    account: &'a Account,
}

impl<'a> IdMaps<'a> {
    pub(super) fn new(view: &'a HostView, account: &'a Account) -> Self {
        Self { view, account }
    }

    /// The directory as the job sees it.
    pub(super) fn tree(
        &self,
        directory: &OwnedFd,
        label: &str,
        writable: bool,
    ) -> Result<OwnedFd, Refusal> {
        let mut attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
        if !writable {
            attributes = attributes.and(MountAttributes::READ_ONLY);
        }
        self.mapped(directory, label, attributes, self.account.submitter_only())
    }

    /// The area of the overlay's upper layer, or of a /work without a project.
    /// The overlay itself works in it as root, which therefore needs an id there.
    pub(super) fn tree_for_overlay(
        &self,
        area: &OwnedFd,
        overlay: bool,
    ) -> Result<OwnedFd, Refusal> {
        let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
        if overlay {
            return self.mapped(area, "/work", attributes, self.account.with_root());
        }
        let upper = rustix::fs::openat(
            area,
            "upper",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(failed("open the job's work directory"))?;
        self.mapped(&upper, "/work", attributes, self.account.submitter_only())
    }

    fn mapped(
        &self,
        directory: &OwnedFd,
        label: &str,
        attributes: MountAttributes,
        ids: BorrowedFd<'_>,
    ) -> Result<OwnedFd, Refusal> {
        let tree = self.clone_mount(directory.as_fd()).map_err(|e| match e {
            Errno::INVAL => Refusal::Invalid(format!(
                "directory `{label}` is mounted in another mount namespace than the supervisor's \
                 (a container, or a service with a private /tmp); use a directory of the host"
            )),
            e => Refusal::Invalid(format!("cannot show directory `{label}`: {e}")),
        })?;
        map_ids(tree.as_fd(), ids, attributes).map_err(|e| {
            Refusal::BarrierUnavailable(format!(
                "the file system of `{label}` cannot map user ids ({e}); move the directory to \
                 ext4, xfs, btrfs or tmpfs (Linux 6.3 for tmpfs)"
            ))
        })?;
        Ok(tree)
    }

    /// Jobs' own directories are on mounts of the supervisor's namespace, the
    /// client's on those of the host.
    fn clone_mount(&self, directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        match detached_tree(directory, false) {
            Err(Errno::INVAL) => self.view.clone_mount(directory),
            own => own,
        }
    }
}

/// Refuses a target at, below or above what the profile shows of the host: a job
/// that could cover host paths would choose what its own tools read there.
pub(super) fn check_target(target: &str, profile: &Profile) -> Result<(), Refusal> {
    let target = Path::new(target);
    let clash = |shown: &&fetchml_policies::Shown| {
        let shown = Path::new(&shown.path);
        target.starts_with(shown) || shown.starts_with(target)
    };
    match profile.show.iter().find(clash) {
        None => Ok(()),
        Some(shown) => Err(Refusal::Invalid(format!(
            "mount target `{}` would cover `{}`, which profile `{}` shows of the host; choose \
             another place, such as /data or /mnt/NAME",
            target.display(),
            shown.path,
            profile.name
        ))),
    }
}

/// Refuses a descriptor that is no directory, or whose holder could not do with
/// it what the job is to do: a client that only has O_PATH proved nothing.
pub(super) fn check(asked: &MountRequest, directory: &OwnedFd) -> Result<(), Refusal> {
    let label = &asked.label;
    let stat = rustix::fs::fstat(directory).map_err(failed("look at a descriptor"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Refusal::Invalid(format!("`{label}` is not a directory; mount the directory")));
    }
    let flags = rustix::fs::fcntl_getfl(directory).map_err(failed("look at a descriptor"))?;
    if flags.contains(OFlags::PATH) {
        return Err(Refusal::Invalid(format!(
            "the descriptor of `{label}` was opened with O_PATH, which does not show that you may \
             read it; open it with O_RDONLY | O_DIRECTORY"
        )));
    }
    Ok(())
}

/// Clones what the client opened.
pub(super) fn user_mounts(request: &StartRequest, ids: &IdMaps<'_>) -> Result<Mounts, Refusal> {
    let mut mounts = Mounts { project: None, others: Vec::new() };
    for (asked, directory) in request.spec.mounts.iter().zip(&request.directories) {
        let tree = ids.tree(directory, &asked.label, asked.mode == MountMode::Rw)?;
        match asked.mode {
            MountMode::Project => mounts.project = Some(tree),
            MountMode::Ro | MountMode::Rw => mounts.others.push(other(asked, tree)?),
        }
    }
    Ok(mounts)
}

/// Directories of a request that are no project.
pub(super) fn others(request: &StartRequest) -> impl Iterator<Item = &OwnedFd> {
    let all = request.spec.mounts.iter().zip(&request.directories);
    all.filter(|(asked, _)| asked.mode != MountMode::Project).map(|(_, directory)| directory)
}

fn other(asked: &MountRequest, tree: OwnedFd) -> Result<MountPlan, Refusal> {
    let (target, inside_work) = place(asked);
    Ok(MountPlan {
        tree,
        target: super::c_string("mount target", target)?,
        inside_work,
        writable: asked.mode == MountMode::Rw,
    })
}

/// Where a directory goes, below /work or else below the root.
fn place(asked: &MountRequest) -> (&str, bool) {
    match asked.target.strip_prefix("/work/") {
        Some(target) => (target, true),
        None => (asked.target.trim_start_matches('/'), false),
    }
}

/// Mount points that the root must have beyond the usual ones.
pub(super) fn mount_points(asked: &[MountRequest]) -> Vec<String> {
    let others = asked.iter().filter(|one| one.mode != MountMode::Project).map(place);
    let of_root = others.filter(|(_, inside_work)| !inside_work);
    of_root.map(|(target, _)| format!("/{target}")).collect()
}
