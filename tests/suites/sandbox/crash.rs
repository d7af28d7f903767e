//! The supervisor may be killed at any moment; its jobs are not its children's
//! keepers.

use crate::private;
use fetchml_tests::campaign::{Campaign, Lot, leftovers};
use fetchml_tests::is_in_lower_pid_namespace;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let looked = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    private.ctl(["wait", id]).expect(9);
    let job: serde_json::Value =
        serde_json::from_str(private.ctl(["status", "--json", id]).ok()).unwrap();
    let finished = job["finished_usec"].as_u64().map(u128::from);
    assert!(finished.is_some_and(|at| at < looked), "{job}: {looked}");
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
        .stdout(Stdio::piped())
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

/// Aimed at what takes less than 3 ms, where one that is drawn by lot seldom hits.
#[test]
fn a_supervisor_that_is_killed_while_it_launches_a_job_has_it_run_once() {
    let private = private!();
    let mut lot = Lot::new(1);
    for _ in 0..40 {
        private.ctl(["list"]).ok();
        let supervisor = private.supervisor().expect("one serves the list");
        let mut client = private
            .command(["submit", "--", "echo", "ran"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !launches(supervisor) && client.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(lot.up_to(Duration::from_millis(3)));
        // It may be one that gives way to the one that serves.
        let _ = private.crash_if_there();
        client.wait().unwrap();
    }
    let mut accepted = 0;
    let listed: serde_json::Value =
        serde_json::from_str(private.ctl(["list", "--json"]).ok()).unwrap();
    for job in listed.as_array().unwrap() {
        let id = job["id"].to_string();
        private.ctl(["wait", &id]).expect(0);
        assert_eq!(private.ctl(["logs", &id]).ok(), "ran", "job {id}");
        let attempts = private.ctl(["attempts", "--json", &id]);
        let attempts: serde_json::Value = serde_json::from_str(attempts.ok()).unwrap();
        assert_eq!(attempts.as_array().map(Vec::len), Some(1), "job {id}: {attempts:#}");
        accepted += 1;
    }
    assert!(accepted >= 10, "{accepted} of 40 jobs were accepted");
    private.ctl(["audit", "verify"]).expect(0);
}

/// Whether a child of it is in a PID namespace of its own (proc_tid_children(5)) and has not
/// executed the agent: it has the memory of the supervisor, and with it the command line.
fn launches(supervisor: Pid) -> bool {
    let of = |pid: &str, file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let own = of(&supervisor.as_raw_nonzero().to_string(), "cmdline");
    let threads = std::fs::read_dir(format!("/proc/{}/task", supervisor.as_raw_nonzero()));
    threads.into_iter().flatten().flatten().any(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_whitespace().any(|child| {
            let child = child.parse().ok().and_then(Pid::from_raw);
            child.is_some_and(|child| {
                let words = of(&child.as_raw_nonzero().to_string(), "cmdline");
                words == own && is_in_lower_pid_namespace(child)
            })
        })
    })
}

/// How many submit at once, and for how long.
const CLIENTS: u64 = 50;
const STORM: Duration = Duration::from_secs(20);

#[test]
fn fifty_submit_at_once_under_kills_and_the_chain_has_no_gap_and_no_fork() {
    let private = private!();
    // Accepted and never started: what is measured is the log, not the sandbox.
    private.ctl(["drain"]).ok();
    let over = AtomicBool::new(false);
    let submit = |client: u64| {
        let mut accepted = Vec::new();
        for n in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("storm-{client}-{n}");
            // One that was cut off may be in or not; one that was answered is in.
            let output = private.ctl(["submit", "--quiet", "--name", &name, "--", "true"]);
            if output.status == 0 {
                accepted.push((output.ok().parse::<u64>().unwrap(), name));
            }
        }
        accepted
    };
    let (accepted, kills) = std::thread::scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS).map(|n| threads.spawn(move || submit(n))).collect();
        let end = std::time::Instant::now() + STORM;
        let (mut kills, mut lot) = (0_u32, 7_u64);
        while std::time::Instant::now() < end {
            lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_millis(100 + (lot >> 33) % 900));
            // One that gives way to another is gone by itself.
            kills += u32::from(private.crash_if_there());
        }
        over.store(true, Ordering::Relaxed);
        let accepted: Vec<_> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (accepted, kills)
    });
    assert!(kills > 5 && accepted.len() > 50, "{kills} kills, {} accepted", accepted.len());
    // The last kill may have been the end: one that runs signs what there is.
    private.ctl(["list"]).ok();
    private.ctl(["audit", "verify"]).ok();
    // Numbers follow each other, and each acknowledged job was recorded, once.
    let mut queued = BTreeMap::new();
    for (line, expected) in private.audit_lines().iter().zip(1_u64..) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["seq"], expected);
        if let (Some("submit"), Some(job)) = (record["action"].as_str(), record["job"].as_u64()) {
            let name = record["details"]["name"].as_str().unwrap().to_owned();
            assert_eq!(queued.insert(job, name), None, "job {job} was recorded twice");
        }
    }
    for (job, name) in &accepted {
        assert_eq!(queued.get(job), Some(name), "job {job} was acknowledged");
    }
}
