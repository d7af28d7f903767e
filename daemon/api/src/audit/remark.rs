//! What is odd about a log that holds: findings for a person, and no damage.

use super::Id128;
use super::note::{Checkpoint, Kind};
use super::scan::Glance;
use std::fmt;

/// So many are told; a clock that jumps all the time is told of a few times.
const MAX_REMARKS: usize = 20;
/// A wall clock that is set back by less is kept right by its time service.
const TOLERANCE_USEC: u64 = 1_000_000;

/// Twice the longest time between two checkpoints that can be configured.
const SILENCE_USEC: u64 = 2 * 3_600_000_000;

/// Something odd, at a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The record; 0 when it is about none.
    pub seq: u64,
    /// What.
    pub words: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The times of checkpoints: while a supervisor lives they come again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Beats {
    before: Option<(Kind, u64)>,
    remarks: Remarks,
}

impl Beats {
    pub(super) fn see(&mut self, checkpoint: &Checkpoint) {
        let now = (checkpoint.kind, checkpoint.time_usec);
        let Some((kind, time)) = self.before.replace(now) else { return };
        let (seq, silence) = (checkpoint.size, checkpoint.time_usec.saturating_sub(time));
        let minutes = silence / 60_000_000;
        match (checkpoint.kind, kind) {
            (Kind::Start, Kind::Stop) => {}
            (Kind::Start, _) => self.remarks.add(
                seq,
                format!(
                    "at record {seq} the supervisor was started {minutes} minutes after the last \
                     checkpoint of one that did not close the log"
                ),
            ),
            _ if silence > SILENCE_USEC => self.remarks.add(
                seq,
                format!(
                    "before record {seq} there was no checkpoint for {minutes} minutes: the \
                     supervisor was held up, or the machine slept"
                ),
            ),
            _ => {}
        }
    }

    pub(super) fn into_list(self) -> Vec<Remark> {
        self.remarks.into_list()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    before: Option<(Id128, u64, u64)>,
    list: Vec<Remark>,
    more: u64,
}

impl Remarks {
    pub(super) fn see(&mut self, seen: &Glance<'_>) {
        let now = (seen.boot_id, seen.boottime_usec, seen.time_usec);
        let Some((boot_id, boottime, time)) = self.before.replace(now) else { return };
        let seq = seen.seq;
        if seen.time_usec + TOLERANCE_USEC < time {
            let seconds = (time - seen.time_usec) / 1_000_000;
            self.add(seq, format!("at record {seq} the clock was set back by {seconds} s"));
        }
        if boot_id == seen.boot_id {
            if seen.boottime_usec < boottime {
                self.add(seq, format!("at record {seq} the time since boot runs backwards"));
            }
        } else if !matches!(seen.event, b"daemon_started" | b"log_repaired" | b"log_opened") {
            let words = "the machine was booted anew without a start of the supervisor";
            self.add(seq, format!("at record {seq} {words}"));
        }
    }

    fn add(&mut self, seq: u64, words: String) {
        match self.list.len() < MAX_REMARKS {
            true => self.list.push(Remark { seq, words }),
            false => self.more += 1,
        }
    }

    pub(super) fn into_list(mut self) -> Vec<Remark> {
        if self.more > 0 {
            self.list.push(Remark { seq: 0, words: format!("and {} more of these", self.more) });
        }
        self.list
    }
}
