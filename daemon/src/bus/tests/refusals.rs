//! Requests that must be refused: by name, in words, and with nothing left.

use super::*;
use fetchml_api::audit::NewRecord;
use fetchml_api::job::{ExitReport, FailureClass, JobState};
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};

async fn refused_spec(key: &'static str, value: Variant<'static>) -> (String, String) {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut spec = command(&["true"]);
    spec.insert(key, value);
    let refused = refusal(manager.submit_job(spec, vec![]).await);
    assert!(manager.list_jobs(HashMap::new()).await.expect("list").is_empty(), "{key}");
    refused
}

#[tokio::test]
async fn keys_types_and_ranges_of_a_specification() {
    let long = "x".repeat(129);
    let env = |name: &str| Variant::from(HashMap::from([(name.to_owned(), "1".to_owned())]));
    let cases: Vec<(&str, Variant<'static>, &str)> = vec![
        ("comand", "x".into(), "unknown key \"comand\": did you mean command?"),
        ("zzz", 1u32.into(), "unknown key \"zzz\": this version knows command, env"),
        ("command", "true".into(), "command has the type s: it must be as"),
        ("command", Vec::<String>::new().into(), "command is empty"),
        ("command", vec![String::new()].into(), "command is empty"),
        ("command", vec!["x".repeat(1 << 17)].into(), "argument 0 of command has 131072 bytes"),
        ("name", "".into(), "name has 0 characters"),
        ("name", "a\u{1b}[2J".into(), "leave out the control characters"),
        ("name", long.into(), "name has 129 characters"),
        ("name", "12[3]".into(), "begin it with a letter"),
        ("experiment", "../x".into(), "experiment is \"../x\""),
        ("experiment", ".hidden".into(), "not beginning with a dot"),
        ("network", "host".into(), "network is \"host\": write none or loopback"),
        ("time-limit-usec", 0u64.into(), "time-limit-usec is 0"),
        ("time-limit-usec", 5u32.into(), "time-limit-usec has the type u: it must be t"),
        ("memory-bytes", 4096u64.into(), "memory-bytes (--memory) is 4K: give at least"),
        ("cpus", f64::NAN.into(), "cpus is NaN"),
        ("cpus", (-1.0f64).into(), "cpus is -1"),
        ("cpuset", "3-1".into(), "cpuset: \"3-1\" is no list of CPUs"),
        ("pids", 0u64.into(), "pids is 0"),
        ("disk-bytes", 4096u64.into(), "disk-bytes (--disk) is 4K: give at least 1M"),
        ("log-bytes", 1u64.into(), "log-bytes (--log-limit) is 1: give at least 4K"),
        ("cpu-weight", 0u32.into(), "cpu-weight is 0: give 1 to 10000"),
        ("io-weight", 10_001u32.into(), "io-weight is 10001: give 1 to 10000"),
        ("io-weight", 5u64.into(), "io-weight has the type t: it must be u"),
        ("gpus", 2000u32.into(), "gpus is 2000: give 0 to 1024"),
        ("gpus", (-1i32).into(), "gpus has the type i: it must be u"),
        ("gpu-type", "".into(), "gpu-type is \"\""),
        ("gpu-type", "H100".into(), "gpu-type is given without gpus"),
        ("priority", 1001i32.into(), "priority is 1001: give -1000 to 1000"),
        ("priority", 1u32.into(), "priority has the type u: it must be i"),
        ("hold", "yes".into(), "hold has the type s: it must be b"),
        ("after", vec![1u64].into(), "after has the type at: it must be a(ts)"),
        ("after", vec![(1u64, "fine")].into(), "the condition \"fine\" for job 1: write any"),
        ("after", vec![(1u64, "ok"); 257].into(), "after names 257 jobs"),
        ("retry", HashMap::from([("cancelled", 1u32)]).into(), "retry names \"cancelled\""),
        ("retry", HashMap::from([("oom", 1u32)]).into(), "are infrastructure, user-error"),
        ("retry", HashMap::from([("lost", 101u32)]).into(), "lost 101 further tries: give 0"),
        ("array", "1-3".into(), "array makes many jobs: ask SubmitArray"),
        ("env", env("1X"), "env has the name \"1X\""),
        ("env", env("FETCHML_OUTPUT_DIR"), "set by the supervisor"),
    ];
    for (key, value, words) in cases {
        let (name, message) = refused_spec(key, value).await;
        assert_eq!(name, "InvalidSpec", "{message}");
        assert!(message.contains(words), "{message:?} should say {words:?}");
    }
}

