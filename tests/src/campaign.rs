//! A supervisor that is killed again and again while clients submit, cancel and
//! finish jobs; then every job that a client was told of is held to account.

use crate::private::{Private, processes_with};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 3;
/// A supervisor that does not listen by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much and from which seed.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// How often the supervisor is killed.
    pub kills: u64,
    /// Of all that is drawn by lot.
    pub seed: u64,
}

/// What came out of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Jobs that a client was told of.
    pub told: usize,
    /// Jobs in the store whose client was told nothing.
    pub untold: usize,
    /// Jobs that were cancelled.
    pub cancelled: usize,
    /// Kills before the supervisor listened.
    pub early_kills: u64,
    /// From the start of a supervisor until it listens, the median and the longest.
    pub restart: (Duration, Duration),
    /// What is not as it should be, one sentence each.
    pub wrong: Vec<String>,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Exits at once with this status.
    Quick(u8),
    /// Works for a while first.
    Slow(u8),
    /// Would run for ever, and is cancelled.
    Endless,
}

#[derive(Debug)]
struct Told {
    id: String,
    tag: String,
    kind: Kind,
}

/// A sequence that the seed determines (splitmix64).
#[derive(Debug)]
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

impl Campaign {
    /// Runs it against a supervisor of its own.
    ///
    /// # Panics
    /// When the supervisor does not start any more, or a client cannot be executed.
    #[must_use]
    pub fn run(&self, private: &Private) -> Outcome {
        let over = AtomicBool::new(false);
        let told = Mutex::new(Vec::new());
        let number = AtomicU64::new(0);
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (over, told, number) = (&over, &told, &number);
                let lot = Lot(self.seed.wrapping_add(client + 1));
                scope.spawn(move || submit(private, lot, over, number, told));
            }
            self.kill(private, &mut outcome);
            over.store(true, Ordering::Relaxed);
        });
        if private.supervisor().is_none() {
            drop(start(private));
        }
        assert!(listens(private, None), "no supervisor answers after the last kill");
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.told = told.len();
        check(private, &told, &mut outcome);
        outcome
    }

    fn kill(&self, private: &Private, outcome: &mut Outcome) {
        let mut lot = Lot(self.seed);
        let mut restarts = Vec::new();
        for _ in 0..self.kills {
            let begun = Instant::now();
            let mut child = start(private);
            // One of four is killed at a moment of its start.
            if lot.below(4) == 0 {
                thread::sleep(Duration::from_millis(lot.below(60)));
                outcome.early_kills += 1;
            } else {
                assert!(listens(private, Some(&mut child)), "the supervisor does not start");
                restarts.push(begun.elapsed());
                thread::sleep(Duration::from_millis(lot.below(200)));
            }
            let _ = child.kill();
            let _ = child.wait();
            // A client may have started one while there was none.
            for other in processes_with(&format!("--private\0{}\0", private.dir().display())) {
                let _ = kill_process(other, Signal::KILL);
            }
        }
        restarts.sort();
        let median = restarts.get(restarts.len() / 2).copied().unwrap_or_default();
        outcome.restart = (median, restarts.last().copied().unwrap_or_default());
    }
}

/// Starts a supervisor as a client would, and does not wait for it.
///
/// # Panics
/// When it cannot be executed.
#[must_use]
pub fn start(private: &Private) -> std::process::Child {
    let run = private.dir().join("run");
    fs::create_dir_all(&run).expect("the directory can be made");
    let log = OpenOptions::new().create(true).append(true).open(run.join("fetchmld.log"));
    let log: File = log.expect("the log can be written");
    Command::new(crate::target().join("release/fetchmld"))
        .arg("--private")
        .arg(private.dir())
        .env("FETCHML_AGENT", private.agent())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("fetchmld can be executed")
}

