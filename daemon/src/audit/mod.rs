//! The audit log: an append-only file with one writer.
//!
//! Callers hand in records and wait until theirs is on disk. The writer takes
//! all that wait, numbers and chains them, and pays for one write and one
//! fdatasync. The journal gets a copy of what is on disk and is never read.
//!
//! The log fails closed: while it cannot be written every append is refused,
//! half a line never stays in the file, and once it can be written again the
//! first record says how long it could not. Other damage than the torn end
//! that a crash leaves keeps the log from being opened at all.
//!
//! In the directory: `lock` (one writer), `head` (number and hash of the last
//! record, without which a missing end would not show), the segments
//! `000000000001.log` and so on, and torn ends that were set aside. The format
//! and its verification are in [`fetchml_api::audit`].

mod clock;
mod directory;
mod error;
mod journal;
mod log;
mod open;
mod writer;

#[cfg(test)]
mod tests;

pub use error::AuditError;
pub use journal::JournalCopy;
pub use open::{OpenReport, TornEnd};

use directory::Directory;
use fetchml_api::audit::{Hash, Head, NewRecord};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Proof that a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// One record and who waits for it.
struct Request {
    record: NewRecord,
    reply: oneshot::Sender<Result<Receipt, AuditError>>,
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
    /// Opens the log in `directory`, or begins one, after verifying all of it.
    /// Blocks; meant for start-up.
    ///
    /// # Errors
    /// [`AuditError`]: another writer has it, the directory is not safe or not
    /// writable, or the log is damaged. The supervisor must not take work then.
    pub fn open(directory: &Path, journald: bool) -> Result<(Self, OpenReport), AuditError> {
        let (log, mut report) = open::open(directory)?;
        let mut journal =
            if journald { journal::Journal::connect() } else { journal::Journal::off() };
        journal.send(log.last_batch().records());
        report.journal = journal.copy();
        let directory = log.directory();
        let shared = Arc::new(Shared(Mutex::new(Status {
            head: log.head(),
            failure: None,
            journal: journal.copy(),
        })));
        let (requests, writer) = writer::spawn(log, journal, Arc::clone(&shared))?;
        Ok((Self { directory, shared, requests: Some(requests), writer: Some(writer) }, report))
    }

    /// Appends a record and answers when it is durable. Giving up the wait
    /// does not take the record back.
    ///
    /// # Errors
    /// [`AuditError`] when it is not durable; what it is about must not happen.
    pub async fn append(&self, record: NewRecord) -> Result<Receipt, AuditError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(AuditError::Closed)?;
        requests.send(Request { record, reply }).map_err(|_| AuditError::Closed)?;
        answer.await.map_err(|_| AuditError::Closed)?
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
    /// [`AuditError`] when one cannot be opened.
    pub fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, AuditError> {
        let names = self.directory.segments()?;
        names
            .into_iter()
            .map(|name| {
                let file = self.directory.open_to_read(&name)?;
                Ok((name, OwnedFd::from(file)))
            })
            .collect()
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