#[tokio::test]
async fn what_a_job_asks_of_the_queue_is_kept() {
    use fetchml_api::job::{FailureClass, JobId};
    use fetchml_api::queueing::{Condition, Dependency};
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let first = submit(&manager, &["sleep"]).await;
    let mut spec = command(&["true"]);
    spec.insert("priority", (-5i32).into());
    spec.insert("hold", true.into());
    spec.insert("after", vec![(first, "ok"), (first, "ok"), (first, "any")].into());
    spec.insert("retry", HashMap::from([("lost", 2u32), ("infrastructure", 0)]).into());
    spec.insert("disk-bytes", (1u64 << 30).into());
    spec.insert("log-bytes", (1u64 << 20).into());
    spec.insert("cpuset", "8,0-2,3".into());
    spec.insert("cpu-weight", 50u32.into());
    spec.insert("io-weight", 200u32.into());
    let (id, _) = manager.submit_job(spec, vec![]).await.expect("accepted");
    let spec = described(&manager.describe_job(id).await.expect("there")).spec;
    assert_eq!((spec.queueing.priority, spec.queueing.held), (-5, true));
    let on = |condition| Dependency { job: JobId(first), condition };
    assert_eq!(spec.queueing.after, [on(Condition::Ok), on(Condition::Any)]);
    let retry: Vec<_> = spec.queueing.retry.into_iter().collect();
    assert_eq!(retry, [(FailureClass::Infrastructure, 0), (FailureClass::Lost, 2)]);
    assert_eq!((spec.limits.disk_bytes, spec.limits.log_bytes), (Some(1 << 30), Some(1 << 20)));
    assert_eq!(spec.limits.cpuset.expect("given").to_string(), "0-3,8");
    assert_eq!((spec.limits.cpu_weight, spec.limits.io_weight), (Some(50), Some(200)));
}

#[tokio::test]
async fn only_some_go_before_others() {
    let world = World::new(1).await;
    let member = world.manager(1000).await;
    let spec = || {
        let mut spec = command(&["sleep"]);
        spec.insert("priority", 1i32.into());
        spec
    };
    let (name, words) = refusal(member.submit_job(spec(), vec![]).await);
    assert_eq!(name, "PolicyDenied");
    assert!(words.contains("priority 1 is above 0"), "{words}");
    assert_eq!(world.count(Event::PolicyDenied), 1);
    world.manager(0).await.submit_job(spec(), vec![]).await.expect("root may");
}

#[tokio::test]
async fn an_unknown_profile_is_refused_and_recorded() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut spec = command(&["true"]);
    spec.insert("profile", "defualt".into());
    let (name, message) = refusal(manager.submit_job(spec, vec![]).await);
    assert_eq!(name, "NoSuchProfile");
    assert!(message.contains("default"), "{message}");
    assert_eq!(world.count(Event::PolicyDenied), 1);
}

#[tokio::test]
async fn what_the_machine_cannot_hold_is_refused_and_recorded() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let (name, message) = refusal(manager.submit_job(command(&["impossible"]), vec![]).await);
    assert_eq!((name.as_str(), message.as_str()), ("BarrierUnavailable", "this machine cannot"));
    assert_eq!(world.count(Event::PolicyDenied), 1);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let words: Vec<String> = (0..12).map(|_| "x".repeat(100_000)).collect();
    let spec = HashMap::from([("command", Variant::from(words))]);
    let (name, message) = refusal(manager.submit_job(spec, vec![]).await);
    assert_eq!(name, "InvalidSpec");
    assert!(message.contains("the most is 1048576"), "{message}");
}

#[tokio::test]
async fn mounts_with_bad_places_modes_and_descriptors() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let dir = std::fs::File::open(world.dir.path()).expect("directory");
    let file = std::fs::File::open("/dev/null").expect("file");
    let path_only: std::fs::File = rustix::fs::open(
        world.dir.path(),
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .expect("directory")
    .into();
    type Given<'a> = Vec<(&'a str, &'a str, &'a std::fs::File)>;
    let deep = "/a".repeat(33);
    let cases: Vec<(Given<'_>, &str)> = vec![
        (vec![("data", "ro", &dir)], "is not absolute"),
        (vec![("/data/../etc", "ro", &dir)], "is not a plain path"),
        (vec![("/data/", "ro", &dir)], "is not a plain path"),
        (vec![("/", "ro", &dir)], "is not a plain path"),
        (vec![(deep.as_str(), "ro", &dir)], "has more than 32 parts"),
        (vec![("/etc/x", "ro", &dir)], "is in /etc"),
        (vec![("/usr", "rw", &dir)], "is in /usr"),
        (vec![("/proc/1", "ro", &dir)], "is in /proc"),
        (vec![("/data", "rx", &dir)], "has the mode \"rx\""),
        (vec![("/data", "project", &dir)], "that is at /work"),
        (vec![("/work", "ro", &dir)], "is the place of the project"),
        (vec![("/data", "ro", &dir), ("/data", "ro", &dir)], "is given twice"),
        (vec![("/data", "ro", &dir), ("/data/x", "rw", &dir)], "inside each other"),
        (vec![("/data/x", "ro", &dir), ("/data", "rw", &dir)], "inside each other"),
        (vec![("/data", "ro", &file)], "is no directory"),
        (vec![("/data", "ro", &path_only)], "opened with O_PATH"),
    ];
    for (mounts, words) in cases {
        let mounts: Vec<_> =
            mounts.iter().map(|(target, mode, file)| (*target, *mode, "x", as_fd(file))).collect();
        let (name, message) = refusal(manager.submit_job(command(&["true"]), mounts).await);
        assert_eq!(name, "InvalidSpec", "{message}");
        assert!(message.contains(words), "{message:?} should say {words:?}");
    }
    let mounts = vec![
        ("/work", "project", "/home/a\n/p", as_fd(&dir)),
        ("/work/data", "ro", "d", as_fd(&dir)),
        ("/usrlocal", "rw", "u", as_fd(&dir)),
    ];
    let (id, _) = manager.submit_job(command(&["true"]), mounts).await.expect("accepted");
    let job = described(&manager.wait_job(id).await.expect("over"));
    assert_eq!(job.spec.mounts[0].label, "/home/a?/p");
}

