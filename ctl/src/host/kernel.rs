//! What the kernel must have before any job can run.

use super::{number, read};
use fetchml_api::host::{Finding, Group};
use fetchml_sys::features;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::path::Path;

/// The oldest kernel that has all that is needed: id-mapped mounts, the new
/// mount interface on overlays, and CLONE_INTO_CGROUP.
const OLDEST: Version = (6, 1);
/// Below so many namespaces of a kind a busy machine runs out of them: a job
/// has one of each and up to three user namespaces.
const FEW_NAMESPACES: u64 = 256;
const KINDS: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"];

/// Major and minor number.
pub(super) type Version = (u32, u32);

pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The numbers of a release; (0, 0) when it has none.
pub(super) fn version(release: &str) -> Version {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

pub(super) fn findings(version: Version) -> Vec<Finding> {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    vec![
        release_is_new_enough(&release(), version),
        architecture(&machine),
        namespaces(|kind| Path::new("/proc/self/ns").join(kind).exists()),
        limits(|kind| number(&format!("/proc/sys/user/max_{kind}_namespaces"))),
        unprivileged(
            read("/proc/sys/kernel/unprivileged_userns_clone").as_deref(),
            read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref(),
        ),
        call("clone3", features::clone3(), "jobs are cloned straight into their cgroup", "5.7"),
        call(
            "pidfd",
            pidfd_open(getpid(), PidfdFlags::empty()).map(drop),
            "processes are held by descriptors that cannot mean another one",
            "5.3",
        ),
        call(
            "mount-api",
            features::mount_setattr(),
            "roots are built from detached, id-mapped mounts",
            "5.12",
        ),
        proc_mount(&read("/proc/self/mountinfo").unwrap_or_default()),
    ]
}

fn release_is_new_enough(release: &str, version: Version) -> Finding {
    let (major, minor) = OLDEST;
    if version >= OLDEST {
        let detail = format!("{release}; {major}.{minor} or newer is needed");
        return Finding::ok(Group::Kernel, "kernel", detail).needed();
    }
    Finding::missing(Group::Kernel, "kernel", release)
        .needed()
        .so("no job runs")
        .fix(format!("boot Linux {major}.{minor} or newer"))
}

fn architecture(machine: &str) -> Finding {
    if machine == "x86_64" {
        return Finding::ok(Group::Kernel, "architecture", machine).needed();
    }
    Finding::missing(Group::Kernel, "architecture", machine)
        .needed()
        .so("system-call filters are written for x86_64: no job runs")
        .fix("use an x86_64 machine")
}

fn namespaces(exists: impl Fn(&str) -> bool) -> Finding {
    let missing: Vec<_> = KINDS.into_iter().filter(|kind| !exists(kind)).collect();
    if missing.is_empty() {
        return Finding::ok(Group::Kernel, "namespaces", KINDS.join(", ")).needed();
    }
    Finding::missing(Group::Kernel, "namespaces", format!("there is no {}", missing.join(", ")))
        .needed()
        .so("every job has its own of each kind: no job runs")
        .fix("boot a kernel with CONFIG_NAMESPACES and its parts")
}

/// `user.max_…_namespaces` of the namespace that we are in.
fn limits(limit: impl Fn(&str) -> Option<u64>) -> Finding {
    const NAME: &str = "user-namespaces";
    let found: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((limit(kind)?, kind))).collect();
    if found.iter().all(|(_, kind)| *kind != "user") {
        return Finding::missing(Group::Kernel, NAME, "not in this kernel")
            .needed()
            .so("every job has its own: no job runs")
            .fix("boot a kernel with CONFIG_USER_NS");
    }
    let Some((least, kind)) = found.into_iter().min() else {
        return Finding::unknown(Group::Kernel, NAME, "no limits in /proc/sys/user").needed();
    };
    let setting = format!("user.max_{kind}_namespaces");
    let detail = format!("the least limit is {setting} = {least}");
    let raise = format!("sysctl {setting}=10000, and the same in /etc/sysctl.d");
    match least {
        0 => Finding::missing(Group::Kernel, NAME, detail).needed().so("no job runs").fix(raise),
        1..FEW_NAMESPACES => Finding::partial(Group::Kernel, NAME, detail)
            .needed()
            .so("jobs are refused when it is used up")
            .fix(raise),
        _ => Finding::ok(Group::Kernel, NAME, detail).needed(),
    }
}

