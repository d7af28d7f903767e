//! Where the jobs' groups go, and what the groups around them leave.

use super::{Bounds, Controller};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Unit whose delegated group holds the jobs' groups.
const JOBS_UNIT: &str = "fetchml-jobs.service";

/// Where the jobs' groups go.
pub(super) fn parent_group(name: Option<&str>) -> Result<PathBuf, String> {
    let root = hierarchy().ok_or("there is no cgroup v2 hierarchy on this machine")?;
    let own = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|t| t.lines().find_map(|l| l.strip_prefix("0::/").map(str::to_owned)))
        .ok_or("this process is in no cgroup v2 group")?;
    let own = root.join(own);
    let Some(name) = name else {
        let jobs = own.parent().unwrap_or(&root).join(JOBS_UNIT);
        return if jobs.is_dir() {
            Ok(jobs)
        } else {
            Err(format!("{JOBS_UNIT} is not running, so there is no group for jobs"))
        };
    };
    if is_delegated(&own) {
        enable_controllers(&own, &Controller::USUAL);
        enable_controllers(&own, &[Controller::Cpuset]);
    }
    let parent = own.join(name);
    match fs::create_dir(&parent) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make cgroup {}: {e}", parent.display()))
        }
        _ => Ok(parent),
    }
}

/// Whether systemd gave the group away, which it marks for `Delegate=yes`. Only then
/// are its processes ours to move into a child group, and while they are in it
/// none of its controllers can be enabled.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 2];
    rustix::fs::getxattr(group, c"trusted.delegate", &mut value)
        .is_ok_and(|len| value.get(..len) == Some(b"1"))
}

/// Mount point of the version 2 hierarchy. A mount may be hidden by a later one,
/// so the file system that answers at the place is asked.
fn hierarchy() -> Option<PathBuf> {
    // CGROUP2_SUPER_MAGIC of statfs(2).
    const CGROUP2: i64 = 0x6367_7270;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut mounts = table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    });
    let answers = |path: &PathBuf| rustix::fs::statfs(path).is_ok_and(|s| s.f_type == CGROUP2);
    mounts.find(answers)
}

/// Enables those of the controllers that there are for the children of a group. Processes of the group
/// itself (the unit's holder) move to a child first: a group with enabled
/// controllers holds none.
pub(super) fn enable_controllers(parent: &Path, wanted: &[Controller]) {
    let holder = parent.join("holder");
    let procs = fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
    if !procs.trim().is_empty() && fs::create_dir(&holder).is_ok() || holder.is_dir() {
        for pid in procs.lines() {
            let _ = fs::write(holder.join("cgroup.procs"), pid);
        }
    }
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for name in available.split_whitespace() {
        if wanted.iter().any(|c| c.name() == name) {
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

/// The tightest limits of a group and all above it. Those of the processes that
/// share a group count in full: nobody knows what they will need.
pub(super) fn bounds(group: &Path) -> Bounds {
    let read = |at: &Path, file: &str| fs::read_to_string(at.join(file)).ok();
    let tighter = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
    let mut bounds = Bounds::default();
    // The hierarchy's root has controllers and no limits; above it is no group.
    for at in group.ancestors().take_while(|at| at.join("cgroup.controllers").exists()) {
        let memory = read(at, "memory.max").and_then(|text| text.trim().parse().ok());
        bounds.memory_bytes = tighter(bounds.memory_bytes, memory);
        let cpus = read(at, "cpu.max").and_then(|text| share(&text));
        bounds.cpus = match (bounds.cpus, cpus) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    bounds
}

/// Processors that `cpu.max` gives: `MAX PERIOD` in microseconds.
fn share(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_above_bounds_what_jobs_get() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let slice = place.path().join("slice");
        let jobs = slice.join("jobs");
        fs::create_dir_all(&jobs).expect("a directory can be made");
        let write =
            |at: &Path, file: &str, text: &str| fs::write(at.join(file), text).expect("write");
        for at in [place.path(), &slice, &jobs] {
            write(at, "cgroup.controllers", "memory cpu\n");
        }
        assert_eq!(bounds(&jobs), Bounds::default());
        write(&jobs, "memory.max", "max\n");
        write(&jobs, "cpu.max", "max 100000\n");
        assert_eq!(bounds(&jobs), Bounds::default());
        write(&jobs, "memory.max", "8192\n");
        write(&slice, "memory.max", "4096\n");
        write(&slice, "cpu.max", "150000 100000\n");
        assert_eq!(bounds(&jobs), Bounds { memory_bytes: Some(4096), cpus: Some(1.5) });
    }
}