#[tokio::test]
async fn unknown_keys_of_a_filter_are_refused() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let listed = manager.list_jobs(HashMap::from([("sate", Variant::from("queued"))])).await;
    assert!(refusal(listed).1.contains("did you mean state?"));
    let listed = manager.list_jobs(HashMap::from([("state", Variant::from("done"))])).await;
    assert!(refusal(listed).1.contains("it must be one of queued, starting"));
}

#[tokio::test]
async fn a_user_has_a_limit_of_waiting_jobs() {
    let world = World::new(1).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.jobs.max_queued_per_user = 2;
    world.desk.engine.set_settings(settings);
    let manager = world.manager(1000).await;
    for _ in 0..3 {
        submit(&manager, &["sleep"]).await;
    }
    let (name, message) = refusal(manager.submit_job(command(&["sleep"]), vec![]).await);
    assert_eq!(name, "PolicyDenied");
    assert!(message.contains("you have 2 jobs waiting"), "{message}");
    submit(&world.manager(0).await, &["sleep"]).await;
}

#[tokio::test]
async fn jobs_that_come_at_once_do_not_share_the_last_place() {
    let world = World::new(1).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.jobs.max_queued_per_user = 2;
    world.desk.engine.set_settings(settings);
    let manager = world.manager(1000).await;
    // It takes the machine.
    submit(&manager, &["sleep"]).await;
    let at_once = (0..20).map(|_| manager.submit_job(command(&["sleep"]), vec![]));
    let answers = futures_util::future::join_all(at_once).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    // What was refused takes no room.
    manager.cancel_job(2).await.expect("it waits");
    submit(&manager, &["sleep"]).await;
}

/// A log that stops taking records.
#[derive(Debug)]
struct Failing {
    log: Arc<Audit>,
    broken: AtomicBool,
    /// Whether `state` knows, or only the next record will show it.
    known: bool,
}

impl Ledger for Failing {
    fn state(&self) -> Result<(), String> {
        match self.known && self.broken.load(Ordering::Relaxed) {
            true => Err("no space left on device".to_owned()),
            false => Ok(()),
        }
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<(), String>> {
        if self.broken.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err("no space left on device".to_owned())));
        }
        Ledger::append(self.log.as_ref(), record)
    }

    fn head(&self) -> (u64, String) {
        Ledger::head(self.log.as_ref())
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, String>> {
        Ledger::checkpoint(self.log.as_ref())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), String>> {
        Ledger::close(self.log.as_ref())
    }

    fn prune(&self, keep: Duration) -> BoxFuture<'_, Result<usize, String>> {
        Ledger::prune(self.log.as_ref(), keep)
    }

    fn keys(&self) -> Result<Vec<String>, String> {
        Ledger::keys(self.log.as_ref())
    }

    fn open_files(&self, after: &str) -> Result<Vec<(String, OwnedFd)>, String> {
        Ledger::open_files(self.log.as_ref(), after)
    }

    fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, String> {
        Ledger::open_segments(self.log.as_ref())
    }
}

/// A world with so many slots whose log can be broken.
async fn with_failing_log(slots: usize, known: bool) -> (World, Arc<Failing>) {
    let dir = Arc::new(tempfile::tempdir().expect("temporary directory"));
    let log = open_audit(dir.path());
    let ledger = Arc::new(Failing { log, broken: AtomicBool::new(false), known });
    (World::with(dir, slots, Simulator::default(), ledger.clone()).await, ledger)
}

