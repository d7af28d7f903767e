//! `policy`: from the supervisor, from files, and what scripts get of it.

use super::{Fake, run};
use serde_json::Value;

/// The client where no supervisor answers.
fn alone(fake: &Fake, words: &[&str]) -> (i32, String, String) {
    let dir = fake.dir.path().join("nobody");
    let output = fake.client_of(&dir, words).output().expect("the client runs");
    assert!(!dir.exists(), "something was started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_supervisors_profiles_are_listed_and_shown() {
    let fake = Fake::start();
    let (status, table, note) = run(&fake, &["policy", "list"]);
    assert_eq!((status, note.as_str()), (0, ""));
    let line = table.lines().find(|line| line.starts_with("strict ")).expect("listed");
    assert!(line.contains(" default "), "the supervisor's own default: {line}");
    let listed = json(&run(&fake, &["policy", "list", "--json"]).1);
    assert!(listed.as_array().is_some_and(|all| all.len() >= 4 && all[0]["privileges"].is_array()));
    let shown = run(&fake, &["policy", "show", "default", "--plan"]).1;
    assert!(shown.contains("\nsystem calls\n"), "{shown}");
    assert!(shown.contains("\non this machine\n") && shown.contains("held: level 7"), "{shown}");
    let value = json(&run(&fake, &["policy", "show", "default", "--json"]).1);
    assert_eq!(
        (&value["profile"]["name"], &value["machine"]["absent"][0]),
        (&"default".into(), &"/opt".into())
    );
    assert_eq!(run(&fake, &["policy", "show", "nothing"]).0, 1);
}

#[test]
fn without_a_supervisor_the_files_answer_and_that_is_said() {
    let fake = Fake::start();
    let (status, table, note) = alone(&fake, &["policy", "list"]);
    assert_eq!(status, 0);
    assert!(table.starts_with("PROFILE "), "{table}");
    assert!(note.starts_with("note: no supervisor answers"), "{note}");
    let (status, _, error) = alone(&fake, &["policy", "show", "default", "--plan"]);
    assert_eq!(status, 1);
    assert!(error.contains("running supervisor"), "{error}");
}

#[test]
fn explanations_end_with_their_verdict() {
    let fake = Fake::start();
    let cases: [(&[&str], i32, &str); 11] = [
        (&["--call", "read"], 0, "read: allowed (profile default)"),
        (&["--call", "reboot"], 1, "reboot: denied (profile default)"),
        (&["--call", "socket"], 3, "argument 0 is AF_UNIX: allowed"),
        (&["--call", "socket(AF_INET)"], 3, "socket(AF_INET): depends (profile default)"),
        (&["--call", "socket(AF_INET, SOCK_RAW)"], 1, "socket(AF_INET, SOCK_RAW): denied"),
        (&["--call", "socket(AF_UNIX, 1)"], 0, "allowed"),
        (&["--path", "/etc/shadow"], 1, "read /etc/shadow: denied"),
        (&["--path", "/usr/bin/python3", "--execute"], 0, "allowed"),
        (&["--path", "/usr/bin/python3", "--write"], 1, "denied"),
        (&["--connect", "127.0.0.1:8080"], 1, "connect 127.0.0.1:8080: denied"),
        (&["--call", "rebot"], 2, ""),
    ];
    for answers in [run, alone] {
        for (words, expected, part) in &cases {
            let words = [&["policy", "explain", "default"], *words].concat();
            let (status, text, error) = answers(&fake, &words);
            assert_eq!(status, *expected, "{words:?}: {text}{error}");
            assert!(text.contains(part), "{words:?}: {text}");
        }
    }
    let told = run(&fake, &["policy", "explain", "default", "--call", "ptrace"]).1;
    assert!(told.contains("  why: ") && told.contains("allowed by: profile debug"), "{told}");
    let value = json(&run(&fake, &["policy", "explain", "--call", "ptrace", "--json"]).1);
    assert_eq!(value["verdict"], "denied");
    assert_eq!(run(&fake, &["policy", "explain", "default"]).0, 2, "nothing was asked");
    assert_eq!(run(&fake, &["policy", "explain", "--call", "a", "--path", "b"]).0, 2);
}

#[test]
fn a_foreign_seccomp_profile_becomes_one_that_passes_the_check() {
    let fake = Fake::start();
    let project = fake.dir.path().join("project");
    let foreign = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["read","write","execve","exit_group"],"action":"SCMP_ACT_ALLOW"},
            {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}"#;
    std::fs::write(project.join("foreign.json"), foreign).expect("a file");
    let words = ["policy", "import", "foreign.json", "-o", "mine.json"];
    let (status, text, notes) = alone(&fake, &words);
    assert_eq!((status, text.as_str()), (0, ""), "{notes}");
    assert!(notes.contains("bpf"), "what was left out is told: {notes}");
    assert_eq!(alone(&fake, &["policy", "check", "mine.json"]).0, 0);
    let made = std::fs::read_to_string(project.join("mine.json")).expect("made");
    assert!(made.contains("\"read\""), "{made}");
    assert_eq!(alone(&fake, &words).0, 1, "it was overwritten");
    let value = json(&alone(&fake, &["policy", "import", "foreign.json", "--json"]).1);
    assert!(value["text"].is_string() && value["notes"].is_array());
    std::fs::write(project.join("odd.json"), foreign.replace("names", "nmaes")).expect("a file");
    let (status, faults, _) = alone(&fake, &["policy", "import", "odd.json"]);
    assert!(status == 1 && faults.starts_with("odd.json:"), "{faults}");
}

