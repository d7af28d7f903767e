//! The supervisor of a private directory, killed while its jobs go on.

use super::check::check;
use super::{Lot, Outcome, Served, with_clients};
use crate::Output;
use crate::private::{Private, processes_with};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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

impl Served for Private {
    fn ctl(&self, words: &[&str]) -> Output {
        Self::ctl(self, words)
    }

    fn verify(&self) -> Output {
        Self::ctl(self, ["audit", "verify"])
    }

    fn is_there(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let jobs = fs::read_dir(self.dir().join("state/users/0/default"));
        let counted = jobs.into_iter().flatten().flatten().filter_map(|job| {
            let count = fs::read_to_string(job.path().join("outputs/count")).ok()?;
            Some((job.file_name().into_string().ok()?, count.lines().count()))
        });
        counted.collect()
    }

    fn loses_jobs(&self) -> bool {
        false
    }

    fn longest_pause(&self) -> Duration {
        Duration::from_millis(150)
    }
}

impl Campaign {
    /// Runs it against a supervisor of its own.
    ///
    /// # Panics
    /// When the supervisor does not start any more, or a client cannot be executed.
    #[must_use]
    pub fn run(&self, private: &Private) -> Outcome {
        let mut outcome = Outcome::default();
        let answers = with_clients(private, self.seed, || self.kill(private, &mut outcome));
        if private.supervisor().is_none() {
            drop(start(private));
        }
        assert!(listens(private, None), "no supervisor answers after the last kill");
        check(private, &answers, &mut outcome);
        outcome
    }

    fn kill(&self, private: &Private, outcome: &mut Outcome) {
        let mut lot = Lot::new(self.seed);
        let mut restarts = Vec::new();
        for _ in 0..self.kills {
            let begun = Instant::now();
            let mut child = start(private);
            // One of four is killed at a moment of its start.
            if lot.below(4) == 0 {
                thread::sleep(Duration::from_millis(lot.below(60)));
                outcome.early += 1;
            } else {
                assert!(listens(private, Some(&mut child)), "the supervisor does not start");
                restarts.push(begun.elapsed());
                thread::sleep(Duration::from_millis(lot.below(200)));
            }
            let _ = child.kill();
            let _ = child.wait();
            // A client may have started one while there was none.
            for other in private.supervisors() {
                let _ = kill_process(other, Signal::KILL);
            }
        }
        outcome.restarted(restarts);
    }
}

/// Starts a supervisor as a client would, and does not wait for it.
///
/// # Panics
/// When it cannot be executed.
#[must_use]
pub fn start(private: &Private) -> Child {
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
pub fn listens(private: &Private, child: Option<&mut Child>) -> bool {
    let end = Instant::now() + PATIENCE;
    let mut child = child;
    while Instant::now() < end {
        if private.is_there() {
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
