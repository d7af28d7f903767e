//! Calls of one connection that are not answered yet.

use super::{MAX_MESSAGE_BYTES, MAX_MESSAGE_FDS};
use crate::bus::held::{MOST_WAITS, Part};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most calls of a connection at a time. More than a user may have waiting, so that a
/// client which waits for many jobs can still ask for something else.
const MOST_CALLS: usize = 2 * MOST_WAITS;

/// What a call takes until it is answered.
#[derive(Debug)]
pub(super) struct Call {
    bytes: usize,
    fds: usize,
    /// The same among what the user may have.
    _parts: Vec<Part>,
    /// The client wants no answer. There is one all the same, which ends the call here.
    quiet: bool,
}

impl Call {
    pub(super) fn new(bytes: usize, fds: usize, parts: Vec<Part>, quiet: bool) -> Self {
        Self { bytes, fds, _parts: parts, quiet }
    }
}

#[derive(Debug, Default)]
struct Open {
    calls: HashMap<NonZeroU32, Call>,
    bytes: usize,
    fds: usize,
}

/// Counts the calls of a connection between its two halves.
#[derive(Debug, Default)]
pub(super) struct Flow {
    open: Mutex<Open>,
    answered: Notify,
}

impl Open {
    /// A call that comes alone always has room.
    fn has_room(&self, call: &Call) -> bool {
        self.calls.is_empty()
            || self.calls.len() < MOST_CALLS
                && self.bytes + call.bytes <= MAX_MESSAGE_BYTES
                && self.fds + call.fds <= MAX_MESSAGE_FDS
    }
}

impl Flow {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the calls before it leave room for this one. `false` when one of that
    /// serial number is not answered yet.
    pub(super) async fn begin(&self, serial: NonZeroU32, call: Call) -> bool {
        loop {
            {
                let mut open = self.open();
                if open.calls.contains_key(&serial) {
                    return false;
                }
                if open.has_room(&call) {
                    open.bytes += call.bytes;
                    open.fds += call.fds;
                    open.calls.insert(serial, call);
                    return true;
                }
            }
            self.answered.notified().await;
        }
    }

    /// Whether the client wants the answer to this call.
    pub(super) fn wants(&self, serial: NonZeroU32) -> bool {
        self.open().calls.get(&serial).is_none_or(|call| !call.quiet)
    }

    /// The call is answered, or will never be.
    pub(super) fn end(&self, serial: NonZeroU32) {
        let mut open = self.open();
        if let Some(call) = open.calls.remove(&serial) {
            open.bytes -= call.bytes;
            open.fds -= call.fds;
            self.answered.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn begin(flow: &Flow, serial: u32, bytes: usize, fds: usize) -> Option<bool> {
        let serial = NonZeroU32::new(serial).expect("not zero");
        let call = Call::new(bytes, fds, Vec::new(), false);
        flow.begin(serial, call).now_or_never()
    }

    fn end(flow: &Flow, serial: u32) {
        flow.end(NonZeroU32::new(serial).expect("not zero"));
    }

    #[test]
    fn no_more_is_read_than_is_answered() {
        let flow = Flow::default();
        let most = u32::try_from(MOST_CALLS).expect("few");
        for serial in 1..=most {
            assert_eq!(begin(&flow, serial, 100, 0), Some(true));
        }
        assert_eq!(begin(&flow, most + 1, 100, 0), None, "one too many");
        assert_eq!(begin(&flow, 7, 100, 0), Some(false), "7 is not answered");
        end(&flow, 7);
        assert_eq!(begin(&flow, 7, 100, 0), Some(true));
    }

    #[test]
    fn large_calls_come_one_after_the_other() {
        let flow = Flow::default();
        assert_eq!(begin(&flow, 1, MAX_MESSAGE_BYTES, MAX_MESSAGE_FDS), Some(true));
        assert_eq!(begin(&flow, 2, 1, 0), None, "no room for bytes");
        end(&flow, 1);
        assert_eq!(begin(&flow, 2, 1, MAX_MESSAGE_FDS), Some(true));
        assert_eq!(begin(&flow, 3, 1, 1), None, "no room for a descriptor");
        assert_eq!(begin(&flow, 4, 1, 0), Some(true));
    }
}