#[test]
fn a_file_is_checked_explained_and_compared_where_it_lies() {
    let fake = Fake::start();
    let project = fake.dir.path().join("project");
    let good = "extends = \"default\"\ndescription = \"mine\"\nnetwork_mode = \"loopback\"\n";
    std::fs::write(project.join("mine.toml"), good).expect("a file");
    let bad = "extends = \"default\"\nread_only_root = false\nnetwork_mode = \"all\"\n";
    std::fs::write(project.join("bad.toml"), bad).expect("a file");
    assert_eq!(alone(&fake, &["policy", "check", "mine.toml"]).0, 0);
    let (status, faults, _) = alone(&fake, &["policy", "check", "mine.toml", "bad.toml"]);
    assert_eq!(status, 1);
    let lines: Vec<_> = faults.lines().collect();
    assert!(lines.iter().any(|l| l.starts_with("bad.toml:2:18: read_only_root: ")), "{faults}");
    assert!(lines.iter().any(|l| l.starts_with("bad.toml:3:16: network_mode: ")), "{faults}");
    let value = json(&alone(&fake, &["policy", "check", "bad.toml", "--json"]).1);
    assert_eq!(value[0]["place"], serde_json::json!([2, 18]));
    let ask = ["policy", "explain", "./mine.toml", "--connect", "127.0.0.1:80"];
    assert_eq!(run(&fake, &ask).0, 0);
    let (status, found, _) = run(&fake, &["policy", "diff", "default", "mine.toml"]);
    assert_eq!(status, 1);
    assert!(found.contains("network_mode  none"), "{found}");
    assert_eq!(alone(&fake, &["policy", "diff", "default", "default"]).0, 0);
    assert_eq!(alone(&fake, &["policy", "diff", "default", "nowhere"]).0, 2);
    assert_eq!(alone(&fake, &["policy", "explain", "bad.toml", "--call", "read"]).0, 2);
}

#[test]
fn what_cannot_be_read_is_no_fault_of_a_file() {
    let fake = Fake::start();
    let project = fake.dir.path().join("project");
    std::fs::write(project.join("bad.toml"), "extends = \"defualt\"\nrun_as_uid = 0\n")
        .expect("a file");
    for verb in ["policy", "config"] {
        let (status, faults, error) = alone(&fake, &[verb, "check", "nope.toml"]);
        assert_eq!((status, faults.as_str()), (2, ""), "{verb}: {error}");
        assert!(error.contains("cannot read nope.toml: no such file"), "{verb}: {error}");
        let (status, _, error) = alone(&fake, &[verb, "check", "."]);
        assert_eq!(status, 2, "{verb}: {error}");
        assert!(error.contains("cannot read .: it is a directory"), "{verb}: {error}");
    }
    let (status, faults, _) = alone(&fake, &["policy", "check", "nope.toml", "bad.toml"]);
    assert_eq!(status, 2);
    assert_eq!(faults.lines().count(), 2, "the other is checked: {faults}");
}

#[test]
fn a_misspelt_call_of_a_seccomp_file_is_noted() {
    let fake = Fake::start();
    let file = fake.dir.path().join("project/mine.json");
    let rules = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["execve","exit_group","raed"],"action":"SCMP_ACT_ALLOW"}]}"#;
    std::fs::write(file, rules).expect("a file");
    let (status, faults, note) = alone(&fake, &["policy", "check", "mine.json"]);
    assert_eq!((status, faults.as_str()), (0, ""));
    assert!(
        note.contains("note: mine.json:2:9: syscalls[0]: ") && note.contains("mean read?"),
        "{note}"
    );
}
