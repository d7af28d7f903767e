//! Segments: a full one is sealed and the next one begins; old ones are deleted when
//! they may be.

use super::directory::{notes_name, segment_name};
use super::log::Log;
use super::open::own_record;
use super::past::Past;
use super::{AuditError, clock, keys};
use fetchml_api::audit::{Checkpoint, Event, Role};
use std::time::Duration;

/// Far below what a reader takes: a month of heartbeats of an idle machine. A start checks
/// the signatures of so many at most, some ten thousand, for each segment that was begun
/// since the one before.
const MAX_NOTES_BYTES: u64 = 4 << 20;

impl Log {
    /// Seals the segment when it is full, of records or of checkpoints. The first record
    /// of the next one says so. Answers whether it did, with that record as the last batch.
    pub(super) fn rotate_when_full(&mut self) -> Result<bool, AuditError> {
        if self.good_bytes < self.segment_bytes && self.notes.bytes() < MAX_NOTES_BYTES {
            return Ok(false);
        }
        let number = self.number + 1;
        let (name, notes) = (segment_name(number), notes_name(number));
        // A next segment that is there and empty is one of an attempt that failed, or
        // of a start that was killed: nothing was sealed for it yet.
        let segment = self.directory.open_or_create(&name)?;
        let found = segment.metadata().map_err(AuditError::io("examine", self.path()))?;
        if found.len() != 0 {
            return Err(self.directory.damaged(format!("{name} is there and not empty")));
        }
        // Open before the seal: nothing may fail between that and what follows from it.
        let next_notes = self.directory.open_or_create(&notes)?;
        self.directory.sync()?;
        let next = keys::random(Role::Session, self.directory.path())?;
        let place = (self.number, self.good_bytes);
        let seal = self.with_notes(|notes, state| notes.seal(state, place, next))?;
        self.notes.move_to(next_notes, self.directory.path().join(notes));
        let sealed = std::mem::replace(&mut self.name, name);
        (self.segment, self.number) = (segment, number);
        (self.good_bytes, self.last_line_bytes) = (0, 0);
        let rotated = own_record(Event::LogRotated, "rotate")
            .detail("sealed", &sealed)
            .detail("records", seal.size)
            .detail("root", seal.root)
            .detail("segment", &self.name);
        self.seals.push(seal);
        self.append(std::iter::once(&rotated))?;
        self.write_head()?;
        Ok(true)
    }

    /// Deletes segments that were sealed longer ago than they must be kept. A record
    /// says so before they are gone; their checkpoints stay. Answers how many it were.
    pub(super) fn prune(&mut self, keep: Duration, now_usec: u64) -> Result<usize, AuditError> {
        let keep = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
        let is_old = |seal: &&Checkpoint| seal.time_usec.saturating_add(keep) < now_usec;
        let count = self.seals.iter().take_while(is_old).count();
        let Some(last) = count.checked_sub(1).map(|at| self.seals[at].clone()) else {
            return Ok(0);
        };
        let numbers: Vec<u64> = self.seals[..count]
            .iter()
            .filter_map(|s| s.sealed.as_ref())
            .map(|s| s.segment)
            .collect();
        // A start takes their word for it; to delete, what they say must be signed.
        if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
            let signed = Past::signed_seals(&self.directory, *first, *last)?;
            if signed != self.seals[..count] {
                let words = "what the seals of old segments say is not what was signed";
                return Err(self.directory.damaged(words));
            }
        }
        let pruned = own_record(Event::LogPruned, "prune")
            .detail("first", self.first)
            .detail("last", last.size)
            .detail("last_hash", last.head)
            .detail("root", last.root)
            .detail("segments", numbers.len());
        self.append(std::iter::once(&pruned))?;
        self.write_head()?;
        for number in numbers {
            self.directory.remove(&segment_name(number))?;
        }
        self.directory.sync()?;
        self.first = last.size + 1;
        self.seals.drain(..count);
        Ok(count)
    }

    /// Microseconds since the epoch.
    pub(super) fn now_usec() -> u64 {
        clock::stamp().time_usec
    }
}
