//! The root: a copy of the profile's prepared one, which came with the mount
//! namespace and is its only content, completed by what belongs to this one job.
//!
//! The mount namespace belongs to the initial user namespace, so that a job that
//! regains every capability in its own cannot change a single mount.
//!
//! mount(2) is used where it can do in one call what the newer interface does in
//! seven.

use super::{Failure, Step};
use crate::launch::{LaunchTimes, Mark};
use crate::plan::{Cover, MountPlan, Overlay, Plan, ProcCover, ProcPlan, RootPlan};
use fetchml_sys::Errno;
use fetchml_sys::mount::{MountAttributes, Scope, bind, restrict, stop_propagation};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags, accessat, openat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, move_mount, unmount,
};
use rustix::thread::{Timespec, nanosleep};
use std::ffi::CStr;

const NO_ESCALATION: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Who opens a terminal owns it. One job may not use up those of all others; the
/// kernel keeps the host's own apart (`kernel.pty.reserve`).
const TERMINALS: &CStr = c"mode=600,ptmxmode=666,max=64";

/// What does not depend on who the job is.
pub(super) fn complete_root(root: &RootPlan, times: &mut LaunchTimes) -> Result<(), Failure> {
    // Nothing is shared in the launcher's namespaces. If that were ever wrong,
    // what follows would happen on the host.
    Step::Propagation.of(stop_propagation())?;
    proc(&root.proc)?;
    times.pass(Mark::Proc);
    let tmp = mount(c"tmpfs", c"tmp", c"tmpfs", NO_ESCALATION, root.tmp_options.as_c_str());
    Step::PrivateTmp.of(tmp)?;
    let flags = NO_ESCALATION.union(MountFlags::NOEXEC);
    let shm = mount(c"tmpfs", c"dev/shm", c"tmpfs", flags, root.shm_options.as_c_str());
    Step::SharedMemory.of(shm)?;
    if root.terminals {
        Step::Terminals.of(terminals())?;
    }
    times.pass(Mark::Temporary);
    Ok(())
}

/// The job's own directories.
pub(super) fn attach_directories(plan: &Plan) -> Result<(), Failure> {
    work(plan)?;
    Step::Outputs.of(attach(plan.outputs.as_fd(), CWD, c"outputs"))?;
    for (item, mount) in plan.mounts.iter().enumerate() {
        Step::Mount.of_item(item, user_mount(mount))?;
    }
    Ok(())
}

/// Attaches a detached mount at a path of our own making.
fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    move_mount(mount, c"", dir, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// An instance of devpts that holds the terminals of this job alone: each mount is one
/// (Linux 4.7). Their nodes must work as devices, and are all that can be in there.
fn terminals() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
    mount(c"devpts", c"dev/pts", c"devpts", flags, TERMINALS)
}

/// `/work`: the project as the lower layer, the job's own directory above it, so
/// that the job may write anywhere and the original never changes.
fn work(plan: &Plan) -> Result<(), Failure> {
    let Some(overlay) = &plan.overlay else {
        return Step::WorkDirectory.of(attach(plan.work.as_fd(), CWD, c"work"));
    };
    if let Some(mounted) = &overlay.mounted {
        return Step::ProjectOverlay.of(attach(mounted.as_fd(), CWD, c"work"));
    }
    Step::ProjectLayers.of(attach_layers(plan, overlay))?;
    let mounted = Step::ProjectOverlay.of(overlay_of_attached())?;
    Step::ProjectOverlay.of(attach(mounted.as_fd(), CWD, c"work"))
}

/// Mounts the overlay, attached nowhere yet. EINVAL before Linux 6.15: there layers must
/// be attached somewhere in the namespace of who mounts it.
pub(crate) fn overlay_of_detached(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_fd(&fs, c"lowerdir+", &overlay.lower)?;
    fsconfig_set_fd(&fs, c"upperdir", &overlay.upper)?;
    fsconfig_set_fd(&fs, c"workdir", &overlay.area)?;
    finish_overlay(&fs)
}

/// Puts the layers where later mounts will cover their places.
fn attach_layers(plan: &Plan, overlay: &Overlay) -> Result<(), Errno> {
    attach(overlay.lower.as_fd(), CWD, c"work")?;
    attach(plan.work.as_fd(), CWD, c"outputs")
}

