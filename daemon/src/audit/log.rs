//! The segment that is written, and its end.

use super::directory::{Directory, HeadFile};
use super::notes::{Notes, State};
use super::remembered::{EndFile, Remembered};
use super::{AuditError, clock};
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{Chain, Checkpoint, Head, Kind, NewRecord, Note, SigningKey};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A rare large batch does not keep its memory.
const KEPT_BYTES: usize = 1 << 20;

/// The records of one batch as they were stored.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Head, Range<usize>)>,
}

impl Batch {
    /// Each record's number and hash, with its line.
    pub(super) fn records(&self) -> impl Iterator<Item = (Head, &[u8])> {
        self.records.iter().map(|(head, range)| (*head, &self.bytes[range.clone()]))
    }
}

/// The log, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: Arc<Directory>,
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) segment: File,
    pub(super) head_file: HeadFile,
    /// The head once more, elsewhere.
    pub(super) remembered: Option<EndFile>,
    pub(super) chain: Chain,
    /// Over all records, those of other segments as well.
    pub(super) tree: Tree,
    pub(super) notes: Notes,
    /// Seals of the segments that are complete and still there, in order.
    pub(super) seals: Vec<Checkpoint>,
    /// Number of the first record that is still there.
    pub(super) first: u64,
    /// A segment of this length is full.
    pub(super) segment_bytes: u64,
    /// Length of the segment up to the last durable record.
    pub(super) good_bytes: u64,
    /// Length of the last durable record with its newline; 0 in a new segment.
    pub(super) last_line_bytes: usize,
    /// Bytes of a failed write may stand after `good_bytes`.
    pub(super) dirty: bool,
    /// Kept between batches for its memory.
    pub(super) batch: Batch,
}

impl Log {
    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    pub(super) fn head(&self) -> Head {
        self.chain.head()
    }

    /// What was appended last.
    pub(super) fn last_batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    fn io<E: Into<std::io::Error>>(&self, step: &'static str) -> impl FnOnce(E) -> AuditError {
        AuditError::io(step, self.path())
    }

