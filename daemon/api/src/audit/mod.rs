//! Audit records, their canonical bytes, the hash chain and its verification.
//!
//! A log is a sequence of lines. Each line is one record as canonical JSON:
//! keys sorted, no blanks, no floating-point numbers, integers below 2^53,
//! strict UTF-8, ended by a newline. Each record carries its sequence number
//! (from 1) and the hash of the record before it:
//!
//! ```text
//! hash(n) = SHA-256(0x00 || "fetchml-audit-v1" || hash(n-1) || stored bytes of n, without the newline)
//! hash(0) = SHA-256("fetchml-audit-v1" || log id)
//! ```
//!
//! The leading byte keeps room for Merkle nodes (0x01). Because the hash covers
//! the stored bytes and only the canonical spelling is accepted, there is one
//! way to write a record and nothing to normalise when it is checked.
//!
//! A chain alone cannot show that its end is missing or that all of it was
//! rewritten: that needs the [`Head`] from somewhere else ([`Anchor`]).
//!
//! Records never hold secrets, environment values, command lines or file
//! contents; whoever writes one passes names, numbers and identities only.

mod anchor;
mod base64;
mod chain;
mod event;
mod evidence;
mod export;
mod identity;
mod judge;
mod key;
mod mark;
pub mod merkle;
pub mod mirror;
mod note;
mod record;
mod remark;
mod scan;
#[cfg(test)]
mod tests;
mod trail;
mod verdict;
mod verify;

pub use anchor::{AnchorLine, NoAnchor};
pub use chain::{Chain, Head, Origin, Stamp};
pub use event::{Event, message_id};
pub use evidence::{Checkpoints, Examination, Known};
pub use export::{Excerpt, ExcerptHeader, NoExport, Tail};
pub use identity::{Hash, Id128, MalformedHex};
pub use key::{KeyError, MAX_STORED_KEY_BYTES, PublicKey, Role, SigningKey};
pub use mark::Mark;
pub use note::{Checkpoint, Kind, MAX_NOTE_BYTES, Note, Sealed, split as split_notes};
pub use record::{
    Actor, MAX_INTEGER, MAX_LINE_BYTES, NewRecord, Outcome, Record, RecordError, Source, Text,
};
pub use remark::Remark;
pub use trail::{NoteError, Trail};
pub use verdict::{Damage, Finding, Gap, Report, Verdict};
pub use verify::{Anchor, Beginning, Verifier};
