//! The audit log as an operator and an attacker find it.

use crate::private;
use fetchml_tests::Private;

fn some_history(private: &Private) -> Vec<String> {
    private.shell("true").ok();
    private.shell("exit 3").expect(3);
    private.audit_lines()
}

/// Verifies a changed copy of the log, as evidence is: away from the supervisor,
/// with the head and the checkpoints that it knows.
fn verdict(private: &Private, lines: &[String]) -> fetchml_tests::Output {
    let copy = private.project().join("copy.log");
    std::fs::write(&copy, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    let checkpoints = private.audit_segment().with_extension("notes");
    std::fs::copy(checkpoints, private.project().join("copy.notes")).unwrap();
    std::fs::copy(private.dir().join("log/audit/head"), private.project().join("head")).unwrap();
    private.ctl(["audit", "verify", "--file", copy.to_str().unwrap()])
}

#[test]
fn each_job_leaves_its_records_in_order() {
    let private = private!();
    let lines = some_history(&private);
    let events: Vec<String> = lines
        .iter()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .filter(|r| r["job"] == 2)
        .map(|r| r["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["job_queued", "job_started", "job_completed"]);
    let started = lines.iter().find(|l| l.contains("job_started")).unwrap();
    assert!(started.contains("seccomp=held") && started.contains("landlock="), "{started}");
}

#[test]
fn each_tampering_is_found_and_placed() {
    let private = private!();
    let honest = some_history(&private);
    verdict(&private, &honest).expect(0);
    let at = honest.len() / 2;
    let seq = at + 1;
    let mut changed = honest.clone();
    changed[at] =
        changed[at].replacen("success", "failure", 1).replacen("\"uid\":0", "\"uid\":7", 1);
    let mut deleted = honest.clone();
    deleted.remove(at);
    let mut inserted = honest.clone();
    inserted.insert(at, honest[at - 1].clone());
    let mut reordered = honest.clone();
    reordered.swap(at, at + 1);
    let cut = honest[..honest.len() - 1].to_vec();
    for (what, lines, named) in [
        ("changed", &changed, seq),
        ("deleted", &deleted, seq),
        ("inserted", &inserted, seq - 1),
        ("re-ordered", &reordered, seq),
        ("cut", &cut, honest.len()),
    ] {
        let output = verdict(&private, lines);
        assert_eq!(output.status, 1, "{what}: {output}");
        let near = [named - 1, named, named + 1].map(|n| n.to_string());
        assert!(near.iter().any(|n| output.says(n)), "{what} at {named}: {output}");
    }
}

#[test]
fn a_supervisor_does_not_start_on_a_damaged_log() {
    let private = private!();
    let lines = some_history(&private);
    private.crash();
    let mut damaged = lines;
    damaged.remove(2);
    std::fs::write(private.audit_segment(), damaged.join("\n") + "\n").unwrap();
    let output = private.shell("true");
    output.expect(125);
    assert!(output.says("audit"), "{output}");
}

#[test]
fn a_damaged_log_is_verified_where_it_lies() {
    let private = private!();
    let mut lines = some_history(&private);
    lines.remove(3);
    std::fs::write(private.audit_segment(), lines.join("\n") + "\n").unwrap();
    let running = private.ctl(["audit", "verify"]);
    running.expect(1);
    private.crash();
    let stopped = private.ctl(["audit", "verify"]);
    stopped.expect(1);
    for output in [running, stopped] {
        assert!(output.says("4"), "{output}");
    }
    assert_eq!(private.supervisor(), None, "verifying starts nothing");
}

#[test]
fn signatures_are_checked_whether_or_not_a_supervisor_runs() {
    let private = private!();
    some_history(&private);
    private.ctl(["audit", "anchor"]).ok();
    let running = private.ctl(["audit", "verify"]);
    running.expect(0);
    private.crash();
    // Killed, it could not sign the end.
    for output in [running, private.ctl(["audit", "verify"])] {
        assert!(output.says("signed up to record"), "{output}");
    }
    // What stands before the record that was changed holds, and not that one.
    let mut lines = private.audit_lines();
    lines[3] = lines[3].replacen("\"time_usec\":1", "\"time_usec\":2", 1);
    std::fs::write(private.audit_segment(), lines.join("\n") + "\n").unwrap();
    let tampered = private.ctl(["audit", "verify"]);
    tampered.expect(1);
    assert!(tampered.says("records 1 to 3 hold"), "{tampered}");
}

#[test]
fn a_torn_last_record_is_set_aside_and_said() {
    let private = private!();
    some_history(&private);
    private.crash();
    let text = std::fs::read_to_string(private.audit_segment()).unwrap();
    std::fs::write(private.audit_segment(), format!("{text}{{\"half\":")).unwrap();
    private.shell("true").ok();
    private.ctl(["audit", "verify"]).expect(0);
    let torn = std::fs::read_dir(private.dir().join("log/audit")).unwrap();
    assert!(torn.flatten().any(|e| e.file_name().to_string_lossy().contains("torn")));
}

/// A small file system for the audit log alone; gone with this value.
struct SmallLog(std::path::PathBuf);

impl SmallLog {
    fn mount(private: &Private) -> Self {
        let at = private.dir().join("log");
        std::fs::create_dir_all(&at).unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0750", "tmpfs"])
            .arg(&at)
            .status();
        assert!(status.unwrap().success());
        Self(at)
    }
}

impl Drop for SmallLog {
    fn drop(&mut self) {
        // Lazily: a test that failed leaves a supervisor that writes there.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn nothing_new_is_done_while_it_cannot_be_recorded_and_what_runs_goes_on() {
    let private = private!();
    let log = SmallLog::mount(&private);
    let runs =
        private.ctl(["submit", "--quiet", "--", "sh", "-c", "echo up; sleep 3; echo through"]);
    let runs = runs.ok().to_owned();
    while private.ctl(["logs", &runs]).stdout.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let filler = log.0.join("filler");
    std::fs::write(&filler, vec![0; 300 << 10]).unwrap_err();
    // The last page of the segment may have room for some records yet.
    let refused = (0..60)
        .map(|_| private.ctl(["submit", "--quiet", "--", "touch", "/outputs/done"]))
        .find(|output| output.status != 0)
        .expect("a full disk takes no jobs");
    assert!(refused.says("audit") && refused.says("No space left"), "{refused}");
    // Who looks for the reason may look.
    private.ctl(["list"]).ok();
    private.ctl(["audit", "show", "-n", "1"]).ok();
    std::fs::remove_file(&filler).unwrap();
    private.ctl(["wait", &runs]).expect(0);
    assert!(private.ctl(["logs", &runs]).ok().ends_with("through"));
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while private.ctl(["submit", "--quiet", "--", "true"]).status != 0 {
        assert!(std::time::Instant::now() < patience, "it never takes work again");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let events: Vec<String> = private.audit_lines();
    assert!(events.iter().any(|line| line.contains("\"event\":\"log_resumed\"")));
    private.ctl(["audit", "verify"]).ok();
}
