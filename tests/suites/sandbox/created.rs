//! A child that is created and not started yet: it waits for its supervisor's word, and
//! has the supervisor's descriptors meanwhile.

use crate::resident::{Resident, shell};
use fetchmld::supervise::Prepared;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// In whose environment a test is the supervisor that is to be killed.
const VICTIM: &str = "FETCHML_TEST_VICTIM";

/// Looks until it is there; the test fails after long.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Children of this process.
fn children() -> Vec<u32> {
    let own = format!("PPid:\t{}\n", std::process::id());
    let is_own = |pid: &u32| {
        // It may have ended.
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains(&own))
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_own).collect()
}

/// The child that sleeps in futex(2), which is where it waits.
fn waiting_child() -> Option<u32> {
    let waits = |pid: &u32| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        call.split(' ').next() == Some("202")
    };
    children().into_iter().find(waits)
}

/// A plan whose child waits: it does not do so for ever, and on a busy machine not until
/// somebody looks.
fn waiting(resident: &Resident) -> (Prepared, u32) {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(1);
    loop {
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let prepared = resident.plan(shell("echo ran"), attempt, &[]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            if let Some(child) = waiting_child() {
                return (prepared, child);
            }
        }
    }
}

fn executable(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// Groups that are there for jobs.
fn groups(resident: &Resident) -> usize {
    let found = resident.host.findings().into_iter().find(|one| one.name == "cgroups");
    let parent = found.unwrap().detail.split(' ').next().unwrap().to_owned();
    let of_jobs = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("job-");
    fs::read_dir(parent).into_iter().flatten().flatten().filter(of_jobs).count()
}

#[test]
fn nothing_is_executed_before_the_start_and_a_plan_that_is_dropped_leaves_nothing() {
    let Some(resident) = Resident::new() else { return };
    let (prepared, child) = waiting(&resident);
    assert_eq!(executable(child), std::env::current_exe().unwrap());
    assert_eq!(fs::metadata(resident.in_job("log")).map_or(0, |log| log.len()), 0);
    drop(prepared);
    until("the child stays", || (!children().contains(&child)).then_some(()));
    until("its cgroup stays", || (groups(&resident) == 0).then_some(()));
    assert!(!resident.place.path().join("run/jobs/1.sock").exists(), "its socket stays");
    // Nobody waits for what is not there any more: the next one is launched.
    assert_eq!(resident.run(shell("echo ran"), 99, &[]).log.matches("ran").count(), 1);
    assert_eq!(groups(&resident), 0);
}

#[test]
fn a_start_that_comes_late_holds_nobody_up_and_comes_to_the_same() {
    let Some(resident) = Resident::new() else { return };
    let (prepared, child) = waiting(&resident);
    until("the child waits for ever", || (!children().contains(&child)).then_some(()));
    let report = resident.runtime.block_on(async {
        match prepared.start().await {
            Ok(attempt) => attempt.finished().await,
            Err(report) => panic!("{}", report.summary),
        }
    });
    assert_eq!(report.status, 0, "{}", report.summary);
    assert_eq!(groups(&resident), 0);
}

#[test]
fn a_child_that_is_killed_while_it_waits_is_no_running_job() {
    let Some(resident) = Resident::new() else { return };
    let report = loop {
        let (prepared, child) = waiting(&resident);
        // It may just have been late.
        let _ = kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL);
        match resident.runtime.block_on(prepared.start()) {
            Err(report) => break report,
            Ok(attempt) => {
                assert_eq!(resident.runtime.block_on(attempt.finished()).status, 0);
            }
        }
    };
    assert!(report.summary.contains("was killed"), "{}", report.summary);
    assert_eq!(groups(&resident), 0);
    assert!(children().is_empty());
}

#[test]
#[allow(clippy::print_stdout)]
fn a_child_that_waits_ends_with_its_supervisor() {
    let Some(resident) = Resident::new() else { return };
    if std::env::var_os(VICTIM).is_some() {
        let (_prepared, child) = waiting(&resident);
        println!("\nwaits {child}");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "created::a_child_that_waits_ends_with_its_supervisor", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(victim.stdout.take().unwrap());
    let child = std::io::BufRead::lines(said)
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("waits ")?.parse::<u32>().ok());
    let child = child.expect("the other process says which child waits");
    victim.kill().unwrap();
    victim.wait().unwrap();
    // Whoever inherits it may be slow to wait for it.
    let is_gone = || {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ") || status.contains("State:\tX"))
            .then_some(())
    };
    until("it outlives its supervisor", is_gone);
}
