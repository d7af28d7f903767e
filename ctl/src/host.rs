//! What of a sandbox's needs can be seen on this machine without a supervisor.

use crate::view::doctor::Finding;
use std::fs;
use std::path::Path;

/// The oldest kernel that has all that is needed: id-mapped mounts, the new
/// mount interface on overlays, and CLONE_INTO_CGROUP.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// Landlock level from which every rule of the default profile holds.
const FULL_LANDLOCK: u32 = 6;

/// Every check, in the order of the layers.
pub(crate) fn findings() -> Vec<Finding> {
    vec![
        kernel(rustix::system::uname().release().to_str().unwrap_or_default()),
        namespaces(),
        user_namespaces(read("/proc/sys/user/max_user_namespaces").as_deref()),
        seccomp(read("/proc/sys/kernel/seccomp/actions_avail").as_deref()),
        landlock(fetchml_sys::confine::landlock_level()),
        overlay(read("/proc/filesystems").as_deref().unwrap_or_default()),
        cgroup(read("/sys/fs/cgroup/cgroup.controllers").as_deref()),
        socket("journal", "/run/systemd/journal/socket", "the audit log is kept in its file alone"),
        socket("system-bus", "/run/dbus/system_bus_socket", "use fetchmlctl --private as root"),
    ]
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    if version >= OLDEST_KERNEL {
        return Finding::good("kernel", release);
    }
    let (major, minor) = OLDEST_KERNEL;
    Finding::bad("kernel", release, format!("boot Linux {major}.{minor} or newer"))
}

fn namespaces() -> Finding {
    let missing: Vec<_> = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"]
        .into_iter()
        .filter(|kind| !Path::new("/proc/self/ns").join(kind).exists())
        .collect();
    if missing.is_empty() {
        return Finding::good("namespaces", "mount, pid, net, ipc, uts, cgroup, user");
    }
    let detail = format!("the kernel has none of kind {}", missing.join(", "));
    Finding::bad("namespaces", detail, "boot a kernel with CONFIG_NAMESPACES and its parts")
}

fn user_namespaces(limit: Option<&str>) -> Finding {
    match limit.map(str::parse::<u64>) {
        Some(Ok(0)) => Finding::bad(
            "user-namespaces",
            "user.max_user_namespaces is 0",
            "sysctl user.max_user_namespaces=10000",
        ),
        Some(Ok(limit)) => Finding::good("user-namespaces", format!("up to {limit}")),
        _ => Finding::bad(
            "user-namespaces",
            "not in this kernel",
            "boot a kernel with CONFIG_USER_NS",
        ),
    }
}

fn seccomp(actions: Option<&str>) -> Finding {
    let Some(actions) = actions else {
        return Finding::bad(
            "seccomp",
            "not in this kernel",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        );
    };
    let has = |action| actions.split_ascii_whitespace().any(|a| a == action);
    if has("errno") && has("kill_process") {
        Finding::good("seccomp", actions)
    } else {
        Finding::bad(
            "seccomp",
            actions,
            "boot a kernel whose filters can answer errno and kill_process",
        )
    }
}

fn landlock(level: u32) -> Finding {
    match level {
        0 => Finding::partial(
            "landlock",
            "absent or switched off; jobs are held by the other layers alone",
            "boot with landlock in lsm=, on a kernel with CONFIG_SECURITY_LANDLOCK",
        ),
        level if level < FULL_LANDLOCK => Finding::partial(
            "landlock",
            format!(
                "level {level} of {FULL_LANDLOCK}; newer rules are left out and each report says so"
            ),
            "boot Linux 6.12 or newer",
        ),
        level => Finding::good("landlock", format!("level {level}")),
    }
}

fn overlay(filesystems: &str) -> Finding {
    let built_in = filesystems.lines().any(|line| line.split('\t').next_back() == Some("overlay"));
    if built_in {
        return Finding::good("overlay", "a job's changes to its project stay apart");
    }
    Finding::partial(
        "overlay",
        "not loaded; the kernel may load it when it is needed",
        "modprobe overlay",
    )
}

fn cgroup(controllers: Option<&str>) -> Finding {
    const REMEDY: &str =
        "boot with systemd.unified_cgroup_hierarchy=1, or leave --memory and --cpus out";
    let Some(controllers) = controllers else {
        return Finding::partial("cgroups", "no version 2 hierarchy on /sys/fs/cgroup", REMEDY);
    };
    let missing: Vec<_> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|wanted| !controllers.split_ascii_whitespace().any(|c| c == *wanted))
        .collect();
    if missing.is_empty() {
        return Finding::good("cgroups", controllers);
    }
    let detail = format!(
        "no controller for {}; jobs that ask for such a limit are refused",
        missing.join(", ")
    );
    Finding::partial("cgroups", detail, REMEDY)
}

fn socket(name: &str, path: &str, otherwise: &str) -> Finding {
    if Path::new(path).exists() {
        return Finding::good(name, path);
    }
    Finding::partial(name, format!("no socket {path}"), otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::doctor::State;

    #[test]
    fn what_a_sandbox_cannot_do_without_is_missing() {
        assert_eq!(kernel("6.1.0-28-amd64").state(), State::Ok);
        assert_eq!(kernel("5.10.0").state(), State::Missing);
        assert_eq!(kernel("odd").state(), State::Missing);
        assert_eq!(namespaces().state(), State::Ok, "{:?}", namespaces());
        assert_eq!(user_namespaces(Some("0")).state(), State::Missing);
        assert_eq!(user_namespaces(Some("63432")).state(), State::Ok);
        assert_eq!(user_namespaces(None).state(), State::Missing);
        assert_eq!(seccomp(Some("kill_process kill_thread trap errno allow")).state(), State::Ok);
        assert_eq!(seccomp(Some("allow")).state(), State::Missing);
    }

    #[test]
    fn what_it_can_do_without_is_partial_and_has_a_remedy() {
        for finding in [
            landlock(0),
            landlock(3),
            cgroup(None),
            cgroup(Some("cpu pids")),
            overlay("nodev\tsysfs"),
        ] {
            assert_eq!(finding.state(), State::Partial, "{finding:?}");
            assert!(finding.remedy.is_some(), "{finding:?}");
        }
        assert_eq!(overlay("nodev\toverlay").state(), State::Ok);
        assert_eq!(cgroup(Some("cpuset cpu io memory pids")).state(), State::Ok);
        assert_eq!(landlock(7).state(), State::Ok);
    }
}
