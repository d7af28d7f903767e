//! What the supervisor found on this machine, for `doctor`: what only its own
//! privileges and its own place can tell.

use super::Host;
use caps::{CapSet, Capability};
use fetchml_api::host::{Finding, Group, landlock};
use fetchml_sys::mount::{MountAttributes, map_ids};
use fetchml_sys::namespace::{self, IdMapping};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::mount::OpenTreeFlags;
use rustix::process::{Resource, getrlimit};

/// Below so many descriptors a full queue leaves none for launches.
const FEW_DESCRIPTORS: u64 = 4096;

impl Host {
    /// The facts that decide what a job can be given.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").ok();
        vec![
            Finding::ok(
                Group::Sandbox,
                "launcher",
                "namespaces, id maps and the agent's image are prepared",
            )
            .needed(),
            landlock(self.landlock().level(), modules.as_deref()),
            self.mapping().clone(),
            self.groups(),
            descriptors(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nproc).current),
            capabilities(),
        ]
    }

    fn groups(&self) -> Finding {
        match self.cgroups_description() {
            Ok(detail) => Finding::ok(Group::Resources, "cgroups", detail),
            Err(detail) => Finding::partial(Group::Resources, "cgroups", detail)
                .so("jobs that ask for a limit of what is missing are refused")
                .fix(self.cgroups().remedy()),
        }
    }
}

/// Tries what every job needs: a mount of the state directory with mapped ids.
pub(super) fn mapping(directory: BorrowedFd<'_>) -> Finding {
    const NAME: &str = "id-mapped-mounts";
    let tried = || -> std::io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(directory, "", flags)?;
        let nobody = [IdMapping { inside: 1000, outside: 65534, count: 1 }];
        let ids = namespace::user(0, &nobody, &nobody)?;
        Ok(map_ids(tree.as_fd(), ids.as_fd(), MountAttributes::default())?)
    };
    match tried() {
        Ok(()) => Finding::ok(
            Group::Sandbox,
            NAME,
            "the state directory can be mapped: what a job writes belongs to its submitter",
        )
        .needed(),
        Err(error) => {
            Finding::missing(Group::Sandbox, NAME, format!("the state directory refuses: {error}"))
                .needed()
                .so("files of jobs could not belong to their submitters: no job runs")
                .fix("keep it on ext4, xfs or btrfs (tmpfs from Linux 6.3)")
        }
    }
}

fn descriptors(files: Option<u64>, processes: Option<u64>) -> Finding {
    const NAME: &str = "supervisor-limits";
    let words = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    let detail = format!("open files: {}, processes: {}", words(files), words(processes));
    if files.is_none_or(|files| files >= FEW_DESCRIPTORS) {
        return Finding::ok(Group::Resources, NAME, detail);
    }
    Finding::partial(Group::Resources, NAME, detail)
        .so("a long queue with many mounts is refused")
        .fix("LimitNOFILE=65536 in the unit, or ulimit -n 65536 before a private supervisor")
}

/// The supervisor does not start without those it needs but this one.
fn capabilities() -> Finding {
    const NAME: &str = "capabilities";
    let Ok(held) = caps::read(None, CapSet::Effective) else {
        return Finding::unknown(Group::System, NAME, "the supervisor cannot read its own");
    };
    let detail = format!("the supervisor holds the {} that it needs and no other", held.len());
    if held.contains(&Capability::CAP_SYS_RESOURCE) {
        return Finding::ok(Group::System, NAME, detail);
    }
    Finding::partial(Group::System, NAME, "all but CAP_SYS_RESOURCE")
        .so("limits of jobs are at most those that the supervisor was started with, and a job \
             that sees an NVIDIA card goes when the supervisor would when memory runs out")
        .fix("start it with CAP_SYS_RESOURCE, outside a container that drops it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Missing, Ok as Fine, Partial};

    #[test]
    fn few_descriptors_are_told_before_jobs_are_refused() {
        assert_eq!(descriptors(Some(65_536), None).state, Fine);
        assert_eq!(descriptors(Some(1024), Some(100)).state, Partial);
    }

    #[test]
    fn a_file_system_without_ids_to_map_is_found_by_trying() {
        if !rustix::process::geteuid().is_root() {
            // Mounts are mapped by root only, which the suites that need it are.
            return;
        }
        let proc = std::fs::File::open("/proc").expect("a directory");
        let refused = mapping(proc.as_fd());
        assert!(refused.needed && refused.state == Missing, "{refused:?}");
        let state = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        assert_eq!(mapping(state.as_fd()).state, Fine);
    }
}
