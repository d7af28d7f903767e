//! How many refusals of one user are worth a record each.

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Refusals of a user that are recorded at once, before the rate counts.
const BURST: NonZeroU32 = NonZeroU32::new(30).expect("30 is not zero");
/// Records a minute after that.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// A rate for each user, and what was left out because of it.
#[derive(Debug)]
pub(super) struct Denials {
    limiter: RateLimiter<u32, HashMapStateStore<u32>, DefaultClock>,
    suppressed: Mutex<HashMap<u32, u64>>,
}

impl Default for Denials {
    fn default() -> Self {
        Self {
            limiter: RateLimiter::hashmap(Quota::per_minute(A_MINUTE).allow_burst(BURST)),
            suppressed: Mutex::default(),
        }
    }
}

impl Denials {
    /// Whether this refusal is to be recorded, and how many before it were not.
    pub(super) fn admit(&self, uid: u32) -> Option<u64> {
        let mut suppressed = self.suppressed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.limiter.check_key(&uid).is_ok() {
            return Some(suppressed.remove(&uid).unwrap_or(0));
        }
        *suppressed.entry(uid).or_default() += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_user_is_few_records_and_no_other_users_matter() {
        let denials = Denials::default();
        let recorded = (0..1000).filter(|_| denials.admit(1).is_some()).count();
        assert!((30..40).contains(&recorded), "{recorded}");
        assert_eq!(denials.admit(2), Some(0));
    }
}
