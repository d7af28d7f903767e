//! Whether a failed job is tried again, and when.

use fetchml_api::job::FailureClass;
use fetchml_api::queueing::Queueing;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the site's configuration says about further tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further tries after a failure of each class; none for a class that is not here.
    pub tries: BTreeMap<FailureClass, u32>,
    /// Pause before the first further try.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// What is not the job's doing is tried again. A program that fails, or that needs
    /// more than it may have, would only do so again.
    fn default() -> Self {
        Self {
            tries: BTreeMap::from([(FailureClass::Infrastructure, 3), (FailureClass::Lost, 1)]),
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(3600),
        }
    }
}

impl RetryPolicy {
    /// How many further tries a job has after a failure of this class.
    #[must_use]
    pub fn tries(&self, asked: &Queueing, class: FailureClass) -> u32 {
        if !class.can_be_retried() {
            return 0;
        }
        let site = self.tries.get(&class).copied().unwrap_or(0);
        asked.retry.get(&class).copied().unwrap_or(site)
    }

    /// The pause before the next try after `failures` failures of one class: doubled
    /// each time, and spread by up to half so that jobs that failed together do not
    /// come back together. `random` is anything, evenly spread.
    #[must_use]
    pub fn pause(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let full = self.first_pause.saturating_mul(1 << doublings.min(31));
        let full = full.min(self.longest_pause);
        let half = full / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(random % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_own_failure_is_not_repeated_unless_it_is_asked_for() {
        let policy = RetryPolicy::default();
        let mut asked = Queueing::default();
        assert_eq!(policy.tries(&asked, FailureClass::UserError), 0);
        assert_eq!(policy.tries(&asked, FailureClass::Infrastructure), 3);
        asked.retry.insert(FailureClass::UserError, 2);
        asked.retry.insert(FailureClass::Infrastructure, 0);
        asked.retry.insert(FailureClass::Cancelled, 9);
        assert_eq!(policy.tries(&asked, FailureClass::UserError), 2);
        assert_eq!(policy.tries(&asked, FailureClass::Infrastructure), 0);
        assert_eq!(policy.tries(&asked, FailureClass::Cancelled), 0);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let policy = RetryPolicy {
            first_pause: Duration::from_secs(8),
            longest_pause: Duration::from_secs(20),
            ..RetryPolicy::default()
        };
        let within = |failures: u32, low: u64, high: u64| {
            for random in [0, 1, 7_777_777, u64::MAX] {
                let pause = policy.pause(failures, random);
                assert!(pause >= Duration::from_secs(low), "{failures}: {pause:?}");
                assert!(pause <= Duration::from_secs(high), "{failures}: {pause:?}");
            }
        };
        within(1, 4, 8);
        within(2, 8, 16);
        within(3, 10, 20);
        within(u32::MAX, 10, 20);
        assert_ne!(policy.pause(1, 0), policy.pause(1, 1_000_000));
    }
}
