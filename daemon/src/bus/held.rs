//! What a user's calls hold in this process until they are answered, over all of the
//! user's connections. Other users must not feel it.

use super::door::Door;
use super::error::BusError;
use crate::access::Caller;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zbus::message::Header;

/// Most calls of one user that wait for the end of a job, which may be in a month.
pub(super) const MOST_WAITS: usize = 256;
/// Most bytes of messages of one user.
const MOST_BYTES: usize = 64 << 20;
/// Most descriptors of one user that came with messages.
const MOST_FDS: usize = 1024;

/// Counts it.
#[derive(Debug)]
pub struct Held {
    waits: Arc<Tally>,
    bytes: Arc<Tally>,
    fds: Arc<Tally>,
}

impl Default for Held {
    fn default() -> Self {
        let (waits, bytes) = (Tally::new(MOST_WAITS), Tally::new(MOST_BYTES));
        Self { waits, bytes, fds: Tally::new(MOST_FDS) }
    }
}

/// Counts one thing by user.
#[derive(Debug)]
struct Tally {
    most: usize,
    counts: Mutex<HashMap<u32, usize>>,
}

/// A part of what a user may have; given back when dropped.
#[derive(Debug)]
pub(super) struct Part {
    tally: Arc<Tally>,
    uid: u32,
    count: usize,
}

impl Tally {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, uid: u32, count: usize) -> Option<Part> {
        let mut counts = self.counts();
        let has = counts.entry(uid).or_default();
        *has = has.checked_add(count).filter(|sum| *sum <= self.most)?;
        Some(Part { tally: self.clone(), uid, count })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut counts = self.tally.counts();
        if let Some(has) = counts.get_mut(&self.uid) {
            *has -= self.count;
            if *has == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

impl Held {
    /// Room for a message; `None` when the user's messages fill it.
    pub(super) fn bytes(&self, uid: u32, count: usize) -> Option<Part> {
        self.bytes.take(uid, count)
    }

    /// Room for a descriptor.
    pub(super) fn fd(&self, uid: u32) -> Option<Part> {
        self.fds.take(uid, 1)
    }
}

impl Door {
    /// A place for a call that waits for the end of a job. Its message stays for as long,
    /// with all descriptors that came with it.
    pub(super) fn wait(&self, caller: &Caller, header: &Header<'_>) -> Result<Part, BusError> {
        if let Some(count) = header.unix_fds().filter(|count| *count > 0) {
            return Err(BusError::too_many(format!(
                "{count} descriptors came with a call that takes none: send none"
            )));
        }
        self.desk.held.waits.take(caller.uid(), 1).ok_or_else(|| {
            BusError::too_many(format!(
                "{MOST_WAITS} calls of yours wait for the end of jobs, the most a user may have: \
                 wait for some to be answered, or listen for JobRemoved"
            ))
        })
    }
}
