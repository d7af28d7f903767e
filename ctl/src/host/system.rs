//! What of the operating system can be seen without asking a service.

use fetchml_api::host::{Finding, Group};
use fetchml_sys::features;
use nix::unistd::{Group as UnixGroup, getegid, geteuid, getgroups};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Whose members may run jobs.
const GROUP: &str = "fetchml";
/// Where a job looks for programs, as the vendor's profiles have it.
const JOB_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

pub(super) fn findings() -> Vec<Finding> {
    vec![
        membership(
            GROUP,
            UnixGroup::from_name(GROUP).ok().flatten().map(|group| {
                let groups = getgroups().unwrap_or_default();
                getegid() == group.gid || groups.contains(&group.gid)
            }),
            geteuid().is_root(),
        ),
        clock(features::clock_is_synchronised().ok()),
        processes(std::fs::read_to_string("/proc/self/mounts").ok().as_deref()),
        python(JOB_PATH.iter().map(|dir| Path::new(dir).join("python3")).find(|p| {
            p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o001 != 0)
        })),
    ]
}

fn membership(name: &str, member: Option<bool>, root: bool) -> Finding {
    const NAME: &str = "group";
    match (member, root) {
        (Some(true), _) => Finding::ok(Group::System, NAME, format!("you are in the group {name}")),
        (Some(false), true) => {
            Finding::ok(Group::System, NAME, format!("the group {name} exists; root needs it not"))
        }
        (Some(false), false) => Finding::partial(
            Group::System,
            NAME,
            format!("you are not in the group {name}"),
        )
        .so("the service runs your jobs only after an administrator's password, or not at all")
        .fix(format!("adduser {} {name}, and log in again", user())),
        (None, _) => Finding::absent(Group::System, NAME, format!("there is no group {name}"))
            .so("only root may use the system service")
            .fix("install the package fetchml, which makes it"),
    }
}

fn user() -> String {
    let user = nix::unistd::User::from_uid(geteuid()).ok().flatten();
    user.map_or_else(|| "USER".to_owned(), |user| user.name)
}

fn clock(synchronised: Option<bool>) -> Finding {
    const NAME: &str = "clock";
    match synchronised {
        Some(true) => Finding::ok(Group::System, NAME, "kept right by a time service"),
        Some(false) => Finding::partial(Group::System, NAME, "not synchronised")
            .so("times in logs and audit records are this machine's own opinion")
            .fix("timedatectl set-ntp true, or start chrony"),
        None => {
            Finding::unknown(Group::System, NAME, "the kernel does not say whether it is right")
        }
    }
}

/// From the table of mounts (proc_mounts(5)): whether `/proc` hides the processes of
/// others (`hidepid`, proc(5)).
fn processes(mounts: Option<&str>) -> Finding {
    const NAME: &str = "processes";
    let options = mounts.and_then(|table| {
        // The last mount at a place is the one that is seen.
        table.lines().rev().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            (fields.next()? == "/proc" && fields.next()? == "proc").then(|| fields.next())?
        })
    });
    let Some(options) = options else {
        return Finding::unknown(Group::System, NAME, "there is no /proc to ask");
    };
    let mut hides = options.split(',').filter_map(|option| option.strip_prefix("hidepid="));
    match hides.next_back() {
        Some("1" | "2" | "4" | "noaccess" | "invisible" | "ptraceable") => {
            Finding::ok(Group::System, NAME, "each user sees the command lines of their own only")
        }
        _ => Finding::partial(Group::System, NAME, "every user sees all command lines")
            .so("what a job's command says is no secret among the users of this machine")
            .fix("mount -o remount,hidepid=invisible /proc; see privacy.md in the documentation"),
    }
}

fn python(found: Option<PathBuf>) -> Finding {
    const NAME: &str = "python3";
    match found {
        Some(path) => Finding::ok(Group::System, NAME, path.display().to_string()),
        None => Finding::absent(Group::System, NAME, format!("not in {}", JOB_PATH.join(", ")))
            .so("jobs that call python3 by name do not find it")
            .fix("install it, or give a virtual environment with --mount"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Ok as Fine, Partial, Unknown};

    #[test]
    fn who_may_run_jobs_is_said_with_the_command_that_changes_it() {
        let state = |member, root| membership("fetchml", member, root).state;
        assert_eq!(state(Some(true), false), Fine);
        assert_eq!(state(Some(false), true), Fine);
        assert_eq!(state(None, true), Absent);
        let stranger = membership("fetchml", Some(false), false);
        assert_eq!(stranger.state, Partial);
        assert!(stranger.remedy.is_some_and(|r| r.starts_with("adduser ")));
    }

    #[test]
    fn a_clock_that_nobody_sets_is_told() {
        assert_eq!(clock(Some(true)).state, Fine);
        assert_eq!(clock(Some(false)).state, Partial);
        assert_eq!(clock(None).state, Unknown);
        assert_eq!(python(None).state, Absent);
    }

    #[test]
    fn a_proc_that_shows_everybodys_processes_is_told() {
        let state = |options: &str| {
            processes(Some(&format!("sysfs /sys sysfs rw 0 0\nproc /proc proc {options} 0 0\n")))
                .state
        };
        assert_eq!(state("rw,nosuid,relatime"), Partial);
        assert_eq!(state("rw,relatime,hidepid=off"), Partial);
        assert_eq!(state("rw,relatime,hidepid=invisible"), Fine);
        assert_eq!(state("rw,gid=4,hidepid=2"), Fine);
        assert_eq!(processes(Some("sysfs /sys sysfs rw 0 0\n")).state, Unknown);
        let covered = "proc /proc proc rw,hidepid=2 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(processes(Some(covered)).state, Partial);
    }
}
