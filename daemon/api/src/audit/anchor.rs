//! A checkpoint in one line, to be kept where nobody who can write the log can
//! write: another machine, a ticket, a sheet of paper.

use super::base64::{decode, encode};
use super::mark::Mark;
use super::note::Checkpoint;
use super::{Hash, Id128, MAX_INTEGER};
use std::fmt;
use std::str::FromStr;

const WORD: &str = "fetchml-audit-anchor-v1";

/// What a log was at one moment, as somebody noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorLine {
    /// The log.
    pub log_id: Id128,
    /// Records in it.
    pub size: u64,
    /// Root of their Merkle tree.
    pub root: Hash,
    /// Hash of the last of them.
    pub head: Hash,
    /// Wall clock of the machine, microseconds since the epoch.
    pub time_usec: u64,
}

impl AnchorLine {
    /// The same of a checkpoint.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { log_id, size, root, head, time_usec, .. } = *checkpoint;
        Self { log_id, size, root, head, time_usec }
    }

    /// What a log is compared with.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let from = format!("the anchor at record {}", self.size);
        Mark { seq: self.size, root: Some(self.root), hash: Some(self.head), from }
    }
}

/// `fetchml-audit-anchor-v1 LOG RECORDS ROOT HEAD TIME`.
impl fmt::Display for AnchorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_id, size, root, head, time_usec } = self;
        write!(f, "{WORD} {log_id} {size} {} {head} {time_usec}", encode(&root.0))
    }
}

/// A text is no anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an anchor: one is a line that begins with {WORD}, as `fetchmlctl audit anchor` prints it"
)]
pub struct NoAnchor;

impl FromStr for AnchorLine {
    type Err = NoAnchor;
    fn from_str(text: &str) -> Result<Self, NoAnchor> {
        let text = text.trim();
        let read = || {
            let [WORD, log_id, size, root, head, time] = text.split(' ').collect::<Vec<_>>()[..]
            else {
                return None;
            };
            Some(Self {
                log_id: log_id.parse().ok()?,
                size: size.parse().ok().filter(|n| (1..=MAX_INTEGER).contains(n))?,
                root: Hash(decode(root)?),
                head: head.parse().ok()?,
                time_usec: time.parse().ok().filter(|n| *n <= MAX_INTEGER)?,
            })
        };
        read().filter(|anchor: &Self| anchor.to_string() == text).ok_or(NoAnchor)
    }
}
