//! Memory, CPUs and processes: what limits jobs, and what limits the machine.

use super::{number, read};
use fetchml_api::host::{Finding, Group};
use std::path::Path;

const CGROUP: &str = "/sys/fs/cgroup";
/// Machines with fewer processes in all than one job may have by default.
const FEW_PROCESSES: u64 = 8192;
const REMEDY: &str =
    "boot with systemd.unified_cgroup_hierarchy=1, or leave --memory and --cpus out";

pub(super) fn findings() -> Vec<Finding> {
    let controllers = read(&format!("{CGROUP}/cgroup.controllers"));
    let mut findings = vec![
        cgroups(controllers.as_deref()),
        delegation(jobs_unit()),
        overcommit(read("/proc/sys/vm/overcommit_memory").as_deref()),
        processes(number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max")),
        keys(number("/proc/sys/kernel/keys/maxkeys")),
    ];
    if controllers.is_some_and(|c| c.split_ascii_whitespace().any(|c| c == "memory")) {
        findings.insert(1, swap_accounting(has_swap_accounting()));
    }
    findings
}

/// The hierarchy, as long as no supervisor says where jobs go in it.
fn cgroups(controllers: Option<&str>) -> Finding {
    const LOST: &str = "jobs that ask for a limit of what is missing are refused";
    let Some(controllers) = controllers else {
        return Finding::missing(
            Group::Resources,
            "cgroups",
            "no version 2 hierarchy on /sys/fs/cgroup",
        )
        .so(LOST)
        .fix(REMEDY);
    };
    let missing: Vec<_> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|wanted| !controllers.split_ascii_whitespace().any(|c| c == *wanted))
        .collect();
    if missing.is_empty() {
        return Finding::ok(Group::Resources, "cgroups", format!("version 2 with {controllers}"));
    }
    Finding::partial(
        Group::Resources,
        "cgroups",
        format!("no controller for {}", missing.join(", ")),
    )
    .so(LOST)
    .fix(REMEDY)
}

/// A group below the root has the file when swap is accounted.
fn has_swap_accounting() -> bool {
    ["system.slice", "init.scope", "fetchml.slice"]
        .iter()
        .any(|group| Path::new(CGROUP).join(group).join("memory.swap.max").exists())
}

fn swap_accounting(there: bool) -> Finding {
    if there {
        return Finding::ok(
            Group::Resources,
            "swap-accounting",
            "a job's memory limit holds without swap",
        );
    }
    Finding::partial(Group::Resources, "swap-accounting", "no memory.swap.max")
        .so("a job at its memory limit may go on in swap")
        .fix("boot with swapaccount=1")
}

/// The group of the unit below which the system service puts jobs.
fn jobs_unit() -> Option<bool> {
    let group = Path::new(CGROUP).join("fetchml.slice/fetchml-jobs.service");
    Path::new(CGROUP).join("cgroup.controllers").exists().then(|| group.is_dir())
}

fn delegation(there: Option<bool>) -> Finding {
    const NAME: &str = "delegation";
    match there {
        Some(true) => Finding::ok(
            Group::Resources,
            NAME,
            "jobs of the service live below fetchml.slice/fetchml-jobs.service",
        ),
        Some(false) => Finding::absent(
            Group::Resources,
            NAME,
            "fetchml-jobs.service is not running; a private supervisor uses the group it is \
             started in",
        ),
        None => Finding::absent(Group::Resources, NAME, "no version 2 hierarchy to delegate"),
    }
}

fn overcommit(mode: Option<&str>) -> Finding {
    const NAME: &str = "overcommit";
    match mode {
        Some("2") => Finding::partial(Group::Resources, NAME, "vm.overcommit_memory = 2")
            .so("libraries that reserve much and use little (CUDA, allocators) fail to start")
            .fix("sysctl vm.overcommit_memory=0"),
        Some(mode) => Finding::ok(Group::Resources, NAME, format!("vm.overcommit_memory = {mode}")),
        None => Finding::unknown(Group::Resources, NAME, "cannot read vm.overcommit_memory"),
    }
}

fn processes(pid_max: Option<u64>, threads_max: Option<u64>) -> Finding {
    const NAME: &str = "processes";
    let Some(most) = pid_max.into_iter().chain(threads_max).min() else {
        return Finding::unknown(Group::Resources, NAME, "cannot read kernel.pid_max");
    };
    let detail = format!("the machine holds {most} processes and threads");
    if most >= FEW_PROCESSES {
        return Finding::ok(Group::Resources, NAME, detail);
    }
    Finding::partial(Group::Resources, NAME, detail)
        .so("a job or two with many workers use them up")
        .fix("sysctl kernel.pid_max=4194304 kernel.threads-max=4194304")
}

/// Each job has a session keyring of its own host id.
fn keys(most: Option<u64>) -> Finding {
    match most {
        Some(0) => Finding::partial(Group::Resources, "keyrings", "kernel.keys.maxkeys = 0")
            .so("jobs cannot have a keyring of their own")
            .fix("sysctl kernel.keys.maxkeys=200"),
        Some(most) => Finding::ok(
            Group::Resources,
            "keyrings",
            format!("kernel.keys.maxkeys = {most}; each job has a user id of its own"),
        ),
        None => Finding::ok(Group::Resources, "keyrings", "not in this kernel"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Missing, Ok as Fine, Partial, Unknown};

    #[test]
    fn controllers_that_are_not_there_are_named() {
        assert_eq!(cgroups(None).state, Missing);
        assert!(!cgroups(None).needed);
        let some = cgroups(Some("cpu pids"));
        assert_eq!((some.state, some.detail.as_str()), (Partial, "no controller for memory"));
        assert_eq!(cgroups(Some("cpuset cpu io memory pids")).state, Fine);
        assert_eq!(swap_accounting(false).state, Partial);
        assert_eq!(delegation(Some(false)).state, Absent);
    }

    #[test]
    fn settings_that_make_jobs_fail_have_a_remedy() {
        for finding in [overcommit(Some("2")), processes(Some(4096), Some(90_000)), keys(Some(0))] {
            assert_eq!(finding.state, Partial, "{finding:?}");
            assert!(finding.consequence.is_some(), "{finding:?}");
            assert!(finding.remedy.is_some_and(|r| r.contains("sysctl")));
        }
        assert_eq!(processes(None, None).state, Unknown);
        assert_eq!(processes(Some(32_768), None).state, Fine);
    }
}