    /// Appends records with one write and one fdatasync. After an error none of
    /// them is in the log, or the log refuses everything until [`Log::reopen`].
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a NewRecord>,
    ) -> Result<&Batch, AuditError> {
        let before = self.chain.head();
        self.batch.bytes.clear();
        self.batch.bytes.shrink_to(KEPT_BYTES);
        self.batch.records.clear();
        for record in records {
            let start = self.batch.bytes.len();
            let head = self.chain.append(record, clock::stamp(), &mut self.batch.bytes);
            self.batch.records.push((head, start..self.batch.bytes.len() - 1));
        }
        if let Err(error) = self.store() {
            self.chain.rewind(before);
            return Err(error);
        }
        for (head, _) in &self.batch.records {
            self.tree.push(head.hash);
        }
        self.good_bytes += u64::try_from(self.batch.bytes.len()).unwrap_or(u64::MAX);
        self.last_line_bytes =
            self.batch.records.last().map_or(self.last_line_bytes, |(_, range)| range.len() + 1);
        Ok(&self.batch)
    }

    fn store(&mut self) -> Result<(), AuditError> {
        self.expect_untouched()?;
        self.dirty = true;
        let written = self.segment.write_all(&self.batch.bytes).map_err(self.io("write"));
        let synced = written
            .and_then(|()| self.segment.sync_data().map_err(AuditError::unsynced(self.path())));
        if synced.is_ok() {
            self.dirty = false;
        } else {
            // At once, so that a crash now leaves whole records; when this
            // fails too, `reopen` tries again before anything is appended.
            drop(self.cut_back());
        }
        synced
    }

    /// Nobody else may have written, cut or unlinked the file: what we append
    /// would not follow what we know.
    fn expect_untouched(&self) -> Result<(), AuditError> {
        let found = self.segment.metadata().map_err(self.io("examine"))?;
        if found.nlink() == 0 {
            return Err(self
                .directory
                .damaged(format!("{} was removed while it was written", self.name)));
        }
        if found.len() != self.good_bytes {
            return Err(self.directory.damaged(format!(
                "{} has {} bytes instead of {}: another process wrote to it",
                self.name,
                found.len(),
                self.good_bytes
            )));
        }
        Ok(())
    }

    fn cut_back(&mut self) -> Result<(), AuditError> {
        self.segment.set_len(self.good_bytes).map_err(self.io("cut back"))?;
        self.segment.sync_data().map_err(AuditError::unsynced(self.path()))?;
        self.dirty = false;
        Ok(())
    }

    /// Writes where the log ends, beside it and elsewhere.
    pub(super) fn write_head(&self) -> Result<(), AuditError> {
        let head = self.chain.head();
        self.head_file.write(head)?;
        self.remembered.as_ref().map_or(Ok(()), |file| file.write(head))
    }

    /// Remembers the end of the log in this file from now on.
    pub(super) fn remember(&mut self, file: Option<&Path>) -> Result<(), AuditError> {
        let log_id = self.chain.origin().log_id;
        let remembered = Remembered { log_id, head: self.chain.head(), closed: false };
        self.remembered = file.map(|file| remembered.begin(file)).transpose()?;
        Ok(())
    }

    /// Nothing is written after this.
    pub(super) fn close(&mut self) -> Result<(), AuditError> {
        self.checkpoint(Kind::Stop)?;
        let head = self.chain.head();
        self.remembered.as_ref().map_or(Ok(()), |file| file.close(head))
    }

    /// Does something with the checkpoints, which say what the log is now.
    pub(super) fn with_notes<T>(
        &mut self,
        act: impl FnOnce(&mut Notes, &State<'_>) -> Result<T, AuditError>,
    ) -> Result<T, AuditError> {
        let state = State {
            origin: self.chain.origin(),
            head: self.chain.head(),
            tree: &self.tree,
            time_usec: clock::stamp().time_usec,
        };
        act(&mut self.notes, &state)
    }

    /// The log is open: the log's own key says so.
    pub(super) fn start(&mut self, key: &SigningKey) -> Result<(), AuditError> {
        self.with_notes(|notes, state| notes.start(state, key))
    }

    /// Signs what the log is now.
    pub(super) fn checkpoint(&mut self, kind: Kind) -> Result<&Note, AuditError> {
        let again = self.notes.last().is_some_and(|note| {
            note.checkpoint.kind == kind && note.checkpoint.size == self.chain.head().seq
        });
        if !again {
            self.with_notes(|notes, state| notes.note(state, kind))?;
        }
        Ok(self.notes.last().expect("one was just written, if there was none"))
    }

    /// Signs once more what was signed before, with the time.
    pub(super) fn beat(&mut self) -> Result<(), AuditError> {
        self.with_notes(|notes, state| notes.note(state, Kind::Interval))
    }

    /// Records that no checkpoint covers yet.
    pub(super) fn uncovered(&self) -> u64 {
        self.chain.head().seq.saturating_sub(self.notes.covered())
    }

    /// Opens the segment anew after a failed write and makes sure that it ends with
    /// the last durable record.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        self.segment = self.directory.open_to_append(&self.name)?;
        if self.dirty
            && self.segment.metadata().map_err(self.io("examine"))?.len() > self.good_bytes
        {
            self.cut_back()?;
        }
        self.expect_untouched()?;
        if self.good_bytes == 0 {
            self.dirty = false;
            return Ok(());
        }
        let mut line = vec![0; self.last_line_bytes];
        let start =
            self.good_bytes - u64::try_from(line.len()).unwrap_or(u64::MAX).min(self.good_bytes);
        self.segment.read_exact_at(&mut line, start).map_err(self.io("read"))?;
        let end = line.strip_suffix(b"\n").and_then(|line| Head::of_line(line).ok());
        if end != Some(self.chain.head()) {
            return Err(self.directory.damaged(format!(
                "{} does not end with the last record that was written",
                self.name
            )));
        }
        self.dirty = false;
        Ok(())
    }
}
