//! The client as a person runs it, against a supervisor that only pretends.

// A test that cannot go on says so by a panic.
#![allow(clippy::expect_used)]

mod fake;
mod policy;
mod queue;

use fake::{Fake, big};
use fetchml_api::host::{Finding, FindingState, Group};
use fetchml_api::job::{JobDescription, MountMode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Output, Stdio};

/// Status, standard output, standard error.
fn run(fake: &Fake, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = fake.client(words).output().expect("the client runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let status = status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or(0));
    (status, text(stdout), text(stderr))
}

fn begin(fake: &Fake, words: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = fake
        .client(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client runs");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    (child, stdout)
}

fn line(reader: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("text");
    line
}

fn press_ctrl_c(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("a signal");
}

#[test]
fn run_gives_the_jobs_output_untouched_and_its_status() {
    let fake = Fake::start();
    let output = fake.client(&["run", "--", "both", "3"]).output().expect("the client runs");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"to out\n\x1b[2Jraw\xff\x00");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to err\njob 1 failed: exit code 3\n");
}

#[test]
fn a_success_is_silent_unless_something_was_refused() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["run", "--", "late"]), (0, "done\n".into(), String::new()));
    let said = "job 2 succeeded; denied: ptrace ×2 (profile default; needs profile debug)\n";
    assert_eq!(run(&fake, &["run", "--", "fallback"]), (0, "fell back\n".into(), said.into()));
    let quiet = run(&fake, &["run", "--quiet", "--", "fallback"]);
    assert_eq!(quiet, (0, "fell back\n".into(), String::new()));
}

#[test]
fn run_ends_with_the_status_of_the_contract() {
    let fake = Fake::start();
    for status in [0, 3, 124, 126, 127, 137] {
        let word = status.to_string();
        assert_eq!(
            run(&fake, &["run", "-q", "--", "late", &word]),
            (status, "done\n".into(), String::new())
        );
    }
}

#[test]
fn twenty_megabytes_of_any_bytes_arrive_whole() {
    let fake = Fake::start();
    let output = fake.client(&["run", "--", "big"]).output().expect("the client runs");
    assert!(output.status.success());
    assert!(output.stdout == big(), "{} bytes arrived", output.stdout.len());
    assert_eq!(output.stderr, b"e\n".repeat(400));
    let output = fake.client(&["logs", "--stream", "stdout"]).output().expect("the client runs");
    assert!(output.stdout == big(), "{} bytes arrived", output.stdout.len());
}

#[test]
fn the_directories_travel_open() {
    let fake = Fake::start();
    let data = fake.dir.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let mount = format!("{}:/data:rw", data.display());
    let words = ["run", "--mount", &mount, "--memory", "4G", "--time-limit", "1h30m", "--", "both"];
    assert_eq!(run(&fake, &words).0, 0);
    assert_eq!(fake.project_file(1), "print('the project')");
    let spec = fake.description(1).spec;
    assert_eq!(spec.limits.memory_bytes, Some(4 << 30));
    assert_eq!(spec.time_limit_usec, Some(5_400_000_000));
    let mounts: Vec<_> = spec.mounts.iter().map(|m| (m.target.as_str(), m.mode)).collect();
    assert_eq!(mounts, [("/work", MountMode::Project), ("/data", MountMode::Rw)]);
}