/// Waits until somebody listens at the socket.
#[must_use]
pub fn listens(private: &Private, child: Option<&mut std::process::Child>) -> bool {
    let end = Instant::now() + PATIENCE;
    let mut child = child;
    while Instant::now() < end {
        if UnixStream::connect(private.socket()).is_ok() {
            return true;
        }
        let ended = child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|s| s.is_some()));
        if ended && private.supervisor().is_none() {
            // It gave way to one that was killed meanwhile.
            if let Some(child) = child.as_mut() {
                **child = start(private);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// One client after the other, until the campaign is over.
fn submit(
    private: &Private,
    mut lot: Lot,
    over: &AtomicBool,
    number: &AtomicU64,
    told: &Mutex<Vec<Told>>,
) {
    while !over.load(Ordering::Relaxed) {
        if UnixStream::connect(private.socket()).is_err() {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let status = u8::try_from(lot.below(100)).unwrap_or(0);
        let kind = match lot.below(10) {
            0 => Kind::Endless,
            1..4 => Kind::Slow(status),
            _ => Kind::Quick(status),
        };
        let tag = format!("tag{}", number.fetch_add(1, Ordering::Relaxed));
        let script = script(&tag, kind);
        let output = private.ctl(["submit", "--quiet", "--name", &tag, "--", "sh", "-c", &script]);
        let id = output.stdout.trim().to_owned();
        if output.status != 0 || id.is_empty() {
            continue;
        }
        if kind == Kind::Endless {
            thread::sleep(Duration::from_millis(lot.below(100)));
            private.ctl(["cancel", &id]);
        }
        told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { id, tag, kind });
        thread::sleep(Duration::from_millis(lot.below(150)));
    }
}

fn script(tag: &str, kind: Kind) -> String {
    let begin = format!("echo {tag} >> /outputs/count; echo begin {tag}");
    match kind {
        Kind::Quick(status) => format!("{begin}; echo end {tag}; exit {status}"),
        Kind::Slow(status) => format!("{begin}; sleep 0.3; echo end {tag}; exit {status}"),
        Kind::Endless => format!("{begin}; exec sleep 100000"),
    }
}

/// Nothing is killed any more: every job ends, and says the truth.
fn check(private: &Private, told: &[Told], outcome: &mut Outcome) {
    let mut wrong = Vec::new();
    for job in told.iter().filter(|job| job.kind == Kind::Endless) {
        // A cancellation that nobody confirmed may have been lost with the supervisor.
        private.ctl(["cancel", &job.id]);
    }
    for job in told {
        match check_job(private, job) {
            Ok(()) => outcome.cancelled += usize::from(job.kind == Kind::Endless),
            Err(why) => wrong.push(format!("job {} ({}): {why}", job.id, job.tag)),
        }
    }
    check_untold(private, told, outcome, &mut wrong);
    let verified = private.ctl(["audit", "verify"]);
    if verified.status != 0 {
        wrong.push(format!("the audit log: {verified}"));
    }
    outcome.wrong = wrong;
}

fn check_job(private: &Private, job: &Told) -> Result<(), String> {
    let waited = private.ctl(["wait", &job.id]);
    let description = description(private, &job.id)?;
    let state = description["state"].as_str().unwrap_or_default().to_owned();
    let attempt = description["attempt"].as_u64().unwrap_or(0);
    let reason = description["reason"].as_str().unwrap_or_default().to_owned();
    let runs = runs(private, &job.id);
    let about = format!("{state} in attempt {attempt}, ran {runs} times: {reason}");
    let (status, wanted_state) = match job.kind {
        Kind::Quick(0) | Kind::Slow(0) => (Some(0), "succeeded"),
        Kind::Quick(status) | Kind::Slow(status) => (Some(i32::from(status)), "failed"),
        Kind::Endless => (None, "cancelled"),
    };
    if state != wanted_state || status.is_some_and(|status| status != waited.status) {
        return Err(format!("should be {wanted_state} with {status:?}, is {about}"));
    }
    if runs > 1 || status.is_some() && runs != 1 || attempt > 1 {
        return Err(format!("did not run exactly once: {about}"));
    }
    let Some(_) = status else { return Ok(()) };
    let log = private.ctl(["logs", &job.id]).stdout;
    let expected = format!("begin {0}\nend {0}\n", job.tag);
    if log == expected { Ok(()) } else { Err(format!("its log is {log:?}; {about}")) }
}

fn description(private: &Private, id: &str) -> Result<serde_json::Value, String> {
    let output = private.ctl(["--json", "status", id]);
    let value: serde_json::Value = serde_json::from_str(&output.stdout)
        .map_err(|e| format!("has no status: {e}: {output}"))?;
    Ok(if value.is_array() { value[0].clone() } else { value })
}

/// How often the command began: it says so in a file of its own.
fn runs(private: &Private, id: &str) -> usize {
    let users = private.dir().join("state/users/0/default");
    let count = fs::read_to_string(users.join(id).join("outputs/count"));
    count.map_or(0, |text| text.lines().count())
}

/// Jobs that were accepted while their client heard nothing of it are jobs as well.
fn check_untold(private: &Private, told: &[Told], outcome: &mut Outcome, wrong: &mut Vec<String>) {
    let listed = private.ctl(["--json", "list", "--limit", "1000000"]);
    let jobs: Vec<serde_json::Value> = match serde_json::from_str(&listed.stdout) {
        Ok(jobs) => jobs,
        Err(error) => {
            wrong.push(format!("the list of jobs cannot be read: {error}: {listed}"));
            return;
        }
    };
    let told: BTreeMap<_, _> = told.iter().map(|job| (job.id.as_str(), job)).collect();
    for job in jobs {
        let id = job["id"].to_string();
        if told.contains_key(id.as_str()) {
            continue;
        }
        outcome.untold += 1;
        let words = job["spec"]["command"].to_string();
        if words.contains("sleep 100000") {
            private.ctl(["cancel", &id]);
        }
        private.ctl(["wait", &id]);
        let runs = runs(private, &id);
        if runs > 1 {
            wrong.push(format!("job {id}, of which no client was told, ran {runs} times"));
        }
    }
}

/// What is left of a supervisor that was asked to end: nothing.
#[must_use]
pub fn leftovers(private: &Private) -> Vec<String> {
    let place = private.dir().display().to_string();
    let end = Instant::now() + PATIENCE;
    while let Some(pid) = private.supervisor().filter(|_| Instant::now() < end) {
        let _ = kill_process(pid, Signal::TERM);
        thread::sleep(Duration::from_millis(20));
    }
    let mut left: Vec<String> = processes_with(&place)
        .into_iter()
        .chain(processes_with("sleep\u{0}100000"))
        .map(|pid| format!("process {}", pid.as_raw_nonzero()))
        .collect();
    let sockets = fs::read_dir(private.dir().join("run/jobs")).into_iter().flatten().flatten();
    left.extend(sockets.map(|entry| entry.path().display().to_string()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(mounts.lines().filter(|line| line.contains(&place)).map(str::to_owned));
    left
}
