use super::*;
use crate::Library;
use crate::filter::Filter;
use crate::profile::{Network, Profile};
use std::path::Path;
use std::sync::Arc;

fn default() -> (Arc<Profile>, Arc<Filter>) {
    let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
    let profile = library.profile("default").expect("it exists");
    let filter = library.filter(&profile).expect("it is compiled");
    (profile, filter)
}

fn ask(name: &str, args: &[u64]) -> Explanation {
    let (profile, filter) = default();
    let args: Vec<_> = args.iter().copied().map(Some).collect();
    call(&profile, &filter, name, &args).expect("it is a call")
}

#[test]
fn a_call_is_explained_by_the_rule_that_decides() {
    let told = ask("read", &[]);
    assert_eq!((told.verdict, told.by), (Verdict::Allowed, By::Profile));
    assert!(told.rule.expect("a rule").reason.starts_with("Read, write and position"));

    let told = ask("reboot", &[]);
    assert_eq!((told.verdict, told.by), (Verdict::Denied, By::Profile));
    assert_eq!(told.outcome, "fails with EPERM (Operation not permitted); denials are counted");
    let rule = told.rule.expect("a rule");
    assert_eq!(rule.file, "built-in default-hardened.json");
    assert!(rule.reason.contains("restart"), "{rule:?}");

    let told = ask("clone3", &[]);
    assert!(told.outcome.contains("ENOSYS (Function not implemented)"), "{}", told.outcome);
    assert!(told.outcome.ends_with("not counted (quiet_calls)"));

    let told = ask("mq_open", &[]);
    assert_eq!((told.verdict, told.by, told.rule), (Verdict::Denied, By::Default, None));

    let told = ask("prlimit64", &[1, 7]);
    assert_eq!((told.verdict, told.by), (Verdict::Denied, By::Ceiling));
    assert!(told.rule.expect("a rule").reason.contains("PID 1"));
    assert_eq!(ask("prlimit64", &[0, 7]).verdict, Verdict::Allowed);
}

#[test]
fn where_arguments_decide_all_cases_are_told() {
    let told = ask("socket", &[]);
    assert_eq!(told.verdict, Verdict::Depends);
    let local = &told.cases[0];
    assert_eq!((local.when.as_str(), local.verdict), ("argument 0 is AF_UNIX", Verdict::Allowed));
    let last = told.cases.last().expect("there is a last case");
    assert_eq!((last.when.as_str(), last.verdict), ("", Verdict::Denied));
    assert!(last.outcome.contains("EAFNOSUPPORT"), "{last:?}");

    let told = ask("prlimit64", &[]);
    assert_eq!((told.verdict, told.cases[0].by), (Verdict::Depends, By::Ceiling));
    assert_eq!(told.cases.last().expect("a last case").verdict, Verdict::Allowed);
}

#[test]
fn arguments_that_are_not_given_are_unknown_and_not_zero() {
    let told = ask("socket", &[2]);
    assert_eq!(told.verdict, Verdict::Depends);
    let allowed = told.cases.iter().filter(|case| case.verdict == Verdict::Allowed);
    let whens: Vec<&str> = allowed.map(|case| case.when.as_str()).collect();
    let tcp = "argument 1 & 0xf is SOCK_STREAM, argument 2 is IPPROTO_TCP";
    assert!(whens.contains(&tcp), "{whens:?}");
    assert!(whens.iter().all(|when| !when.contains("argument 0")), "it is known: {whens:?}");
    assert_eq!(told.cases.last().map(|case| case.verdict), Some(Verdict::Denied));

    assert_eq!(ask("socket", &[2, 1, 0]).verdict, Verdict::Allowed);
    assert_eq!(ask("socket", &[2, 3]).verdict, Verdict::Denied, "raw, whatever the protocol");
    assert_eq!(ask("socket", &[1]).verdict, Verdict::Allowed, "local, whatever the type");
    assert_eq!(ask("socket", &[38]).verdict, Verdict::Denied);
}

#[test]
fn an_unknown_call_is_answered_with_a_near_one() {
    let (profile, filter) = default();
    let error = call(&profile, &filter, "ptrcae", &[]).expect_err("no such call").to_string();
    assert_eq!(error, "unknown system call \"ptrcae\"; did you mean ptrace?");
}