/// Switches that close user namespaces to ordinary users. They do not matter to
/// us, which people who see them cannot know.
fn unprivileged(debian: Option<&str>, apparmor: Option<&str>) -> Finding {
    const NAME: &str = "unprivileged-user-namespaces";
    let closed = [
        ("kernel.unprivileged_userns_clone = 0", debian == Some("0")),
        ("kernel.apparmor_restrict_unprivileged_userns = 1", apparmor == Some("1")),
    ];
    match closed.into_iter().find(|(_, closed)| *closed) {
        Some((setting, _)) => Finding::ok(
            Group::Kernel,
            NAME,
            format!("closed ({setting}), which is fine: the supervisor makes them as root"),
        ),
        None => Finding::ok(
            Group::Kernel,
            NAME,
            "open to ordinary users; FetchML does not need that, and no job can make one",
        ),
    }
}

fn call(name: &str, answer: Result<(), Errno>, what: &str, since: &str) -> Finding {
    match answer {
        Ok(()) => Finding::ok(Group::Kernel, name, what).needed(),
        Err(Errno::PERM) => Finding::missing(Group::Kernel, name, "closed by a filter around us")
            .needed()
            .so("no job runs")
            .fix("run outside the container, or with its seccomp profile unconfined"),
        Err(errno) => Finding::missing(Group::Kernel, name, format!("not answered: {errno}"))
            .needed()
            .so("no job runs")
            .fix(format!("boot a kernel that has it (Linux {since} on), outside a container")),
    }
}

/// The options of the last file system on /proc, which is the one that is seen.
fn proc_mount(mountinfo: &str) -> Finding {
    let options = mountinfo.lines().rev().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let at_proc = mount.split(' ').nth(4) == Some("/proc") && kind.starts_with("proc ");
        at_proc.then(|| kind.split(' ').nth(2).unwrap_or("").to_owned())
    });
    let Some(options) = options else {
        return Finding::missing(Group::Kernel, "proc", "no proc file system on /proc")
            .needed()
            .so("no job runs")
            .fix("mount -t proc proc /proc");
    };
    let hidden = options
        .split(',')
        .find(|o| o.strip_prefix("hidepid=").is_some_and(|how| !matches!(how, "0" | "off")));
    let detail = match hidden {
        Some(option) => {
            format!("mounted with {option}: users do not see agents and jobs of others in ps")
        }
        None => "mounted; jobs get one of their own with the usual masks".to_owned(),
    };
    Finding::ok(Group::Kernel, "proc", detail).needed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Missing, Ok as Fine, Partial};

    #[test]
    fn kernels_older_than_what_jobs_need_are_named() {
        let state = |release: &str| release_is_new_enough(release, version(release)).state;
        assert_eq!(state("6.1.0-28-amd64"), Fine);
        assert_eq!(state("10.0"), Fine);
        assert_eq!(state("5.10.0"), Missing);
        assert_eq!(state("odd"), Missing);
        assert_eq!(architecture("aarch64").state, Missing);
    }

    #[test]
    fn each_kind_of_namespace_counts() {
        assert_eq!(namespaces(|_| true).state, Fine);
        let no_net = namespaces(|kind| kind != "net");
        assert!(no_net.needed && no_net.state == Missing, "{no_net:?}");
        assert_eq!(no_net.detail, "there is no net");
    }

    #[test]
    fn the_least_limit_of_namespaces_decides() {
        let with = |net, user| {
            limits(move |kind| match kind {
                "net" => Some(net),
                "user" => user,
                _ => Some(60_000),
            })
        };
        assert_eq!(with(60_000, Some(60_000)).state, Fine);
        let few = with(20, Some(60_000));
        assert_eq!(few.state, Partial);
        assert!(few.remedy.is_some_and(|r| r.contains("sysctl user.max_net_namespaces=10000")));
        assert_eq!(with(60_000, Some(0)).state, Missing);
        assert!(with(60_000, None).remedy.is_some_and(|r| r.contains("CONFIG_USER_NS")));
    }

    #[test]
    fn a_call_that_a_container_closed_has_another_remedy_than_one_that_is_not_there() {
        let remedy = |errno| call("clone3", Err(errno), "x", "5.7").remedy.unwrap_or_default();
        assert!(remedy(Errno::PERM).contains("seccomp profile"));
        assert!(remedy(Errno::NOSYS).contains("Linux 5.7"));
        assert_eq!(call("clone3", Ok(()), "x", "5.7").state, Fine);
    }

    #[test]
    fn the_proc_that_is_seen_is_the_last_one_mounted() {
        let line =
            |at: &str, options: &str| format!("22 1 0:20 / {at} rw,nosuid - proc proc {options}\n");
        let hidden = proc_mount(&(line("/proc", "rw") + &line("/proc", "rw,hidepid=invisible")));
        assert!(hidden.detail.contains("hidepid=invisible"), "{hidden:?}");
        assert!(!proc_mount(&line("/proc", "rw,hidepid=off")).detail.contains("hidepid"));
        assert_eq!(proc_mount(&line("/mnt/proc", "rw")).state, Missing);
    }
}
