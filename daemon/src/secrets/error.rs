//! Why a secret is not kept or not given.

use super::{MAX_VALUE_BYTES, MIN_VALUE_BYTES};
use std::io;
use std::path::{Path, PathBuf};

/// A request about secrets that was not carried out. No value is ever in it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Not a name.
    #[error(
        "a secret cannot be called {0:?}: use 1 to 64 letters, digits, dots, underscores and \
         dashes, not beginning with a dot or a dash"
    )]
    Name(String),
    /// There is no such secret.
    #[error("there is no secret {0}: `fetchmlctl secret list` shows those there are")]
    Unknown(String),
    /// There is one already.
    #[error("there is a secret {0} already: replace its value with `fetchmlctl secret rotate {0}`")]
    There(String),
    /// Not for this user, or not there.
    #[error(
        "there is no secret {0} that you may use: an administrator adds it for you with \
         `fetchmlctl secret add {0} --for USER`"
    )]
    NotYours(String),
    /// Neither a user nor a group.
    #[error("{0} is no user and no group of this machine: write user:NAME or group:NAME")]
    Nobody(String),
    /// The value came in a way that cannot be read safely.
    #[error("the value must come in a sealed memory file (memfd_create, F_SEAL_WRITE): {0}")]
    NotSealed(&'static str),
    /// The value is empty, short or long.
    #[error(
        "the value has {0} bytes: a secret has {MIN_VALUE_BYTES} to {MAX_VALUE_BYTES}, since \
         shorter ones cannot be told from other text in a log"
    )]
    Size(u64),
    /// Somebody else than the supervisor could read or write it.
    #[error(
        "{0} must belong to the supervisor's user and be closed to everybody else (chmod go= {0})"
    )]
    Exposed(PathBuf),
    /// It is not what was written.
    #[error("{0} is damaged: remove the secret and add it again")]
    Damaged(PathBuf),
    /// systemd does not encrypt or decrypt it.
    #[error("systemd-creds cannot {what} secret {name}: {why}; look at `systemd-creds setup`")]
    Seal {
        /// encrypt or decrypt
        what: &'static str,
        /// Of the secret.
        name: String,
        /// What it says.
        why: String,
    },
    /// A file cannot be used.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// The step.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl VaultError {
    pub(super) fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), error }
    }

    /// What of it the submitter is to blame for.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::NotYours(_))
    }
}
