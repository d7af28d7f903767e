//! What the engine needs of the audit log.

use crate::audit::Audit;
use fetchml_api::audit::NewRecord;
use futures_util::future::BoxFuture;
use std::fmt;
use std::os::fd::OwnedFd;

/// An audit log. The words of an error are for the user who is refused.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Whether records can be written; cheap.
    ///
    /// # Errors
    /// Why they cannot.
    fn state(&self) -> Result<(), String>;

    /// Answers when the record is durable.
    ///
    /// # Errors
    /// Why it is not.
    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<(), String>>;

    /// Sequence number and hash of the last durable record.
    fn head(&self) -> (u64, String);

    /// The files of the log in order, by name, opened for reading.
    ///
    /// # Errors
    /// Why they cannot be opened.
    fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, String>;
}

impl Ledger for Audit {
    fn state(&self) -> Result<(), String> {
        Self::state(self).map_err(|error| error.to_string())
    }

    fn append(&self, record: NewRecord) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            Self::append(self, record).await.map(|_| ()).map_err(|error| error.to_string())
        })
    }

    fn head(&self) -> (u64, String) {
        let head = Self::head(self);
        (head.seq, head.hash.to_string())
    }

    fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, String> {
        Self::open_segments(self).map_err(|error| error.to_string())
    }
}
