//! The audit log: an append-only file with one writer.
//!
//! Callers hand in records and wait until theirs is on disk. The writer takes
//! all that wait, numbers and chains them, and pays for one write and one
//! fdatasync. The journal gets a copy of what is on disk, with which the log is compared
//! when it is opened.
//!
//! The log fails closed: while it cannot be written every append is refused,
//! half a line never stays in the file, and once it can be written again the
//! first record says how long it could not. Other damage than the torn end
//! that a crash leaves keeps the log from being opened at all.
//!
//! In the directory: `lock` (one writer), `head` (number and hash of the last
//! record, without which a missing end would not show), the segments
//! `000000000001.log` and so on, the checkpoints of each (`000000000001.notes`),
//! `keys` (public keys that were in use), `mirrored` (up to where the journal was
//! compared), and torn ends that were set aside. The format and its verification are in [`fetchml_api::audit`].

mod clock;
mod directory;
mod error;
mod journal;
mod keys;
mod log;
mod mirror;
mod notes;
mod open;
mod past;
mod remembered;
mod rotate;
mod writer;

#[cfg(test)]
mod tests;

pub use error::AuditError;
pub use journal::JournalCopy;
pub use keys::{CREDENTIAL, KeySource};
pub use open::{OpenReport, TornEnd};

use directory::{Directory, notes_name, segment_name};
use fetchml_api::audit::{Hash, Head, NewRecord, PublicKey};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Years that records must be kept (45 CFR 164.316(b)(2)(i)), in days.
pub const LEAST_KEEP_DAYS: u64 = 2192;
/// A checkpoint is made after so many records…
const CHECKPOINT_RECORDS: u64 = 1000;
/// … or so long after the first that none covers.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(10);
/// … and when nothing happened for so long.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// Descriptors that one message of a bus carries (`max_message_unix_fds`).
const FILES_AT_ONCE: usize = 16;

/// How a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Copy each record to the journal.
    pub journald: bool,
    /// Length of a segment.
    pub segment_bytes: u64,
    /// The key that signs.
    pub key: KeySource,
    /// A file elsewhere, not below the log's directory, in which the end of the log is
    /// remembered.
    pub end_file: Option<PathBuf>,
    /// Records between checkpoints.
    pub checkpoint_records: u64,
    /// The time that a record waits for a checkpoint.
    pub checkpoint_pause: Duration,
    /// The time between checkpoints when nothing is recorded.
    pub heartbeat: Duration,
}

impl Options {
    /// The defaults, without a copy to the journal.
    #[must_use]
    pub fn new(key: KeySource) -> Self {
        Self {
            journald: false,
            segment_bytes: 64 << 20,
            key,
            end_file: None,
            checkpoint_records: CHECKPOINT_RECORDS,
            checkpoint_pause: CHECKPOINT_PAUSE,
            heartbeat: HEARTBEAT,
        }
    }

    /// The defaults with a key in a file.
    #[must_use]
    pub fn with_key_file(path: PathBuf) -> Self {
        Self::new(KeySource::File(path))
    }
}

/// Proof that a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// One record and who waits for it.
struct Append {
    record: NewRecord,
    reply: oneshot::Sender<Result<Receipt, AuditError>>,
}

/// What the writer is asked for.
enum Request {
    Append(Box<Append>),
    /// A checkpoint of what is durable now, as it is stored.
    Checkpoint(oneshot::Sender<Result<String, AuditError>>),
    /// Nothing comes after this.
    Close(oneshot::Sender<Result<(), AuditError>>),
    /// Delete what was sealed longer ago than this.
    Prune(Duration, oneshot::Sender<Result<usize, AuditError>>),
}

/// What the writer tells everybody.
#[derive(Debug)]
struct Status {
    head: Head,
    /// Why records cannot be written.
    failure: Option<AuditError>,
    journal: JournalCopy,
}

