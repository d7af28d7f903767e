//! The root: a copy of the profile's prepared tree (it came with the mount
//! namespace), completed by what belongs to this one job, entered by pivot_root.
//!
//! The mount namespace belongs to the initial user namespace, so that a job that
//! regains every capability in its own cannot change a single mount.

use super::{Failure, Step};
use crate::launch::{LaunchTimes, Mark};
use crate::plan::{MountPlan, Plan, ProcMask};
use fetchml_sys::Errno;
use fetchml_sys::mount::{MountAttributes, Scope, pivot_to_cwd, restrict, stop_propagation};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::ffi::CStr;

/// Where the launcher's own root keeps what overlays and masks are made of. Gone
/// from the job's view with the old root.
pub(crate) const LOWER: &CStr = c"/lower";
/// See [`LOWER`].
pub(crate) const UPPER: &CStr = c"/upper";
/// An empty, read-only directory.
pub(crate) const EMPTY: &CStr = c"/empty";

const NO_ESCALATION: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

pub(super) fn assemble_and_enter_root(plan: &Plan, times: &mut LaunchTimes) -> Result<(), Failure> {
    // The namespace is a copy of the launcher's, where nothing is shared. If that
    // were ever wrong, what follows would happen on the host.
    Step::EnterTemplate.of(stop_propagation())?;
    Step::EnterTemplate.of(rustix::process::chdir(plan.template.as_c_str()))?;
    Step::PrivateTmp.of(tmpfs(&plan.tmp_size, c"tmp", NO_ESCALATION))?;
    let no_exec = NO_ESCALATION.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    Step::SharedMemory.of(tmpfs(&plan.shm_size, c"dev/shm", no_exec))?;
    times.pass(Mark::Temporary);
    work(plan)?;
    Step::Outputs.of(attach(plan.outputs.as_fd(), CWD, c"outputs"))?;
    for (item, mount) in plan.mounts.iter().enumerate() {
        Step::Mount.of_item(item, user_mount(mount))?;
    }
    times.pass(Mark::Directories);
    proc(plan)?;
    times.pass(Mark::Proc);
    Step::PivotRoot.of(pivot_to_cwd())
}

/// A private tmpfs that everybody in the job may write.
fn tmpfs(size: &CStr, at: &CStr, attributes: MountAttrFlags) -> Result<(), Errno> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, c"mode", c"1777")?;
    fsconfig_set_string(&fs, c"size", size)?;
    mount_new(&fs, at, attributes)
}

fn mount_new(fs: &OwnedFd, at: &CStr, attributes: MountAttrFlags) -> Result<(), Errno> {
    fsconfig_create(fs)?;
    let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    attach(mount.as_fd(), CWD, at)
}

/// Attaches a detached mount at a path of our own making.
fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    move_mount(mount, c"", dir, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// `/work`: the project as the lower layer, the job's own directory above it, so
/// that the job may write anywhere and the original never changes.
fn work(plan: &Plan) -> Result<(), Failure> {
    let Some(lower) = &plan.project else {
        return Step::ProjectLayers.of(attach(plan.work_upper.as_fd(), CWD, c"work"));
    };
    // Layers must be attached somewhere in this namespace before Linux 6.15.
    Step::ProjectLayers.of(attach(lower.as_fd(), CWD, LOWER))?;
    Step::ProjectLayers.of(attach(plan.work_upper.as_fd(), CWD, UPPER))?;
    let overlay = || -> Result<(), Errno> {
        let fs = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in [
            (c"source", c"work"),
            (c"lowerdir", LOWER),
            (c"upperdir", c"/upper/upper"),
            (c"workdir", c"/upper/work"),
            // What these features would follow or trust lies in directories
            // that users can write.
            (c"redirect_dir", c"nofollow"),
            (c"metacopy", c"off"),
        ] {
            fsconfig_set_string(&fs, key, value)?;
        }
        mount_new(&fs, c"work", NO_ESCALATION)
    };
    Step::ProjectOverlay.of(overlay())
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

/// A fresh /proc of the job's process-id namespace, masked and read-only.
fn proc(plan: &Plan) -> Result<(), Failure> {
    let mounted = || -> Result<OwnedFd, Errno> {
        let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        let attributes = NO_ESCALATION.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
        let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        attach(mount.as_fd(), CWD, c"proc")?;
        Ok(mount)
    };
    let mount = Step::Proc.of(mounted())?;
    Step::OomScore.of(be_killed_first(mount.as_fd()))?;
    for (item, masked) in plan.proc_masks.iter().enumerate() {
        Step::ProcMask.of_item(item, cover(masked, mount.as_fd()))?;
    }
    // Nothing in a job writes to /proc, and much below it (sys, irq, bus, fs,
    // sysrq-trigger) acts on the machine: the whole mount is read-only.
    Step::Proc.of(restrict(mount.as_fd(), c"", Scope::One, MountAttributes::READ_ONLY))
}

fn cover(masked: &ProcMask, proc: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let by = open_tree(CWD, if masked.directory { EMPTY } else { c"dev/null" }, flags)?;
    if masked.directory {
        // It is one directory for all jobs.
        restrict(by.as_fd(), c"", Scope::One, MountAttributes::READ_ONLY)?;
    }
    attach(by.as_fd(), proc, &masked.path)
}

/// The supervisor protects itself from the out-of-memory killer, and a child
/// inherits that. A job is to go before anything of the host.
fn be_killed_first(proc: BorrowedFd<'_>) -> Result<(), Errno> {
    let file =
        openat(proc, c"self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, b"500").map(drop)
}