#[test]
fn ctrl_c_cancels_and_the_end_is_still_shown() {
    let fake = Fake::start();
    let (mut child, mut stdout) = begin(&fake, &["run", "--", "forever"]);
    assert_eq!(line(&mut stdout), "begun\n");
    press_ctrl_c(&child);
    assert_eq!(line(&mut stdout), "stopping\n");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(143));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("cancelling job 1"), "{stderr}");
    assert!(stderr.ends_with("job 1 cancelled\n"), "{stderr}");
    child = fake
        .client(&["run", "-q", "--", "forever"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the client runs");
    while fake.client(&["cancel", "2"]).output().is_ok_and(|o| !o.status.success()) {}
    assert_eq!(child.wait().expect("an end").code(), Some(143));
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let fake = Fake::start();
    let (mut child, mut stdout) = begin(&fake, &["run", "--", "stubborn"]);
    assert_eq!(line(&mut stdout), "begun\n");
    press_ctrl_c(&child);
    assert_eq!(line(&mut stdout), "stopping\n");
    press_ctrl_c(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    assert!(fake.was_cancelled(1));
}

#[test]
fn output_that_nobody_reads_ends_the_job() {
    let fake = Fake::start();
    let (mut child, mut stdout) = begin(&fake, &["run", "--", "restart"]);
    assert_eq!(line(&mut stdout), "before\n");
    drop(stdout);
    assert_eq!(child.wait().expect("an end").code(), Some(141));
    assert!(fake.was_cancelled(1));
}

#[test]
fn a_restart_of_the_supervisor_is_survived() {
    let fake = Fake::start();
    assert_eq!(
        run(&fake, &["run", "-q", "--", "restart", "7"]),
        (7, "before\nmeanwhile\nafter\n".into(), String::new())
    );
}

#[test]
fn everything_that_fetchml_refuses_is_125_for_run() {
    let fake = Fake::start();
    let file = fake.dir.path().join("project/train.py");
    let file = format!("{}:/data", file.display());
    let cases: &[(&[&str], &str)] = &[
        (&["run"], "empty command"),
        (&["run", "--", ""], "empty command"),
        (&["run", "--memory", "lots", "--", "true"], "4G"),
        (&["run", "--time-limit", "90", "--", "true"], "no unit"),
        (&["run", "--name", "a\nb", "--", "true"], "control characters"),
        (&["run", "--network", "host", "--", "true"], "none or loopback"),
        (&["run", "--nonsense", "--", "true"], "--nonsense"),
        (&["run", "--dir", "/nowhere", "--", "true"], "cannot open /nowhere: no such file"),
        (&["run", "--dir", "/", "--", "true"], "root directory"),
        (&["run", "--mount", "/nowhere:/data", "--", "true"], "/nowhere"),
        (&["run", "--mount", &file, "--", "true"], "not a directory"),
        (&["run", "--", "refused"], "you may not run this"),
    ];
    for (words, expected) in cases {
        let (status, stdout, stderr) = run(&fake, words);
        assert_eq!((status, stdout.as_str()), (125, ""), "{words:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{words:?}: {stderr}");
    }
    assert_eq!(
        run(&fake, &["run", "--name", &"x".repeat(60_000), "--", "sh", &"y".repeat(100_000)]).0,
        0
    );
    let huge = fake.client(&["run", "--"]).arg("x").args(vec!["y".repeat(100_000); 11]).output();
    let huge = huge.expect("the client runs");
    assert_eq!(huge.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&huge.stderr).contains("too large"));
}

#[test]
fn the_home_directory_is_no_project() {
    let fake = Fake::start();
    let home = fake.dir.path().join("project");
    let output =
        fake.client(&["run", "--", "true"]).env("HOME", home).output().expect("the client runs");
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("your home directory"));
}

#[test]
fn other_verbs_end_with_1_for_a_no_and_2_for_usage() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["status", "99"]).0, 1);
    assert_eq!(run(&fake, &["logs", "nobody"]).0, 1);
    assert_eq!(run(&fake, &["status", "@last"]).0, 1);
    assert_eq!(run(&fake, &["list", "--limit", "x"]).0, 2);
    assert_eq!(run(&fake, &["submit"]).0, 2);
    assert_eq!(run(&fake, &["--help"]).0, 0);
    assert_eq!(run(&fake, &["wait", "99"]).0, 125);
}

#[test]
fn jobs_are_submitted_named_waited_for_and_listed() {
    let fake = Fake::start();
    let submit = |words: &[&str]| run(&fake, &[&["submit", "-q"], words].concat());
    assert_eq!(submit(&["--name", "first", "--", "late"]), (0, "1\n".into(), String::new()));
    assert_eq!(submit(&["--", "late", "5"]).1, "2\n");
    assert_eq!(submit(&["--", "late", "6"]).1, "3\n");
    let waited = run(&fake, &["wait", "first", "2-3"]);
    assert_eq!(waited.0, 5);
    assert_eq!(waited.1, "job 1 succeeded\njob 2 failed: exit code 5\njob 3 failed: exit code 6\n");
    assert_eq!(run(&fake, &["list", "-o", "name"]).1, "1\n2\n3\n");
    let listed: Vec<JobDescription> =
        serde_json::from_str(&run(&fake, &["list", "--json"]).1).expect("JSON");
    assert_eq!(listed.len(), 3);
    let table = run(&fake, &["list"]).1;
    assert!(table.starts_with("JOB  NAME"), "{table}");
    let status = run(&fake, &["status", "@last"]);
    assert!(status.1.contains("exit status: 6"), "{}", status.1);
    assert!(status.2.contains("logs --tail 50 3"), "{}", status.2);
}

