//! The layers of a job's sandbox, as far as they can be judged from outside.

use super::kernel::Version;
use super::read;
use fetchml_api::host::{self, Finding, Group};
use fetchml_sys::features;

const WAIT_KILLABLE: Version = (5, 19);

pub(super) fn findings(version: Version) -> Vec<Finding> {
    vec![
        seccomp(read("/proc/sys/kernel/seccomp/actions_avail").as_deref()),
        notification(features::seccomp_notification().is_ok(), version),
        host::landlock(
            fetchml_sys::confine::landlock_level(),
            read("/sys/kernel/security/lsm").as_deref(),
        ),
        overlay(read("/proc/filesystems").as_deref().unwrap_or_default()),
        propagation(&read("/proc/self/mountinfo").unwrap_or_default()),
        yama(read("/proc/sys/kernel/yama/ptrace_scope").as_deref()),
        bpf(read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref()),
        core_dumps(read("/proc/sys/kernel/core_pattern").as_deref()),
    ]
}

fn seccomp(actions: Option<&str>) -> Finding {
    let Some(actions) = actions else {
        return Finding::missing(Group::Sandbox, "seccomp", "not in this kernel")
            .needed()
            .so("no job runs")
            .fix("boot a kernel with CONFIG_SECCOMP_FILTER");
    };
    let has = |action| actions.split_ascii_whitespace().any(|a| a == action);
    if has("errno") && has("kill_process") {
        return Finding::ok(Group::Sandbox, "seccomp", actions).needed();
    }
    Finding::missing(Group::Sandbox, "seccomp", actions)
        .needed()
        .so("no job runs")
        .fix("boot a kernel whose filters can answer errno and kill_process")
}

fn notification(answers: bool, version: Version) -> Finding {
    const NAME: &str = "seccomp-notify";
    if !answers {
        return Finding::missing(Group::Sandbox, NAME, "filters cannot notify a process")
            .so("denied calls fail as they should, and nobody counts them for the job's report")
            .fix("boot Linux 5.0 or newer, outside a container whose filter is in use already");
    }
    if version < WAIT_KILLABLE {
        return Finding::partial(Group::Sandbox, NAME, "without WAIT_KILLABLE")
            .so("a signal can interrupt a denied call before it is counted")
            .fix("boot Linux 5.19 or newer");
    }
    Finding::ok(Group::Sandbox, NAME, "denied calls are counted for the job's report")
}

fn overlay(filesystems: &str) -> Finding {
    let built_in = filesystems.lines().any(|line| line.split('\t').next_back() == Some("overlay"));
    if built_in {
        return Finding::ok(Group::Sandbox, "overlay", "a job's changes to its project stay apart");
    }
    Finding::partial(Group::Sandbox, "overlay", "not loaded; the kernel may load it when needed")
        .so("without it no job with a project runs")
        .fix("modprobe overlay, and a line `overlay` in /etc/modules-load.d/fetchml.conf")
}

/// Whether mounts of the host propagate. Jobs are cut off from it either way.
fn propagation(mountinfo: &str) -> Finding {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let shared = root.is_some_and(|line| {
        line.split(' ').skip(6).take_while(|w| *w != "-").any(|w| w.starts_with("shared:"))
    });
    let detail = match shared {
        true => "/ is shared; what a job mounts and is given is cut off from it",
        false => "/ is private",
    };
    Finding::ok(Group::Sandbox, "mount-propagation", detail)
}

fn yama(scope: Option<&str>) -> Finding {
    const NAME: &str = "ptrace-scope";
    match scope {
        None => {
            Finding::ok(Group::Sandbox, NAME, "no Yama; profiles that trace allow any own process")
        }
        Some("0") => {
            Finding::ok(Group::Sandbox, NAME, "kernel.yama.ptrace_scope = 0: own processes")
        }
        Some("1") => {
            Finding::ok(Group::Sandbox, NAME, "kernel.yama.ptrace_scope = 1: own children")
        }
        Some(scope) => Finding::partial(
            Group::Sandbox,
            NAME,
            format!("kernel.yama.ptrace_scope = {scope}: only who has CAP_SYS_PTRACE, or nobody"),
        )
        .so("debuggers fail also in profiles that allow them (debug, notebook)")
        .fix("sysctl kernel.yama.ptrace_scope=1 (3 stays until the next boot)"),
    }
}

fn bpf(disabled: Option<&str>) -> Finding {
    const NAME: &str = "unprivileged-bpf";
    match disabled {
        Some("0") => Finding::partial(Group::Sandbox, NAME, "kernel.unprivileged_bpf_disabled = 0")
            .so("jobs cannot use it (their filter denies bpf), other users of the machine can")
            .fix("sysctl kernel.unprivileged_bpf_disabled=2"),
        Some(value) => Finding::ok(
            Group::Sandbox,
            NAME,
            format!("closed (kernel.unprivileged_bpf_disabled = {value})"),
        ),
        None => Finding::ok(Group::Sandbox, NAME, "not in this kernel"),
    }
}

/// A program behind a pipe is started by the kernel for every crash, also with a
/// limit of 0, but not with one of 1, which jobs have (core(5)).
fn core_dumps(pattern: Option<&str>) -> Finding {
    const NAME: &str = "core-dumps";
    let detail = match pattern {
        Some(pattern) if pattern.starts_with('|') => format!(
            "go to {}, which the limits of a job keep the kernel from starting",
            pattern.trim_start_matches('|').split(' ').next().unwrap_or_default()
        ),
        Some(_) => "files, which a job's limits forbid".to_owned(),
        None => "not in this kernel".to_owned(),
    };
    Finding::ok(Group::Sandbox, NAME, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Missing, Ok as Fine, Partial};

    #[test]
    fn filters_must_answer_errors() {
        assert_eq!(seccomp(Some("kill_process kill_thread trap errno allow")).state, Fine);
        for lacking in [seccomp(None), seccomp(Some("allow"))] {
            assert!(lacking.needed && lacking.state == Missing && lacking.remedy.is_some());
        }
        assert_eq!(notification(true, (6, 1)).state, Fine);
        assert_eq!(notification(true, (5, 10)).state, Partial);
        assert!(!notification(false, (6, 1)).needed);
    }

    #[test]
    fn what_jobs_can_do_without_says_what_they_lose() {
        for finding in [overlay("nodev\tsysfs"), yama(Some("2")), bpf(Some("0"))] {
            assert_eq!(finding.state, Partial, "{finding:?}");
            assert!(finding.consequence.is_some() && finding.remedy.is_some(), "{finding:?}");
        }
        assert_eq!(overlay("nodev\toverlay").state, Fine);
        assert_eq!(yama(Some("1")).state, Fine);
        assert_eq!(bpf(Some("2")).state, Fine);
    }

    #[test]
    fn a_shared_root_is_recognised() {
        let line = |tags: &str| format!("1 0 8:1 / / rw {tags}- ext4 /dev/sda1 rw\n");
        assert!(propagation(&line("shared:1 ")).detail.contains("is shared"));
        assert!(propagation(&line("")).detail.contains("private"));
    }
}
