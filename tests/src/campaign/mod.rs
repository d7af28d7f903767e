//! A supervisor, or the whole machine below it, that goes away again and again while
//! clients submit, cancel and finish jobs; then every job that a client was told of is
//! held to account.
//!
//! [`kills`] kills the supervisor of this machine, [`resets`] cuts the power of one that
//! is emulated. Clients and checks are the same.

mod check;
pub mod kills;
pub mod resets;

pub use kills::{Campaign, leftovers, listens, start};
pub use resets::Resets;

use crate::Output;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 3;

/// What came out of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Jobs that a client was told of.
    pub told: usize,
    /// Jobs in the store whose client was told nothing.
    pub untold: usize,
    /// Jobs that were cancelled.
    pub cancelled: usize,
    /// Jobs that were tried again, as their policy says.
    pub tried_again: usize,
    /// Jobs that were given up as lost, as their policy says.
    pub given_up: usize,
    /// It went away before it was up.
    pub early: u64,
    /// From the start until it is up, the median and the longest.
    pub restart: (Duration, Duration),
    /// What is not as it should be, one sentence each.
    pub wrong: Vec<String>,
}

impl Outcome {
    fn restarted(&mut self, mut times: Vec<Duration>) {
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        self.restart = (median, times.last().copied().unwrap_or_default());
    }
}

/// What clients see of the supervisor.
trait Served: Sync {
    /// Runs `fetchmlctl` to its end, or until there is nobody any more to run it.
    fn ctl(&self, words: &[&str]) -> Output;

    /// Verifies the audit log as somebody who may.
    fn verify(&self) -> Output;

    /// Whether it is worth asking.
    fn is_there(&self) -> bool;

    /// How many lines each job has in its `/outputs/count`.
    fn counts(&self) -> BTreeMap<String, usize>;

    /// Whether jobs end with what goes away.
    fn loses_jobs(&self) -> bool;

    /// The longest pause of a client between two jobs.
    fn longest_pause(&self) -> Duration;
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

/// A job whose number a client was told.
#[derive(Debug)]
struct Told {
    id: String,
    tag: String,
    kind: Kind,
    /// Further tries after it was lost.
    tries: u64,
    /// Its end was asked for, and the client was told that it will come.
    cancelled: bool,
}

/// What clients heard.
#[derive(Debug, Default)]
struct Answers {
    told: Vec<Told>,
    /// The last answer to a submission that was not accepted.
    refused: Option<Output>,
}

/// A sequence that the seed determines (splitmix64).
#[derive(Debug)]
pub struct Lot(u64);

impl Lot {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of it, below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// A time of up to that long.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Lets clients work while `disturb` does what it does, and gives what they heard.
fn with_clients(served: &impl Served, seed: u64, disturb: impl FnOnce()) -> Answers {
    let over = AtomicBool::new(false);
    let answers = Mutex::new(Answers::default());
    let number = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (over, answers, number) = (&over, &answers, &number);
            let lot = Lot::new(seed.wrapping_add(client + 1));
            scope.spawn(move || submit(served, lot, over, number, answers));
        }
        disturb();
        over.store(true, Ordering::Relaxed);
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One job after the other, until the campaign is over.
fn submit(
    served: &impl Served,
    mut lot: Lot,
    over: &AtomicBool,
    number: &AtomicU64,
    answers: &Mutex<Answers>,
) {
    while !over.load(Ordering::Relaxed) {
        if !served.is_there() {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let status = u8::try_from(lot.below(100)).unwrap_or(0);
        let kind = match lot.below(10) {
            0 => Kind::Endless,
            1..4 => Kind::Slow(status),
            _ => Kind::Quick(status),
        };
        // The site's policy has one further try.
        let (tries, retry): (u64, &[&str]) = match lot.below(4) {
            0 => (0, &["--retry", "lost=0"]),
            1 => (3, &["--retry", "lost=3"]),
            _ => (1, &[]),
        };
        let tag = format!("tag{}", number.fetch_add(1, Ordering::Relaxed));
        let script = script(&tag, kind);
        let mut words = vec!["submit", "--quiet", "--name", &tag];
        words.extend(retry);
        words.extend(["--", "sh", "-c", &script]);
        let output = served.ctl(&words);
        let id = output.stdout.trim().to_owned();
        if output.status != 0 || id.is_empty() {
            locked(answers).refused = Some(output);
            continue;
        }
        let cancelled = kind == Kind::Endless && {
            thread::sleep(Duration::from_millis(lot.below(100)));
            served.ctl(&["cancel", &id]).status == 0
        };
        let job = Told { id, tag, kind, tries, cancelled };
        locked(answers).told.push(job);
        thread::sleep(lot.up_to(served.longest_pause()));
    }
}

fn locked(answers: &Mutex<Answers>) -> std::sync::MutexGuard<'_, Answers> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run counts itself, durably, before it does anything else.
fn script(tag: &str, kind: Kind) -> String {
    let begin = format!("echo {tag} >> /outputs/count; sync /outputs/count; echo begin {tag}");
    match kind {
        Kind::Quick(status) => format!("{begin}; echo end {tag}; exit {status}"),
        Kind::Slow(status) => format!("{begin}; sleep 0.3; echo end {tag}; exit {status}"),
        Kind::Endless => format!("{begin}; exec sleep 100000"),
    }
}
