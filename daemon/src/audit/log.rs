//! The segment that is written, and its end.

use super::directory::{Directory, HeadFile};
use super::{AuditError, clock};
use fetchml_api::audit::{Chain, Head, NewRecord};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
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
    directory: Arc<Directory>,
    name: String,
    segment: File,
    head_file: HeadFile,
    chain: Chain,
    /// Length of the segment up to the last durable record.
    good_bytes: u64,
    /// Length of the last durable record with its newline.
    last_line_bytes: usize,
    /// Bytes of a failed write may stand after `good_bytes`.
    dirty: bool,
    /// Kept between batches for its memory.
    batch: Batch,
}

impl Log {
    pub(super) fn new(
        directory: Arc<Directory>,
        name: String,
        segment: File,
        head_file: HeadFile,
        chain: Chain,
        good_bytes: u64,
        last_line_bytes: usize,
    ) -> Self {
        Self {
            directory,
            name,
            segment,
            head_file,
            chain,
            good_bytes,
            last_line_bytes,
            dirty: false,
            batch: Batch::default(),
        }
    }

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

    fn path(&self) -> PathBuf {
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
        self.good_bytes += u64::try_from(self.batch.bytes.len()).unwrap_or(u64::MAX);
        self.last_line_bytes =
            self.batch.records.last().map_or(self.last_line_bytes, |(_, range)| range.len() + 1);
        Ok(&self.batch)
    }

    fn store(&mut self) -> Result<(), AuditError> {
        self.expect_untouched()?;
        self.dirty = true;
        let written = self.segment.write_all(&self.batch.bytes).map_err(self.io("write"));
        let synced = written.and_then(|()| self.segment.sync_data().map_err(self.io("sync")));
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
        self.segment.sync_data().map_err(self.io("sync"))?;
        self.dirty = false;
        Ok(())
    }

    /// Writes where the log ends, beside it.
    pub(super) fn write_head(&self) -> Result<(), AuditError> {
        self.head_file.write(self.chain.head())
    }

    /// Opens the segment anew after a failure and makes sure that it ends with
    /// the last durable record: after a failed fdatasync the page cache may
    /// show what the disk does not hold.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        self.segment = self.directory.open_to_append(&self.name)?;
        if self.dirty
            && self.segment.metadata().map_err(self.io("examine"))?.len() > self.good_bytes
        {
            self.cut_back()?;
        }
        self.expect_untouched()?;
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