#[tokio::test]
async fn while_nothing_can_be_recorded_what_waits_goes_on_waiting() {
    let (world, ledger) = with_failing_log(1, true).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["sleep"]).await;
    let waiting = submit(&manager, &["true"]).await;
    let running_id = fetchml_api::job::JobId(running);
    until("it runs", || world.simulator.started() == [running_id]).await;
    ledger.broken.store(true, Ordering::Relaxed);
    // It gives its place back before its end can be recorded.
    world.simulator.finish(running_id, crate::engine::simulator::exited(0));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let job = described(&manager.describe_job(waiting).await.expect("there"));
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0));
    ledger.broken.store(false, Ordering::Relaxed);
    let job = described(&manager.wait_job(waiting).await.expect("over"));
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
}

#[tokio::test]
async fn a_cancellation_that_meets_the_end_of_a_failed_try_is_the_last_word() {
    let (world, ledger) = with_failing_log(1, false).await;
    let manager = world.manager(1000).await;
    let job = submit(&manager, &["sleep"]).await;
    let id = fetchml_api::job::JobId(job);
    until("it runs", || world.simulator.started() == [id]).await;
    // Its end is known and cannot be recorded: it is about to be tried again.
    ledger.broken.store(true, Ordering::Relaxed);
    let failure = Some(FailureClass::Infrastructure);
    world.simulator.finish(id, ExitReport { failure, ..crate::engine::simulator::exited(1) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    manager.cancel_job(job).await.expect("cancelled");
    ledger.broken.store(false, Ordering::Relaxed);
    let job = described(&manager.wait_job(job).await.expect("over"));
    assert_eq!((job.state, job.attempt), (JobState::Cancelled, 1));
    assert_eq!(world.simulator.started(), [id]);
}

#[tokio::test]
async fn without_audit_no_new_work_is_taken_and_running_work_waits_to_be_reported() {
    for known in [true, false] {
        let (world, ledger) = with_failing_log(2, known).await;
        let manager = world.manager(1000).await;
        let running = submit(&manager, &["sleep"]).await;
        let running_id = fetchml_api::job::JobId(running);
        until("it runs", || world.simulator.started() == [running_id]).await;

        ledger.broken.store(true, Ordering::Relaxed);
        let (name, message) = refusal(manager.submit_job(command(&["true"]), vec![]).await);
        assert_eq!(name, "AuditUnavailable");
        assert!(message.contains("no space left"), "{message}");
        let listed = manager.list_jobs(HashMap::new()).await.expect("list");
        assert_eq!(listed.len(), 1, "a refused job was kept");

        world.simulator.finish(running_id, crate::engine::simulator::exited(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let job = described(&manager.describe_job(running).await.expect("there"));
        assert!(!job.state.is_final(), "an end was reported that is not recorded");
        ledger.broken.store(false, Ordering::Relaxed);
        let job = described(&manager.wait_job(running).await.expect("over"));
        assert!(job.state.is_final());
        assert_eq!(world.count(Event::JobCompleted), 1);
    }
}

#[tokio::test]
async fn secrets_are_refused_by_key_and_rule_and_never_repeated() {
    let world = World::new(2).await;
    let manager = world.manager(1000).await;
    let token = format!("hf_{}", "Qz7kP4w".repeat(5));
    let option = format!("--api-key={}", "Zx81kk2Qpw");
    let program = format!("import os\nos.environ[\"API_KEY\"] = \"{token}\"");
    let cases: [(&[&str], &str, &str); 5] = [
        (&["train", &token], "argument 1 of command", "huggingface-token"),
        (&["train", &option], "argument 1 of command", "named-secret"),
        (&["train", "--password", "hunter2"], "argument 2 of command", "named-secret"),
        (&["python3", "-c", &program], "argument 2 of command", "huggingface-token"),
        (&["curl", "https://bob:hunter2@host/x"], "argument 1 of command", "url-password"),
    ];
    for (words, place, rule) in cases {
        let (name, message) = refusal(manager.submit_job(command(words), vec![]).await);
        assert_eq!(name, "InvalidSpec");
        assert!(message.contains(place) && message.contains(rule), "{message}");
        assert!(
            !message.contains("Qz7") && !message.contains("Zx81") && !message.contains("hunter2"),
            "{message}"
        );
    }
    let mut spec = command(&["train"]);
    let env = HashMap::from([("DB_PASSWORD".to_owned(), "hunter2".to_owned())]);
    spec.insert("env", Variant::from(env));
    let (_, message) = refusal(manager.submit_job(spec, vec![]).await);
    assert!(message.contains("env DB_PASSWORD holds a secret (named-secret)"), "{message}");
    for harmless in [
        &[
            "train",
            "--max-tokens",
            "512",
            "--password-file",
            "/run/pw",
            "--model",
            "Qwen/Qwen2.5-7B",
        ][..],
        &["sh", "-c", "echo token $HF_TOKEN; python3 -c 'pad_token=1'"],
    ] {
        manager.submit_job(command(harmless), vec![]).await.expect("harmless");
    }
}
