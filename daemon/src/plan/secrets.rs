//! The secrets of one job: a file system in memory that nobody else has, and variables.

use super::mounts::MountPlan;
use super::{c_string, failed};
use crate::secrets::Given;
use crate::supervise::Refusal;
use fetchml_api::job::JobSpec;
use fetchml_policies::Profile;
use fetchml_sys::mount::{MountAttributes, Scope, restrict};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::CStr;

/// Where a job finds them.
const DIRECTORY: &str = "/run/secrets";

/// Refuses secrets in files where the profile shows something else.
pub(crate) fn check(spec: &JobSpec, profile: &Profile) -> Result<(), Refusal> {
    if spec.secrets.iter().all(|one| one.variable.is_some()) {
        return Ok(());
    }
    // Directories of the submitter are never below /run.
    super::mounts::check_target(DIRECTORY, profile)
}

/// Where the root must have room for them.
pub(super) fn mount_point(given: &[Given]) -> Option<String> {
    files(given).next().map(|_| DIRECTORY.to_owned())
}

fn files(given: &[Given]) -> impl Iterator<Item = &Given> {
    given.iter().filter(|one| one.variable.is_none())
}

/// The files, which belong to the job's user and which nobody can change.
pub(super) fn mount(given: &[Given], owner: u32) -> Result<Option<MountPlan>, Refusal> {
    if files(given).next().is_none() {
        return Ok(None);
    }
    let tree = in_memory().map_err(failed("make a file system in memory for secrets"))?;
    for one in files(given) {
        write(&tree, one, owner).map_err(failed("write a secret for the job"))?;
    }
    let attributes = MountAttributes::READ_ONLY
        .and(MountAttributes::NO_SUID)
        .and(MountAttributes::NO_DEV)
        .and(MountAttributes::NO_EXEC);
    restrict(tree.as_fd(), c"", Scope::One, attributes)
        .map_err(failed("close the secrets of a job"))?;
    let target = c_string("mount target", DIRECTORY.trim_start_matches('/'))?;
    Ok(Some(MountPlan { tree, target, inside_work: false, writable: false }))
}

/// What is in it never gets to a disk as swapped memory: a tmpfs that is not swapped
/// (Linux 6.4), or a ramfs, which never is.
fn in_memory() -> Result<OwnedFd, Errno> {
    let make = |kind: &CStr, noswap: bool| {
        let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, c"mode", c"0555")?;
        if noswap {
            fsconfig_set_flag(&fs, c"noswap")?;
        }
        fsconfig_create(&fs)?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    make(c"tmpfs", true).or_else(|_| make(c"ramfs", false))
}

fn write(tree: &OwnedFd, one: &Given, owner: u32) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(tree, one.name.as_str(), flags, Mode::RUSR)?;
    let mut rest = one.value.as_slice();
    while !rest.is_empty() {
        let n = rustix::io::write(&file, rest)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
}

/// The variables: names, and values without the line end that files have.
pub(super) fn variables(given: &[Given]) -> Result<Vec<Vec<u8>>, Refusal> {
    let asked = given.iter().filter_map(|one| Some((one.variable.as_ref()?, one)));
    asked
        .map(|(variable, one)| {
            let line_end = one.value.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
            let value = one.value.get(..line_end.map_or(0, |at| at + 1)).unwrap_or_default();
            if value.contains(&0) {
                return Err(Refusal::Invalid(format!(
                    "secret {} holds a NUL byte, which no variable can: use --secret {}",
                    one.name, one.name
                )));
            }
            Ok([variable.as_bytes(), b"=", value].concat())
        })
        .collect()
}