#[test]
fn paths_are_explained_by_what_covers_them() {
    let (profile, _) = default();
    let ask = |name: &str, access| path(&profile, name, access);
    let verdict = |name: &str, access| ask(name, access).verdict;
    assert_eq!(verdict("/usr/bin/python3", Access::Execute), Verdict::Allowed);
    let told = ask("/usr/lib/x", Access::Write);
    assert_eq!((told.verdict, told.by), (Verdict::Denied, By::Profile));
    assert_eq!(told.rule.expect("it is shown").key, "root.show");
    assert_eq!(verdict("/opt/cuda/bin/nvcc", Access::Execute), Verdict::Depends);
    assert_eq!(verdict("/etc/localtime", Access::Execute), Verdict::Denied);
    assert_eq!(verdict("model.pt", Access::Write), Verdict::Allowed);
    assert_eq!(ask("model.pt", Access::Write).question, "write /work/model.pt");
    assert_eq!(verdict("/work/../etc/shadow", Access::Read), Verdict::Denied);
    assert_eq!(ask("/etc/shadow", Access::Read).by, By::Default);
    assert_eq!(verdict("/dev/shm/x", Access::Write), Verdict::Allowed);
    assert_eq!(verdict("/dev/shm/x", Access::Execute), Verdict::Denied);
    assert_eq!(verdict("/dev/nvidia0", Access::Read), Verdict::Denied);
    assert_eq!(verdict("/proc/self/status", Access::Read), Verdict::Allowed);
    assert_eq!(verdict("/proc/sysrq-trigger", Access::Write), Verdict::Denied);
    assert_eq!(verdict("/proc/self/task/2/comm", Access::Write), Verdict::Depends);
    for name in ["/proc/1/comm", "/proc/sys/kernel/core_pattern", "/proc/selfish"] {
        assert_eq!(verdict(name, Access::Write), Verdict::Denied, "{name}");
    }
    for name in ["/proc/kcore", "/proc/keys", "/proc/irq", "/proc/fs/ext4/sda1", "/proc/./kcore"] {
        let told = ask(name, Access::Read);
        assert_eq!((told.verdict, told.by), (Verdict::Denied, By::Sandbox), "{name}");
        assert!(told.outcome.contains("covers it in every job"), "{name}: {}", told.outcome);
    }
    assert_eq!(verdict("/proc/self/fs", Access::Read), Verdict::Allowed);
    assert_eq!(verdict("/", Access::Read), Verdict::Allowed);
    assert_eq!(verdict("/x", Access::Write), Verdict::Denied);
    assert_eq!(verdict("/etc/hostname", Access::Read), Verdict::Allowed);
    for (name, remedy) in [
        ("/dev/nvidia0", "root.devices"),
        ("/dev/ptmx", "root.terminals"),
        ("/sys/class/net", "root.show"),
        ("/sys/kernel/x", "no profile may show it"),
        ("/data", "--mount"),
    ] {
        let told = ask(name, Access::Read).outcome;
        assert!(told.ends_with(remedy) && told.contains("ENOENT"), "{name}: {told}");
    }
    assert_eq!(verdict("/usrx", Access::Read), Verdict::Denied);
}

#[test]
fn a_terminal_is_explained_by_the_key_that_gives_it() {
    let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
    let profile = library.profile("notebook").expect("it exists");
    for name in ["/dev/ptmx", "/dev/pts", "/dev/pts/0"] {
        let told = path(&profile, name, Access::Read);
        assert_eq!((told.verdict, told.by), (Verdict::Allowed, By::Profile), "{name}");
        assert_eq!(told.rule.expect("a key gives it").key, "root.terminals");
    }
    let verdict = |name: &str, access| path(&profile, name, access).verdict;
    assert_eq!(verdict("/dev/pts/0", Access::Write), Verdict::Allowed);
    assert_eq!(verdict("/dev/pts", Access::Write), Verdict::Denied);
    assert_eq!(verdict("/dev/ptmx", Access::Execute), Verdict::Denied);
    assert_eq!(verdict("/dev/tty", Access::Read), Verdict::Denied);
}

#[test]
fn addresses_are_explained_by_the_network_mode() {
    let (profile, filter) = default();
    let ask = |mode, to: &str| {
        let profile = Profile { network_mode: mode, ..(*profile).clone() };
        address(&profile, &filter, to, &Destination::read(to).expect("an address")).verdict
    };
    for to in ["127.0.0.1:80", "192.0.2.1:443", "[::1]:1", "localhost:1"] {
        assert_eq!(ask(Network::None, to), Verdict::Denied, "{to}");
    }
    for to in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:29500", "localhost:1", "Localhost:1"] {
        assert_eq!(ask(Network::Loopback, to), Verdict::Allowed, "{to}");
    }
    for to in ["192.0.2.1:443", "[2001:db8::1]:1", "example.org:80"] {
        assert_eq!(ask(Network::Loopback, to), Verdict::Denied, "{to}");
    }
    for to in ["/run/dbus/system_bus_socket", "unix:/run/x.sock", "unix:@x", "@x"] {
        assert_eq!(ask(Network::None, to), Verdict::Depends, "{to}");
    }
}

#[test]
fn an_explanation_travels_as_json() {
    let told = ask("socket", &[]);
    let text = serde_json::to_string(&told).expect("it has a form");
    assert_eq!(serde_json::from_str::<Explanation>(&text).expect("it is read"), told);
}
