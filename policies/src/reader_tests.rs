use super::*;
use proptest::prelude::*;

/// Key, place and text of the faults of `text`.
fn faults(text: &str) -> Vec<String> {
    let problems = read("x.toml", text).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "{text}: {part:?} is not in {}", found[0]);
    }
}

#[test]
fn all_faults_are_told_at_once_and_with_their_places() {
    let found = faults(
        "descripton = \"x\"\nrun_as_uid = 0\n\n[limits]\npids = \"many\"\n[root]\n  show = [\"/usr\",\n    \"usr\"]\n",
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert_eq!(found[0], "x.toml:1:1: descripton: unknown key; did you mean description?");
    assert!(
        found.iter().any(|f| f.starts_with("x.toml:2:14: run_as_uid: 0 is root")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|f| f.starts_with("x.toml:5:8: limits.pids: is a string")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|f| f.starts_with("x.toml:8:5: root.show: \"usr\" is refused")),
        "{found:#?}"
    );
}

#[test]
fn what_would_weaken_the_sandbox_is_refused_with_the_reason() {
    refused("no_new_privileges = false", &["x.toml:1:21", "set-uid", "write true"]);
    refused("read_only_root = false", &["never to the root", "write true"]);
    refused("user_ns = false", &["host user id", "write true"]);
    refused("run_as_gid = 0", &["root", "1000"]);
    refused("network_mode = \"proxy\"", &["not offered", "loopback"]);
    refused(
        "[root]\ndevices = [\"/dev/nvidia0\", \"/dev/mem\"]",
        &["x.toml:2:28: root.devices: \"/dev/mem\" is refused", "no accelerator"],
    );
    refused("[calls.allow]\nptrace = \"\"", &["x.toml:2:10: calls.allow.ptrace: is empty"]);
    refused("[calls.allow]\nptraze = \"x\"", &["calls.allow.ptraze", "did you mean ptrace?"]);
    refused("[calls]\ndeny = {}", &["calls.deny: unknown key"]);
    refused("allowed_caps = [\"CAP_SYS_NICEE\"]", &["CAP_SYS_NICEE", "did you mean CAP_SYS_NICE?"]);
    refused("allowed_caps = [\"CAP_SYS_PTRACE\"]", &["CAP_SYS_PTRACE is refused", "PID 1"]);
    refused("[env]\nFETCHML_OUTPUT_DIR = \"/x\"", &["set by the supervisor"]);
}

#[test]
fn paths_that_do_not_belong_in_a_job_are_refused() {
    for path in [
        "/",
        "/proc",
        "/proc/sys",
        "/dev",
        "/dev/sda",
        "/tmp",
        "/run",
        "/run/user",
        "/sys",
        "/sys/fs/cgroup",
        "/sys/kernel/debug",
        "/root",
        "/root/.ssh",
        "/home",
        "/home/alice",
        "/var",
        "/var/lib/fetchml",
        "/boot",
        "/etc",
        "/etc/shadow",
        "/etc/passwd",
        "/etc/group",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/hostname",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
        "/bin/sh",
        "/work",
        "/outputs",
        "usr",
        "",
        "./usr",
        "/usr/../etc",
        "/usr/",
        "/usr//lib",
        "/usr/.",
    ] {
        refused(&format!("[root]\nshow = [{path:?}]"), &["root.show", "is refused"]);
    }
    refused("[root]\nshow = [\"/usr\\u0007\"]", &["control characters"]);
    refused("[root]\nshow = [\"/lib\"]", &["symbolic link into /usr", "show /usr"]);
    refused("[root]\nshow = [\"/usr\", \"/usr\"]", &["listed twice"]);
    refused(
        "[root]\nshow = [\"/usr\"]\nshow_optional = [\"/usr/local\"]",
        &["lie within each other"],
    );
    for path in [
        "/usr",
        "/opt",
        "/etc/ssl/certs",
        "/sys/devices/system/cpu",
        "/library",
        "/developer",
        "/srv/data",
    ] {
        assert_eq!(faults(&format!("[root]\nshow = [{path:?}]")), Vec::<String>::new());
    }
}

#[test]
fn numbers_and_sizes_have_ranges() {
    refused("max_runtime_hours = 0", &["max_runtime_hours: 0 is out of range", "0.001 to 8760"]);
    refused("max_runtime_hours = nan", &["out of range"]);
    refused("max_runtime_hours = \"24h\"", &["write a number"]);
    refused("stop_grace_seconds = -1", &["-1 is out of range"]);
    refused("run_as_uid = 65534", &["nobody"]);
    refused("run_as_uid = 9223372036854775807", &["out of range"]);
    refused("[limits]\npids = 1", &["8 to"]);
    refused("[limits]\nmemory = \"4 potatoes\"", &["4 potatoes", "2GiB"]);
    refused("[limits]\nmemory = \"1MiB\"", &["out of range", "16 MiB"]);
    refused("[limits]\nmemory = 4096", &["is an integer", "in quotes"]);
    refused("[limits]\ncpus = 0", &["out of range"]);
    refused("[limits]\ncpuset = \"3-1\"", &["\"3-1\" is no list of CPUs"]);
    refused("[root]\ntmp_size = \"99999999999999TiB\"", &["root.tmp_size"]);
}

#[test]
fn sizes_are_binary_and_durations_may_be_fractions() {
    let text = "max_runtime_hours = 0.5\nstop_grace_seconds = 1.5\n\
                [root]\ntmp_size = \"2G\"\nshm_size = \"512 MiB\"\n[limits]\nmemory = \"1.5GB\"\ncpus = 2\npids = 0x40";
    let draft = read("x.toml", text).expect("every value is right");
    assert_eq!(draft.max_runtime_usec, Some(1_800_000_000));
    assert_eq!(draft.stop_grace_usec, Some(1_500_000));
    assert_eq!(draft.tmp_bytes, Some(2 << 30));
    assert_eq!(draft.shm_bytes, Some(512 << 20));
    assert_eq!(draft.memory_bytes, Some(3 << 29));
    assert_eq!(draft.cpus, Some(2.0));
    assert_eq!(draft.pids, Some(64));
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let found = faults("description = \"x\"\nuser_ns = = true\n");
    assert!(found.iter().any(|fault| fault.starts_with("x.toml:2:")), "{found:#?}");
}

#[test]
fn control_characters_of_a_file_do_not_reach_a_terminal() {
    for fault in faults("\"\\u001b[31m\" = 1\n[env]\n\"\\u001b]0;x\" = \"y\"\n") {
        assert!(!fault.chars().any(char::is_control), "{fault:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = read("x.toml", &text);
    }

    #[test]
    fn no_value_makes_the_reader_panic(
        key in prop::sample::select(&KEYS[..]),
        table in prop::sample::select(&["", "[root]\n", "[limits]\n", "[env]\n"][..]),
        value in "(\"[ -~]{0,12}\"|-?[0-9]{1,25}|[0-9]e[0-9]{1,4}|true|\\[\"[a-z/.]{0,9}\"\\]|1979-05-27|\\{a = 1\\})",
    ) {
        for key in [key, "show", "tmp_size", "pids", "memory", "cpus"] {
            for problem in read("x.toml", &format!("{table}{key} = {value}\n")).err().unwrap_or_default() {
                prop_assert!(problem.place.is_some(), "{problem}");
            }
        }
    }
}