#[test]
fn logs_are_printed_in_order_from_where_they_are_wanted() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["run", "-q", "--", "lines"]).0, 0);
    assert_eq!(run(&fake, &["logs", "-n", "2"]).1, "line 4\nline 5\n");
    assert_eq!(run(&fake, &["logs", "-f", "-n", "1", "1"]).1, "line 5\n");
    assert_eq!(run(&fake, &["logs", "-t", "-n", "1"]).1, "2025-11-13T02:13:20.000001Z line 5\n");
    assert_eq!(run(&fake, &["logs", "--stream", "stderr"]).1, "");
    assert_eq!(run(&fake, &["run", "-q", "--", "both"]).0, 0);
    let json = run(&fake, &["logs", "--json"]).1;
    let last: serde_json::Value =
        serde_json::from_str(json.lines().next_back().unwrap_or_default()).expect("JSON");
    assert_eq!(last["text"], serde_json::json!(b"\x1b[2Jraw\xff\x00"));
}

#[test]
fn a_followed_log_ends_with_its_job() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--", "forever"]).1, "1\n");
    let (mut child, mut stdout) = begin(&fake, &["logs", "-f"]);
    assert_eq!(line(&mut stdout), "begun\n");
    assert_eq!(run(&fake, &["cancel", "1"]).0, 0);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "stopping\n");
    assert!(child.wait().expect("an end").success());
}

#[test]
fn doctor_puts_the_supervisors_word_above_its_own() {
    use std::collections::BTreeSet;
    let fake = Fake::start();
    let (status, json, _) = run(&fake, &["doctor", "--json"]);
    assert_eq!(status, 1, "a needed thing is missing: {json}");
    let findings: Vec<Finding> = serde_json::from_str(&json).expect("findings");
    let of = |name: &str| {
        let found: Vec<_> = findings.iter().filter(|f| f.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    assert_eq!(of("landlock").detail, "as the supervisor sees it");
    assert_eq!(of("launcher").state, FindingState::Ok);
    assert!(of("supervisor").detail.contains("private, version 0.0.0"));
    assert!(of("kernel").needed);
    let groups: BTreeSet<_> = findings.iter().map(|f| f.group).collect();
    assert_eq!(groups.len(), Group::ALL.len(), "{json}");
    let silent = |f: &&Finding| f.state == FindingState::Missing && f.remedy.is_none();
    assert_eq!(findings.iter().find(silent), None, "something is missing without a remedy");
    let (_, table, _) = run(&fake, &["doctor"]);
    assert!(table.contains("\nthis machine runs no jobs as it is: id-mapped-mounts"), "{table}");
}

#[test]
fn doctor_works_without_a_supervisor_and_starts_none() {
    let fake = Fake::start();
    let dir = fake.dir.path().join("nobody");
    let output = fake.client_of(&dir, &["doctor", "--json"]).output().expect("the client runs");
    let findings: Vec<Finding> = serde_json::from_slice(&output.stdout).expect("findings");
    let supervisor = findings.iter().find(|f| f.name == "supervisor").expect("told");
    assert!(supervisor.detail.contains("can be seen without it"), "{supervisor:?}");
    assert!(!dir.exists(), "something was started");
}

#[test]
fn a_supervisor_that_cannot_start_has_its_words_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let fake = Fake::start();
    let program = fake.dir.path().join("fetchmld");
    std::fs::write(&program, "#!/bin/sh\necho 'the store is damaged' >&2\nexit 4\n")
        .expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let dir = fake.dir.path().join("other");
    let output = fake.client_of(&dir, &["list"]).output().expect("the client runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    if nix::unistd::geteuid().is_root() {
        assert!(stderr.contains("it said: the store is damaged"), "{stderr}");
    } else {
        assert!(stderr.contains("needs root"), "{stderr}");
    }
}
