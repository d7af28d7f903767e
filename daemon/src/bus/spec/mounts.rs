//! Directories that the client opened: where they may be shown, and whether what
//! came is one.

use crate::bus::error::BusError;
use fetchml_api::job::{MountMode, MountRequest};
use zbus::OwnedFd;

const MAX_LABEL_CHARS: usize = 512;
/// Most directories of one job.
pub(in crate::bus) const MAX_MOUNTS: usize = 64;
/// The root of a job has a directory for each part, in kernel memory that is kept
/// for the next job and counts for the supervisor.
const MAX_TARGET_PARTS: usize = 32;
/// Where the project is.
const WORK: &str = "/work";
/// Places that belong to the sandbox; neither they nor anything below is for mounts.
const RESERVED: [&str; 14] = [
    "/proc", "/dev", "/sys", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
    "/libx32", "/run", "/tmp", "/outputs",
];

/// A mount as it comes over the bus.
pub(in crate::bus) type GivenMount = (String, String, String, OwnedFd);

pub(super) fn read_mounts(given: &[GivenMount]) -> Result<Vec<MountRequest>, BusError> {
    if given.len() > MAX_MOUNTS {
        let count = given.len();
        return Err(BusError::invalid(format!("{count} mounts: a job may have {MAX_MOUNTS}")));
    }
    let mut mounts: Vec<MountRequest> = Vec::with_capacity(given.len());
    for (target, mode, label, directory) in given {
        let mode = mount_mode(target, mode)?;
        check_target(target, mode)?;
        for other in &mounts {
            check_apart(target, &other.target)?;
        }
        check_directory(target, directory)?;
        let label = label.chars().take(MAX_LABEL_CHARS);
        let label = label.map(|c| if c.is_control() { '?' } else { c }).collect();
        mounts.push(MountRequest { target: target.clone(), mode, label });
    }
    Ok(mounts)
}

fn mount_mode(target: &str, mode: &str) -> Result<MountMode, BusError> {
    match mode {
        "project" => Ok(MountMode::Project),
        "ro" => Ok(MountMode::Ro),
        "rw" => Ok(MountMode::Rw),
        _ => Err(BusError::invalid(format!(
            "mount {target:?} has the mode {mode:?}: write project, ro or rw"
        ))),
    }
}

fn check_target(target: &str, mode: MountMode) -> Result<(), BusError> {
    let invalid = |why: &str| Err(BusError::invalid(format!("mount {target:?} {why}")));
    let Some(below_root) = target.strip_prefix('/') else {
        return invalid("is not absolute: begin it with a slash");
    };
    if target.len() > 4095 || target.chars().any(char::is_control) {
        return invalid("is too long or has control characters: choose a plain path");
    }
    if below_root.split('/').any(|part| matches!(part, "" | "." | "..") || part.len() > 255) {
        return invalid("is not a plain path: leave out empty parts, dots and a final slash");
    }
    if below_root.split('/').count() > MAX_TARGET_PARTS {
        return invalid(&format!("has more than {MAX_TARGET_PARTS} parts: choose a shorter path"));
    }
    if let Some(place) = RESERVED.iter().find(|place| is_within(target, place)) {
        return invalid(&format!("is in {place}, which belongs to the sandbox: choose another"));
    }
    match (mode, target == WORK) {
        (MountMode::Project, false) => invalid("cannot be the project: that is at /work"),
        (MountMode::Ro | MountMode::Rw, true) => {
            invalid("is the place of the project: choose another, or the mode project")
        }
        _ => Ok(()),
    }
}

/// Two mounts may not hide each other; inside the project one may be shown.
fn check_apart(target: &str, other: &str) -> Result<(), BusError> {
    if target == other {
        return Err(BusError::invalid(format!("mount {target:?} is given twice")));
    }
    let nested = |inner: &str, outer: &str| outer != WORK && is_within(inner, outer);
    if nested(target, other) || nested(other, target) {
        return Err(BusError::invalid(format!(
            "mounts {other:?} and {target:?} are inside each other: give them places of their own"
        )));
    }
    Ok(())
}

fn is_within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What came is a directory that the client could read: a descriptor opened
/// with O_PATH would prove nothing.
fn check_directory(target: &str, directory: &OwnedFd) -> Result<(), BusError> {
    let failed = |error: rustix::io::Errno| {
        BusError::invalid(format!("the descriptor for mount {target:?} cannot be used: {error}"))
    };
    let kind =
        rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(directory).map_err(failed)?.st_mode);
    if kind != rustix::fs::FileType::Directory {
        return Err(BusError::invalid(format!("mount {target:?} is no directory: open one")));
    }
    let flags = rustix::fs::fcntl_getfl(directory).map_err(failed)?;
    if flags.contains(rustix::fs::OFlags::PATH) {
        return Err(BusError::invalid(format!(
            "the descriptor for mount {target:?} was opened with O_PATH: open it for reading"
        )));
    }
    Ok(())
}
