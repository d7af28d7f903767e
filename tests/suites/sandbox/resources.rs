//! Attempts, limits on what a job writes, live use and accelerators, without queue
//! and bus. Limits that need the kernel's controllers are the machine's
//! (`machine/limits.rs`).

use crate::resident::{Resident, shell};
use fetchml_api::job::{FailureClass, JobSpec, Layer, Limits};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_further_attempt_has_a_log_of_its_own_and_goes_on_with_the_files() {
    let Some(resident) = Resident::new() else { return };
    let script = "echo attempt $FETCHML_ATTEMPT; cat /outputs/step /work/note 2>/dev/null
                  echo step $FETCHML_ATTEMPT >> /outputs/step
                  echo note $FETCHML_ATTEMPT >> /work/note; exit $FETCHML_ATTEMPT";
    let first = resident.run(shell(script), 1, &[]);
    let second = resident.run(shell(script), 2, &[]);
    assert_eq!((first.report.exit_code, second.report.exit_code), (Some(1), Some(2)));
    assert!(first.log.contains("attempt 1") && !first.log.contains("step 1"), "{}", first.log);
    for said in ["attempt 2", "step 1", "note 1"] {
        assert!(second.log.contains(said), "{}", second.log);
    }
    assert!(!second.log.contains("attempt 1"), "{}", second.log);
    let kept = fs::read_to_string(resident.in_job("outputs/step")).unwrap();
    assert_eq!(kept, "step 1\nstep 2\n");
}

#[test]
fn a_job_that_fills_its_log_ends_and_nothing_before_is_lost() {
    const LIMIT: u64 = 100_000;
    let Some(resident) = Resident::new() else { return };
    let script = "trap 'echo late; exit 7' TERM; n=0
                  while :; do echo line $n; n=$((n + 1)); done";
    let mut spec = shell(script);
    spec.limits = Limits { log_bytes: Some(LIMIT), ..Limits::default() };
    let left = resident.run(spec, 1, &[]);
    assert_eq!(left.report.failure, Some(FailureClass::LogLimit), "{}", left.report.summary);
    let words = "filled its log, whose limit is 97.6 KiB; exited with code 7";
    assert!(left.report.summary.starts_with(words), "{}", left.report.summary);
    assert!(left.report.lost_output_bytes > 0, "it went on writing until it ended");
    let size = fs::metadata(resident.in_job("log")).unwrap().len();
    assert!(size <= LIMIT && size > LIMIT - 1000, "{size} bytes");
    for n in 0..1000 {
        assert!(left.log.contains(&format!("line {n}\n")), "line {n} is not there");
    }
}

#[test]
fn a_job_that_writes_more_than_it_may_is_ended_in_words() {
    for place in ["/outputs", "/work"] {
        let Some(resident) = Resident::new() else { return };
        let mut spec = shell(&format!(
            "mkdir {place}/a; dd if=/dev/zero of={place}/a/large bs=1M count=24 2>&1; sleep 600"
        ));
        spec.limits = Limits { disk_bytes: Some(16 << 20), ..Limits::default() };
        let report = resident.run(spec, 1, &[]).report;
        assert_eq!(report.failure, Some(FailureClass::DiskLimit), "{}", report.summary);
        let (wrote, rest) = report.summary.split_once(", ").unwrap();
        assert!(wrote.starts_with("wrote 24"), "{}", report.summary);
        assert_eq!(rest, "its disk limit is 16 MiB; ended by signal 15 (SIGTERM)");
        assert!(report.usage.disk_bytes.is_some_and(|bytes| bytes >= 24 << 20));
    }
}

#[test]
fn a_job_within_its_limits_is_left_alone() {
    let Some(resident) = Resident::new() else { return };
    let mut spec = shell("dd if=/dev/zero of=/outputs/x bs=1M count=8 2>&1; echo done");
    spec.limits =
        Limits { disk_bytes: Some(16 << 20), log_bytes: Some(10_000), ..Limits::default() };
    let left = resident.run(spec, 1, &[]);
    assert_eq!((left.report.failure, left.report.lost_output_bytes), (None, 0));
    assert_eq!(left.report.summary, "exited with code 0");
    assert!(left.log.contains("done"));
}

/// A small file system of its own at a directory, while a test runs.
struct Small(PathBuf);

impl Small {
    fn at(path: PathBuf) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&path);
        assert!(mount.status().unwrap().success());
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_end_is_known_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    fs::create_dir(&state).unwrap();
    let small = Small::at(state);
    let Some(resident) = Resident::at(place, "/".into()) else { return };
    let full = "cat /dev/zero > /outputs/x; code=$?; echo said too late; exit $code";
    let report = resident.run(shell(full), 1, &[]).report;
    assert_eq!((report.exit_code, report.failure), (Some(1), Some(FailureClass::Infrastructure)));
    assert!(report.summary.contains("; disk full: "), "{}", report.summary);
    assert!(report.summary.contains("of output lost: No space left"), "{}", report.summary);
    drop(resident);
    drop(small);
}

