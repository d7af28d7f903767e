//! What can go wrong with the log, in the words of what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The log cannot be opened or written. Cheap to copy: all who wait get it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// A step on a file failed.
    #[error("cannot {step} {path}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// What was written may not be on the disk, whatever the page cache shows: after a
    /// failed fsync the kernel takes the pages for clean, and the next one succeeds.
    #[error(
        "cannot make {path} durable: {source}; nothing is recorded until the disk is well \
         (`journalctl -k`) and the supervisor is started again, which reads from the disk what \
         is there"
    )]
    Unsynced {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Others could replace the files.
    #[error("the audit directory {path} {why}: give it to user {uid} with mode 0700")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Who should own it.
        uid: u32,
    },
    /// Something else than a plain file of our own has the name of one.
    #[error("{path} is not a plain file with one name: move it away")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Another supervisor has it.
    #[error("the audit log in {path} is being written by another supervisor: stop that one first")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The log is not what was written.
    #[error(
        "the audit log in {path} is damaged: {what}; keep it as evidence (move the directory away), \
         then start again: a new log begins"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// The first bad record, in words.
        what: String,
    },
    /// What is remembered of the log cannot be read.
    #[error(
        "{path} does not tell where the audit log ended: verify the log with an anchor that was \
         kept elsewhere (`fetchml-audit-verify --anchor`); when it holds, remove this file"
    )]
    Forgotten {
        /// The file.
        path: PathBuf,
    },
    /// The key that signs checkpoints cannot be used.
    #[error(
        "the key of the audit log, {path}, cannot be used: {why}; it must be a plain file of the \
         supervisor's user with mode 0600 that holds one key"
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Never quotes it.
        why: String,
    },
    /// The machine does not say which boot this is.
    #[error("cannot read {path}: {why}")]
    Clock {
        /// Where it should be.
        path: &'static str,
        /// What was there.
        why: String,
    },
    /// More files than one message of a bus carries.
    #[error("the log has {count} segments, and one answer carries {most}: call OpenFiles instead")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

impl AuditError {
    /// For `map_err` on an fsync.
    pub(super) fn unsynced<E: Into<io::Error>>(path: PathBuf) -> impl FnOnce(E) -> Self {
        move |source| Self::Unsynced { path, source: Arc::new(source.into()) }
    }

    /// This writer may not go on, even when the next try would succeed.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Unsynced { .. })
    }

    /// For `map_err` on a step.
    pub(super) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: PathBuf,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { step, path, source: Arc::new(source.into()) }
    }
}