#[derive(Debug)]
struct Shared(Mutex<Status>);

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open log. Dropping it writes what was handed in and closes it.
#[derive(Debug)]
pub struct Audit {
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens the log in `directory`, or begins one, after verifying its last segment,
    /// and that the earlier ones are as they were sealed. Blocks; meant for start-up.
    ///
    /// # Errors
    /// [`AuditError`]: another writer has it, the directory is not safe or not
    /// writable, there is no key, or the log is damaged. The supervisor must not take
    /// work then.
    pub fn open(directory: &Path, options: &Options) -> Result<(Self, OpenReport), AuditError> {
        let (log, mut report, mirrored) = open::open(directory, options)?;
        let mut journal =
            if options.journald { journal::Journal::connect() } else { journal::Journal::off() };
        journal.send_again(mirrored.lost);
        journal.send(log.last_batch().records());
        report.journal = journal.copy();
        let directory = log.directory();
        let shared = Arc::new(Shared(Mutex::new(Status {
            head: log.head(),
            failure: None,
            journal: journal.copy(),
        })));
        let (requests, writer) = writer::spawn(log, journal, Arc::clone(&shared), options)?;
        Ok((Self { directory, shared, requests: Some(requests), writer: Some(writer) }, report))
    }

    /// Appends a record and answers when it is durable. Giving up the wait
    /// does not take the record back.
    ///
    /// # Errors
    /// [`AuditError`] when it is not durable; what it is about must not happen.
    pub async fn append(&self, record: NewRecord) -> Result<Receipt, AuditError> {
        self.ask(|reply| Request::Append(Box::new(Append { record, reply }))).await
    }

    /// Signs what the log is now, durable, and answers with the signed note.
    ///
    /// # Errors
    /// [`AuditError`] when it cannot be written.
    pub async fn checkpoint(&self) -> Result<String, AuditError> {
        self.ask(Request::Checkpoint).await
    }

    /// Closes the log with a checkpoint after which it may end. Refuses everything
    /// afterwards.
    ///
    /// # Errors
    /// [`AuditError`] when that cannot be written: the end is not proved then.
    pub async fn close(&self) -> Result<(), AuditError> {
        self.ask(Request::Close).await
    }

    /// Deletes segments that were sealed longer ago than this, with a record that
    /// says so. Answers how many.
    ///
    /// # Errors
    /// [`AuditError`] when that cannot be recorded or done.
    pub async fn prune(&self, keep: Duration) -> Result<usize, AuditError> {
        self.ask(|reply| Request::Prune(keep, reply)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, AuditError>>) -> Request,
    ) -> Result<T, AuditError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(AuditError::Closed)?;
        requests.send(request(reply)).map_err(|_| AuditError::Closed)?;
        answer.await.map_err(|_| AuditError::Closed)?
    }

    /// The public keys by which the log is known, the one in use last.
    ///
    /// # Errors
    /// [`AuditError`] when they cannot be read.
    pub fn keys(&self) -> Result<Vec<PublicKey>, AuditError> {
        self.directory.read_keys()
    }

    /// Whether records can be written. Cheap; recovers by itself.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn state(&self) -> Result<(), AuditError> {
        match &self.shared.status().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// The last durable record.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.status().head
    }

    /// What became of the journal's copy.
    #[must_use]
    pub fn journal(&self) -> JournalCopy {
        self.shared.status().journal.clone()
    }

    /// The segments in order, by name, opened for reading.
    ///
    /// # Errors
    /// [`AuditError`] when one cannot be opened, or there are more than one message
    /// carries.
    pub fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, AuditError> {
        let segments = self.directory.segments()?;
        if segments.len() > FILES_AT_ONCE {
            return Err(AuditError::TooMany { count: segments.len(), most: FILES_AT_ONCE });
        }
        self.open_all(segments.into_iter().map(segment_name))
    }

    /// Segments and checkpoints in the order of their names, those after this name
    /// and as many as one message carries, opened for reading.
    ///
    /// # Errors
    /// [`AuditError`] when one cannot be opened.
    pub fn open_files(&self, after: &str) -> Result<Vec<(String, OwnedFd)>, AuditError> {
        let mut names: Vec<String> =
            self.directory.segments()?.into_iter().map(segment_name).collect();
        names.extend(self.directory.notes()?.into_iter().map(notes_name));
        names.retain(|name| name.as_str() > after);
        names.sort_unstable();
        names.truncate(FILES_AT_ONCE);
        self.open_all(names.into_iter())
    }

    fn open_all(
        &self,
        names: impl Iterator<Item = String>,
    ) -> Result<Vec<(String, OwnedFd)>, AuditError> {
        let open = |name: String| {
            let file = self.directory.open_to_read(&name)?;
            Ok((name, OwnedFd::from(file)))
        };
        names.map(open).collect()
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // It ends when it has written what is left; a panic of it was told already.
            drop(writer.join());
        }
    }
}
