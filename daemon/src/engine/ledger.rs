//! What the engine needs of the audit log.

use crate::audit::Audit;
use fetchml_api::audit::NewRecord;
use futures_util::future::BoxFuture;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

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

    /// Signs what the log is now; answers with the signed note.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn checkpoint(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Closes it with a checkpoint after which it may end; nothing can be recorded then.
    ///
    /// # Errors
    /// Why that cannot be written.
    fn close(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Deletes what is older than this and may be deleted; says how many files.
    ///
    /// # Errors
    /// Why it could not be recorded or done.
    fn prune(&self, keep: Duration) -> BoxFuture<'_, Result<usize, String>>;

    /// The public keys by which the log is known, the one in use last.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn keys(&self) -> Result<Vec<String>, String>;

    /// Records and checkpoints in the order of their names, those after this name and
    /// as many as one message carries.
    ///
    /// # Errors
    /// Why they cannot be opened.
    fn open_files(&self, after: &str) -> Result<Vec<(String, OwnedFd)>, String>;

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

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Self::checkpoint(self).await.map_err(|error| error.to_string()) })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Self::close(self).await.map_err(|error| error.to_string()) })
    }

    fn prune(&self, keep: Duration) -> BoxFuture<'_, Result<usize, String>> {
        Box::pin(async move { Self::prune(self, keep).await.map_err(|error| error.to_string()) })
    }

    fn keys(&self) -> Result<Vec<String>, String> {
        let keys = Self::keys(self).map_err(|error| error.to_string())?;
        Ok(keys.iter().map(ToString::to_string).collect())
    }

    fn open_files(&self, after: &str) -> Result<Vec<(String, OwnedFd)>, String> {
        Self::open_files(self, after).map_err(|error| error.to_string())
    }

    fn open_segments(&self) -> Result<Vec<(String, OwnedFd)>, String> {
        Self::open_segments(self).map_err(|error| error.to_string())
    }
}
