//! What users have used of late. Use counts less the longer ago it was, so that
//! who waited catches up with who did not, and nobody pays for last year.

use super::{MilliCpus, Needs};
use std::collections::HashMap;

/// An accelerator weighs as much as this many processors.
const GPU_WEIGHT: MilliCpus = 16_000;
/// A job that asks for less than a processor still takes a slot.
const SLOT_WEIGHT: MilliCpus = 1_000;
/// What a running job counts for before it has used anything, in seconds: jobs that
/// are started in one go are spread over users by this.
const HEAD_START_SECONDS: f64 = 60.0;

/// Use of one user, as of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Processor-seconds, or their equivalent in accelerators.
    pub used: f64,
    /// Accelerator-seconds.
    pub gpu_seconds: f64,
    /// When that was so, microseconds since the epoch.
    pub at_usec: u64,
}

impl Share {
    /// What is left of it at a later time.
    #[must_use]
    pub fn at(self, now_usec: u64, half_life_usec: u64) -> Self {
        let age = seconds(now_usec.saturating_sub(self.at_usec));
        let left = 0.5_f64.powf(age / seconds(half_life_usec.max(1)));
        Self {
            used: self.used * left,
            gpu_seconds: self.gpu_seconds * left,
            at_usec: now_usec.max(self.at_usec),
        }
    }

    /// The same with a job that ran this long.
    pub(super) fn with(mut self, needs: &Needs, ran_usec: u64) -> Self {
        self.used += processors(weight(needs)) * seconds(ran_usec);
        self.gpu_seconds += f64::from(needs.gpus) * seconds(ran_usec);
        self
    }
}

/// The shares of all users.
#[derive(Debug, Default)]
pub(super) struct Shares {
    users: HashMap<u32, Share>,
    /// Weight of what each user runs now.
    running: HashMap<u32, MilliCpus>,
}

impl Shares {
    pub(super) fn set(&mut self, uid: u32, share: Share) {
        self.users.insert(uid, share);
    }

    pub(super) fn started(&mut self, uid: u32, needs: &Needs) {
        *self.running.entry(uid).or_default() += weight(needs);
    }

    /// A job does not run any more; `share` is its user's with it.
    pub(super) fn ended(&mut self, uid: u32, needs: &Needs, share: Share) {
        if let Some(running) = self.running.get_mut(&uid) {
            *running = running.saturating_sub(weight(needs));
            if *running == 0 {
                self.running.remove(&uid);
            }
        }
        self.users.insert(uid, share);
    }

    pub(super) fn of(&self, uid: u32, now_usec: u64, half_life_usec: u64) -> Share {
        self.users.get(&uid).map_or(Share { at_usec: now_usec, ..Share::default() }, |share| {
            share.at(now_usec, half_life_usec)
        })
    }

    /// By which users come one after the other: less goes first.
    pub(super) fn rank(&self, uid: u32, now_usec: u64, half_life_usec: u64) -> f64 {
        let running = self.running.get(&uid).copied().unwrap_or(0);
        self.of(uid, now_usec, half_life_usec).used + head_start(running)
    }
}

/// What a started job adds to the rank of its user.
pub(super) fn rank_of_start(needs: &Needs) -> f64 {
    head_start(weight(needs))
}

fn head_start(weight: MilliCpus) -> f64 {
    processors(weight) * HEAD_START_SECONDS
}

fn weight(needs: &Needs) -> MilliCpus {
    needs.milli_cpus.max(SLOT_WEIGHT) + u64::from(needs.gpus) * GPU_WEIGHT
}

/// Exact up to 2^53, which is above anything that one machine has.
#[allow(clippy::cast_precision_loss)]
fn processors(milli: MilliCpus) -> f64 {
    milli as f64 / 1000.0
}

#[allow(clippy::cast_precision_loss)]
fn seconds(usec: u64) -> f64 {
    usec as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    #[test]
    fn half_of_it_is_left_after_the_half_life() {
        let share = Share { used: 8.0, gpu_seconds: 2.0, at_usec: 5 };
        let later = share.at(5 + HOUR, HOUR);
        assert!((later.used - 4.0).abs() < 1e-9 && (later.gpu_seconds - 1.0).abs() < 1e-9);
        assert_eq!(share.at(0, HOUR).used.to_bits(), 8.0_f64.to_bits(), "a clock that went back");
    }

    #[test]
    fn an_accelerator_weighs_more_than_a_processor() {
        let gpu = Needs { gpus: 1, ..Needs::default() };
        let one = Share::default().with(&gpu, HOUR);
        let other = Share::default().with(&Needs::default(), HOUR);
        assert!(one.used > 10.0 * other.used);
        assert!((one.gpu_seconds - 3600.0).abs() < 1e-6);
    }
}
