//! What a verification says.

use super::mirror::Comparison;
use super::remark::Remark;
use super::{Head, Id128, RecordError};
use std::fmt;

/// What was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A record has other content than was written.
    Changed,
    /// The bytes in a record's place are no record.
    NotCanonical,
    /// Records are missing before others that are there.
    Removed,
    /// A line was added.
    Inserted,
    /// Records are in another order.
    Reordered,
    /// A line belongs to another log.
    Foreign,
    /// The last line stops before its end.
    Cut,
    /// Records at the end are missing.
    Truncated,
    /// Records were replaced by others whose chain holds; a checkpoint or an anchor
    /// knows better.
    Rewritten,
    /// A checkpoint is not what was written, or not signed by whom it must be.
    Checkpoint,
}

impl Damage {
    /// The word for it in documents for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::NotCanonical => "notcanonical",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Foreign => "foreign",
            Self::Cut => "cut",
            Self::Truncated => "truncated",
            Self::Rewritten => "rewritten",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// The first bad record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was done.
    pub damage: Damage,
    /// Number of the first record that is bad: changed, missing, or the one
    /// in whose place something else stands.
    pub seq: u64,
    /// Line of the log, from 1 and over all segments, to look at.
    pub line: u64,
    /// The same in words.
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Why an undamaged log proves less than it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The end is not known from elsewhere.
    Unanchored,
    /// There is no checkpoint, so nothing is signed.
    NoCheckpoint,
    /// Records after the last checkpoint.
    Unsigned {
        /// Number of the first of them.
        from: u64,
    },
    /// The last checkpoint is none after which a log may end.
    Open {
        /// Number of the last record.
        seq: u64,
    },
    /// The last segment is sealed, and the one that must follow is not there.
    NextMissing {
        /// Number of the last record of the sealed one.
        seq: u64,
    },
    /// An anchor tells of records that are not in what was given.
    AnchorElsewhere {
        /// Of how many records.
        seq: u64,
    },
    /// The log holds; the journal lacks copies of some records.
    NotInJournal {
        /// Number of the first of them.
        seq: u64,
        /// How many.
        count: u64,
    },
    /// Bytes after the last whole record, as a crash leaves them.
    TornTail {
        /// Number of the record that began there.
        seq: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanchored => {
                f.write_str("the chain holds, but its end is not known from elsewhere: missing records at the end would not show")
            }
            Self::NoCheckpoint => f.write_str(
                "the chain holds, but there is no checkpoint: who wrote it is not proved, and missing records at the end would not show",
            ),
            Self::Unsigned { from } => write!(
                f,
                "everything up to record {} holds and is signed; the records from {from} on hold together, but no checkpoint covers them, so missing ones at the end would not show",
                from - 1
            ),
            Self::Open { seq } => write!(
                f,
                "everything up to record {seq} holds and is signed, but the log was not closed there: later records may be missing"
            ),
            Self::NextMissing { seq } => write!(
                f,
                "everything up to record {seq} holds and is signed, but its segment was sealed to go on in the next one, which is missing or empty"
            ),
            Self::AnchorElsewhere { seq } => write!(
                f,
                "what is here holds, but cannot be compared with the anchor at record {seq}, which is not in it: export with --anchor, or verify the whole log"
            ),
            Self::NotInJournal { seq, count } => write!(
                f,
                "every record is there as it was written, but the journal lacks {count} of them, the first is record {seq}"
            ),
            Self::TornTail { seq, bytes } => {
                write!(f, "record {seq} was only begun ({bytes} bytes without an end), as a crash leaves it; what is before it holds")
            }
        }
    }
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is there as it was written.
    Intact,
    /// No damage found, but not everything could be checked.
    Incomplete(Gap),
    /// The log was damaged.
    Tampered(Finding),
    /// These bytes are not an audit log.
    Unreadable(RecordError),
}

impl Verdict {
    /// The exit status that scripts test for.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Tampered(_) => 1,
            Self::Incomplete(_) => 2,
            Self::Unreadable(_) => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact => f.write_str("every record is there as it was written"),
            Self::Incomplete(gap) => gap.fmt(f),
            Self::Tampered(finding) => finding.fmt(f),
            Self::Unreadable(reason) => write!(f, "this is not an audit log: {reason}"),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The result.
    pub verdict: Verdict,
    /// Records that hold, from the beginning to the first bad one.
    pub records: u64,
    /// The log.
    pub log_id: Option<Id128>,
    /// The last record that holds.
    pub end: Option<Head>,
    /// Bytes after the last newline.
    pub torn_bytes: u64,
    /// Number of the first record that is there; above 1 when earlier ones were
    /// pruned or not exported.
    pub first: u64,
    /// The last record that a checkpoint which holds covers.
    pub signed: Option<u64>,
    /// Checkpoints that hold.
    pub checkpoints: u64,
    /// What is odd and no damage.
    pub remarks: Vec<Remark>,
    /// What a comparison with the journal found, when there was one.
    pub journal: Option<Comparison>,
}

/// `record 7 is` or `records 7 to 9 are`.
pub(super) fn span(first: u64, last: u64) -> String {
    if first >= last {
        format!("record {first} is")
    } else {
        format!("records {first} to {last} are")
    }
}
