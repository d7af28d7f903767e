//! The supervisor may be killed at any moment; its jobs are not its children's
//! keepers.

use crate::private;
use fetchml_tests::campaign::{Campaign, leftovers};
use std::time::Duration;

#[test]
fn a_job_outlives_its_supervisor_and_loses_nothing() {
    let private = private!();
    let id = private.ctl([
        "submit",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.3; done; exit 5",
    ]);
    let id = id.ok();
    while private.ctl(["logs", id]).stdout.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    private.crash();
    private.ctl(["wait", id]).expect(5);
    let logs = private.ctl(["logs", id]);
    assert_eq!(logs.ok(), "line 1\nline 2\nline 3\nline 4\nline 5\nline 6");
    private.ctl(["audit", "verify"]).expect(0);
}

#[test]
fn a_job_that_ended_while_nobody_looked_has_its_true_status() {
    let private = private!();
    let id = private.ctl(["submit", "--", "sh", "-c", "echo begun; sleep 0.5; echo ended; exit 9"]);
    let id = id.ok();
    while private.ctl(["logs", id]).stdout.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    private.crash();
    std::thread::sleep(Duration::from_secs(1));
    private.ctl(["wait", id]).expect(9);
    assert_eq!(private.ctl(["logs", id]).ok(), "begun\nended");
    let status = private.ctl(["status", id]);
    assert!(status.says("exited with code 9"), "{status}");
    private.ctl(["audit", "verify"]).expect(0);
}

#[test]
fn a_client_that_follows_survives_the_restart() {
    let private = private!();
    let child = private
        .command([
            "run",
            "--",
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; exit 6",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while private.supervisor().is_none() || !private.ctl(["list"]).says("running") {
        std::thread::sleep(Duration::from_millis(20));
    }
    private.crash();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n2\n3\n4\n5\n6\n");
    assert_eq!(output.status.code(), Some(6));
}

#[test]
fn a_stop_reaches_an_adopted_job() {
    let private = private!();
    let id = private.ctl(["submit", "--", "sleep", "1000"]);
    while !private.ctl(["list"]).says("running") {
        std::thread::sleep(Duration::from_millis(20));
    }
    private.crash();
    private.ctl(["cancel", id.ok()]).expect(0);
    assert_eq!(private.ctl(["wait", id.ok()]).status, 143);
}

/// A short one; `make test-crash` has a thousand kills.
#[test]
fn every_job_that_was_accepted_ends_once_whenever_the_supervisor_is_killed() {
    let private = private!();
    let outcome = Campaign { kills: 30, seed: 4 }.run(&private);
    assert!(outcome.wrong.is_empty(), "{outcome:#?}");
    assert!(outcome.told > 0, "{outcome:#?}");
    let left = leftovers(&private);
    assert!(left.is_empty(), "{left:#?}");
}