#[test]
fn what_a_running_job_uses_can_be_asked() {
    let Some(resident) = Resident::new() else { return };
    let mut spec = shell("sleep 600 & : > /outputs/up; while :; do :; done");
    spec.limits = Limits { disk_bytes: Some(1 << 30), ..Limits::default() };
    let up = resident.in_job("outputs/up");
    resident.runtime.block_on(async {
        let attempt = resident.start(spec, 1, &[]).await;
        let busy = |user_usec| user_usec > 0;
        let mut usage = attempt.usage();
        while !up.exists() || !busy(usage.user_usec) || usage.disk_bytes == Some(0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            usage = attempt.usage();
        }
        assert_eq!(usage.processes, Some(3), "agent, shell, sleep: {usage:?}");
        assert!(usage.memory_bytes.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
        attempt.stop().await;
        attempt.finished().await;
    });
}

/// Nodes in the host's /dev under names of accelerators, while a test runs. They
/// are /dev/null by other names. One test at a time has some.
pub(crate) struct Nodes(Vec<PathBuf>, #[expect(dead_code, reason = "held for its lock")] fs::File);

impl Nodes {
    pub(crate) fn make(names: &[&str]) -> Self {
        let lock = fs::File::create("/dev/shm/fetchml-test-nodes.lock").unwrap();
        lock.lock().unwrap();
        let mut nodes = Self(Vec::new(), lock);
        for name in names {
            let path = Path::new("/dev").join(name);
            let made =
                Command::new("mknod").args(["-m", "666"]).arg(&path).args(["c", "1", "3"]).status();
            assert!(made.unwrap().success(), "{} is there already", path.display());
            nodes.0.push(path);
        }
        nodes
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &self.0 {
            let _ = fs::remove_file(node);
        }
    }
}

/// Names one of its threads, and looks which entries of /proc that are no process's
/// are on a mount that can be written.
const WRITES_TO_PROC: &str = r#"
import os, threading
def say(line):
    os.write(1, (line + "\n").encode())
def name():
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
            comm.write("worker")
        say(f"named: {open('/proc/thread-self/comm').read().strip() == 'worker'}")
    except OSError as error:
        say(f"named: False, {error}")
thread = threading.Thread(target=name)
thread.start()
thread.join()
mounts = {}
for line in open("/proc/self/mountinfo"):
    fields = line.split()
    mounts[fields[4]] = fields[3] == "/null" or "ro" in fields[5].split(",")
def is_open(name):
    path = "/proc/" + name
    is_jobs = name.isdigit() and name != "1"
    return not (is_jobs or os.path.islink(path) or mounts.get(path, mounts["/proc"]))
say(f"open besides: {[name for name in os.listdir('/proc') if is_open(name)]}")
"#;

#[test]
fn a_job_sees_the_accelerators_that_it_was_given_and_no_others() {
    if crate::start().is_none() {
        return;
    }
    let nodes = Nodes::make(&["nvidia201", "nvidia202", "nvidiactl"]);
    let root = tempfile::tempdir().unwrap();
    symlink("/dev", root.path().join("dev")).unwrap();
    for (address, minor) in [("0000:18:00.0", 201), ("0000:86:00.0", 202)] {
        let described = root.path().join("proc/driver/nvidia/gpus").join(address);
        fs::create_dir_all(&described).unwrap();
        let text = format!("Model: \t\t NVIDIA Pretence\nDevice Minor: \t {minor}\n");
        fs::write(described.join("information"), text).unwrap();
    }
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("state")).unwrap();
    let Some(resident) = Resident::at(place, root.path().to_owned()) else { return };
    let found: Vec<_> = resident.host.capacity().gpus.into_iter().map(|gpu| gpu.name).collect();
    assert_eq!(found, ["nvidia201", "nvidia202"]);

    let script = "cd /dev; for n in nvidia201 nvidia202 nvidiactl; do
                  if [ -c $n ]; then echo x > $n && echo sees $n; fi; done
                  echo numbers=${CUDA_VISIBLE_DEVICES-none}.";
    let run = |script: &str, profile: &str, gpus: &[&str]| {
        let mut spec = JobSpec { profile: profile.to_owned(), ..shell(script) };
        spec.gpus.count = u32::try_from(gpus.len()).unwrap();
        let left = resident.run(spec, 1, gpus);
        // The log goes on from attempt to attempt of the same number.
        fs::remove_file(resident.in_job("log")).unwrap();
        let layer = left.report.layers.into_iter().find(|layer| layer.name == Layer::DEVICES);
        (left.log, layer.map(|layer| layer.detail).unwrap_or_default())
    };
    let under = |profile: &str, gpus: &[&str]| run(script, profile, gpus);
    for profile in ["default", "gpu", "strict"] {
        let (log, layer) = under(profile, &["nvidia202"]);
        assert!(log.contains("sees nvidia202") && log.contains("sees nvidiactl"), "{log}");
        assert!(!log.contains("sees nvidia201") && log.contains("numbers=0."), "{log}");
        let words = "nvidia202 (NVIDIA Pretence): /dev/nvidia202 /dev/nvidiactl";
        assert!(layer.starts_with(words), "{layer}");
    }
    let (log, layer) = under("gpu", &[]);
    assert!(!log.contains("sees nvidia") && log.contains("numbers=none."), "{log}");
    assert!(layer.contains("asked for none (--gpus N)"), "{layer}");
    assert!(!under("default", &[]).0.contains("sees nvidia"));

    // CUDA names its threads there, and gives up where it cannot.
    let script = format!("/usr/bin/python3 - << 'END'\n{WRITES_TO_PROC}END");
    let (log, _) = run(&script, "gpu", &["nvidia202"]);
    assert!(log.contains("named: True") && log.contains("open besides: []"), "{log}");
    let (log, _) = run(&script, "gpu", &[]);
    assert!(log.contains("named: False"), "only whom it serves: {log}");

    resident.host.configure(true);
    let (log, _) = under("gpu", &[]);
    assert!(log.contains("sees nvidia201") && log.contains("sees nvidia202"), "{log}");
    assert!(!under("gpu", &["nvidia202"]).0.contains("sees nvidia201"), "it has one for itself");
    drop(nodes);
    resident.host.configure(false);
    assert!(resident.host.capacity().gpus.is_empty(), "a card that went is not given out");
}
