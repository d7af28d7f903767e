//! Who is let in: limits on connections, and one record of those turned away.

use crate::access::Caller;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One record of refusals to the same user in this time; the rest is counted.
const RECORD_EVERY: Duration = Duration::from_secs(60);
/// Users whose refusals are counted apart.
const MAX_REMEMBERED: usize = 1024;

/// Counts connections.
#[derive(Debug)]
pub struct Gate {
    max: usize,
    max_per_user: usize,
    inside: Mutex<HashMap<u32, usize>>,
    total: watch::Sender<usize>,
    refused: Mutex<HashMap<u32, Refused>>,
}

#[derive(Debug)]
struct Refused {
    recorded: Instant,
    since: u64,
}

/// A place inside; given back when dropped.
#[derive(Debug)]
pub struct Entry {
    gate: Arc<Gate>,
    uid: u32,
}

impl Gate {
    /// A gate with these limits.
    #[must_use]
    pub fn new(max: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_user,
            inside: Mutex::default(),
            total: watch::Sender::new(0),
            refused: Mutex::default(),
        })
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a caller in, or says why not.
    ///
    /// # Errors
    /// The words for the caller.
    pub fn enter(self: &Arc<Self>, caller: &Caller) -> Result<Entry, String> {
        let mut inside = self.inside();
        let total: usize = inside.values().sum();
        if total >= self.max {
            return Err(format!(
                "{total} connections are open, the most there may be: try again later"
            ));
        }
        let own = inside.entry(caller.uid()).or_default();
        if *own >= self.max_per_user {
            return Err(format!(
                "you have {own} connections open, the most a user may have: close some"
            ));
        }
        *own += 1;
        self.total.send_replace(total + 1);
        Ok(Entry { gate: self.clone(), uid: caller.uid() })
    }

    /// Follows the number of open connections.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.total.subscribe()
    }

    /// Whether this refusal is to be recorded, and how many before it were not.
    pub fn should_record(&self, caller: &Caller, now: Instant) -> Option<u64> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_REMEMBERED {
            refused.retain(|_, r| now.duration_since(r.recorded) < RECORD_EVERY);
        }
        match refused.get_mut(&caller.uid()) {
            Some(known) if now.duration_since(known.recorded) < RECORD_EVERY => {
                known.since += 1;
                None
            }
            Some(known) => {
                let since = std::mem::take(&mut known.since);
                known.recorded = now;
                Some(since)
            }
            None => {
                refused.insert(caller.uid(), Refused { recorded: now, since: 0 });
                Some(0)
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        if let Some(own) = inside.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                inside.remove(&self.uid);
            }
        }
        let total: usize = inside.values().sum();
        self.gate.total.send_replace(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Transport;

    fn caller(uid: u32) -> Caller {
        Caller::for_test(uid, &[], Transport::Peer)
    }

    #[test]
    fn places_are_counted_by_user_and_in_all_and_given_back() {
        let gate = Gate::new(3, 2);
        let first = gate.enter(&caller(1)).expect("room");
        let _second = gate.enter(&caller(1)).expect("room");
        let why = gate.enter(&caller(1)).expect_err("two of two");
        assert!(why.contains("you have 2 connections"), "{why}");
        let _third = gate.enter(&caller(2)).expect("room for another user");
        let why = gate.enter(&caller(3)).expect_err("three of three");
        assert!(why.contains("3 connections are open"), "{why}");
        drop(first);
        assert_eq!(*gate.watch().borrow(), 2);
        gate.enter(&caller(3)).expect("room again");
    }

    #[test]
    fn a_flood_of_refusals_is_one_record_with_a_count() {
        let gate = Gate::new(1, 1);
        let start = Instant::now();
        assert_eq!(gate.should_record(&caller(1), start), Some(0));
        for _ in 0..1000 {
            assert_eq!(gate.should_record(&caller(1), start), None);
        }
        assert_eq!(gate.should_record(&caller(2), start), Some(0), "users are apart");
        assert_eq!(gate.should_record(&caller(1), start + RECORD_EVERY), Some(1000));
    }
}