fn overlay_of_attached() -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, c"lowerdir", c"/work")?;
    fsconfig_set_string(&fs, c"upperdir", c"/outputs/upper")?;
    fsconfig_set_string(&fs, c"workdir", c"/outputs/work")?;
    let mounted = finish_overlay(&fs)?;
    // The overlay has its own hold on them.
    unmount(c"work", UnmountFlags::DETACH)?;
    unmount(c"outputs", UnmountFlags::DETACH)?;
    Ok(mounted)
}

fn finish_overlay(fs: &OwnedFd) -> Result<OwnedFd, Errno> {
    for (key, value) in [
        (c"source", c"work"),
        // What these features would follow or trust lies in directories that
        // users can write.
        (c"redirect_dir", c"nofollow"),
        (c"metacopy", c"off"),
    ] {
        fsconfig_set_string(fs, key, value)?;
    }
    // Otherwise the end of the job would wait until everything that anybody
    // wrote to that file system is on the disk. What must survive a crash of the
    // machine goes to /outputs.
    fsconfig_set_flag(fs, c"volatile")?;
    fsconfig_create(fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
    fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn user_mount(mount: &MountPlan) -> Result<(), Errno> {
    if !mount.inside_work {
        return attach(mount.tree.as_fd(), CWD, &mount.target);
    }
    // Below /work every component is the user's: the kernel resolves them, and
    // no symbolic link counts.
    let work = openat(CWD, c"work", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let at = openat2(
        &work,
        mount.target.as_c_str(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    move_mount(
        &mount.tree,
        c"",
        &at,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// A fresh /proc of the job's process-id namespace, masked, and read-only but for the
/// job's own processes where those can be written.
fn proc(plan: &ProcPlan) -> Result<(), Failure> {
    let flags = NO_ESCALATION.union(MountFlags::NOEXEC);
    Step::Proc.of(mount(c"proc", c"proc", c"proc", flags, None))?;
    if plan.killed_first {
        Step::OomScore.of(be_killed_first())?;
    }
    for (item, entry) in plan.masks.iter().chain(&plan.further).enumerate() {
        Step::ProcMask.of_item(item, cover(entry))?;
    }
    if plan.processes_writable {
        return Ok(());
    }
    // Nothing in a job writes to /proc, and much below it (sys, irq, bus, fs,
    // sysrq-trigger) acts on the machine: the whole mount is read-only.
    Step::Proc.of(make_read_only(c"proc"))
}

/// EBUSY is for who still writes there: what was open in the descriptor table that the
/// launch shares may live for a moment in another child, until that executes its program.
fn make_read_only(mount: &CStr) -> Result<(), Errno> {
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    for _ in 0..100 {
        match restrict(CWD, mount, Scope::One, MountAttributes::READ_ONLY) {
            Err(Errno::BUSY) => drop(nanosleep(&MOMENT)),
            other => return other,
        }
    }
    Err(Errno::BUSY)
}

/// Over a file goes /dev/null. Over a directory goes /tmp as it still is, an empty
/// directory on the prepared root's read-only mount, whose attributes are copied.
/// An entry that went with its driver since the plan was made needs no cover.
fn cover(entry: &ProcCover) -> Result<(), Errno> {
    let covered = match entry.with {
        Cover::EmptyFile => bind(c"dev/null", &entry.path),
        Cover::EmptyDirectory => bind(c"tmp", &entry.path),
        Cover::Itself => bind(&entry.path, &entry.path)
            .and_then(|()| restrict(CWD, &entry.path, Scope::One, MountAttributes::READ_ONLY)),
    };
    let is_gone =
        || accessat(CWD, &entry.path, Access::EXISTS, AtFlags::empty()) == Err(Errno::NOENT);
    covered.or_else(|errno| if errno == Errno::NOENT && is_gone() { Ok(()) } else { Err(errno) })
}

/// The supervisor protects itself from the out-of-memory killer, and a child
/// inherits that. A job is to go before anything of the host.
fn be_killed_first() -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, c"proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(&file, b"500").map(drop)
}
