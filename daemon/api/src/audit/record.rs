//! One record: what a writer gives, what is stored, and its one spelling.

use super::{Event, Hash, Id128};
use crate::job::JobId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// Longest stored record, in bytes without the newline.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Largest integer in a record: what every JSON reader holds exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// The version of the record format written here.
pub(super) const VERSION: u64 = 1;

// Bounds of single fields, in bytes as JSON spells them. Together they stay
// below MAX_LINE_BYTES, so that whatever a caller passes can be recorded.
const MAX_WORD_BYTES: usize = 128;
pub(super) const MAX_NAME_BYTES: usize = 512;
const MAX_RESOURCE_BYTES: usize = 4096;
const MAX_VALUE_BYTES: usize = 2048;
const MAX_DETAILS: usize = 24;

/// Text in a record that borrows from the line it was read from when it can.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was tried and did not work.
    Failure,
    /// It was not allowed.
    Denied,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        })
    }
}

/// Who is accountable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor<'a> {
    /// Id of the API key that was used; never the key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Text<'a>>,
    /// User id on the host.
    pub uid: u32,
    /// The user's name when the record was written.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
}

impl Actor<'static> {
    /// The user of this id.
    #[must_use]
    pub fn uid(uid: u32) -> Self {
        Self { key_id: None, uid, user: None }
    }

    /// The user's name beside the id.
    #[must_use]
    pub fn named(mut self, user: &str) -> Self {
        self.user = Some(clipped(user, MAX_NAME_BYTES));
        self
    }

    /// The id of the API key with which the user came.
    #[must_use]
    pub fn with_key(mut self, key_id: &str) -> Self {
        self.key_id = Some(clipped(key_id, MAX_WORD_BYTES));
        self
    }
}

/// Where a request came from, as the kernel or the gateway vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source<'a> {
    /// Address of the network client.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Text<'a>>,
    /// Process id of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `internal`, `bus`, `peer` or `https`.
    #[serde(borrow)]
    pub transport: Text<'a>,
    /// User id of the calling process; the gateway's when it speaks for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl Source<'static> {
    /// The supervisor itself.
    #[must_use]
    pub fn internal() -> Self {
        Self { ip: None, pid: None, transport: "internal".into(), uid: None }
    }

    /// A process on this machine, by the credentials that the kernel gave.
    #[must_use]
    pub fn process(transport: &'static str, uid: u32, pid: Option<u32>) -> Self {
        Self { ip: None, pid, transport: clipped(transport, MAX_WORD_BYTES), uid: Some(uid) }
    }

    /// The address of the client for which that process speaks.
    #[must_use]
    pub fn with_ip(mut self, ip: std::net::IpAddr) -> Self {
        self.ip = Some(Text(Cow::Owned(ip.to_string())));
        self
    }
}

/// What happened, as its writer tells it. The log adds where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub(super) event: Event,
    pub(super) actor: Actor<'static>,
    pub(super) action: Text<'static>,
    pub(super) resource: Text<'static>,
    pub(super) source: Source<'static>,
    pub(super) result: Outcome,
    pub(super) job: Option<u64>,
    pub(super) details: BTreeMap<Text<'static>, Text<'static>>,
    left_out: u64,
}

impl NewRecord {
    /// A success from inside the supervisor, until told otherwise.
    ///
    /// Texts that are too long are cut and end with `…`. No secret, command
    /// line, environment value or file content may be passed to any of these.
    #[must_use]
    pub fn new(event: Event, actor: Actor<'static>, action: &str, resource: &str) -> Self {
        Self {
            event,
            actor,
            action: clipped(action, MAX_WORD_BYTES),
            resource: clipped(resource, MAX_RESOURCE_BYTES),
            source: Source::internal(),
            result: Outcome::Success,
            job: None,
            details: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Where the request came from.
    #[must_use]
    pub fn source(mut self, source: Source<'static>) -> Self {
        self.source = source;
        self
    }

    /// How it ended.
    #[must_use]
    pub fn result(mut self, result: Outcome) -> Self {
        self.result = result;
        self
    }

    /// The job it is about.
    #[must_use]
    pub fn job(mut self, job: JobId) -> Self {
        self.job = Some(job.0.min(MAX_INTEGER));
        self
    }

    /// A fact by name. When there are too many, `details_left_out` says how
    /// many are missing.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl fmt::Display) -> Self {
        let name = clipped(name, MAX_WORD_BYTES);
        if self.details.len() < MAX_DETAILS || self.details.contains_key(&name) {
            self.details.insert(name, clipped(&value.to_string(), MAX_VALUE_BYTES));
        } else {
            self.left_out += 1;
            self.details
                .insert("details_left_out".into(), Text(Cow::Owned(self.left_out.to_string())));
        }
        self
    }

    /// What kind of event it is.
    #[must_use]
    pub fn event(&self) -> Event {
        self.event
    }
}

/// A record as it is stored. The order of the fields is the order of the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<'a> {
    /// What was done, in a word.
    #[serde(borrow)]
    pub action: Text<'a>,
    /// Who is accountable.
    #[serde(borrow)]
    pub actor: Actor<'a>,
    /// The boot of the machine during which it was written.
    pub boot_id: Id128,
    /// Time since that boot, suspend included, microseconds.
    pub boottime_usec: u64,
    /// Further facts.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<Text<'a>, Text<'a>>,
    /// Name of the [`Event`]; newer supervisors write names that this one does not know.
    #[serde(borrow)]
    pub event: Text<'a>,
    /// Name of the machine.
    #[serde(borrow)]
    pub host: Text<'a>,
    /// Number of the job it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The log it belongs to.
    pub log_id: Id128,
    /// Hash of the record before it.
    pub prev: Hash,
    /// What it was done to.
    #[serde(borrow)]
    pub resource: Text<'a>,
    /// How it ended.
    pub result: Outcome,
    /// Position in the log, from 1.
    pub seq: u64,
    /// Where the request came from.
    #[serde(borrow)]
    pub source: Source<'a>,
    /// Wall-clock time, microseconds since the epoch.
    pub time_usec: u64,
    /// Version of the format.
    pub v: u64,
}

/// Why a line is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is longer than a record can be.
    #[error("it is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// It is not JSON, or not that of a record.
    #[error("it is not a record: {0}")]
    Malformed(String),
    /// A format this program does not know.
    #[error("it says format version {0}, this program knows {VERSION}")]
    Version(u64),
    /// A number is too large.
    #[error("a number in it is above 2^53-1")]
    Number,
    /// The same content in another spelling.
    #[error("it is not spelled as FetchML spells records")]
    NotCanonical,
}

impl<'a> Record<'a> {
    /// Reads a stored line (without its newline) and accepts only its canonical spelling.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with it.
    pub fn parse(line: &'a [u8]) -> Result<Self, RecordError> {
        Self::parse_with(line, &mut Vec::new())
    }

    /// [`Record::parse`] with a buffer that a caller with many lines keeps.
    pub(super) fn parse_with(line: &'a [u8], scratch: &mut Vec<u8>) -> Result<Self, RecordError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(RecordError::TooLong);
        }
        let record: Self =
            serde_json::from_slice(line).map_err(|e| RecordError::Malformed(e.to_string()))?;
        if record.v != VERSION {
            return Err(RecordError::Version(record.v));
        }
        let numbers = [record.seq, record.time_usec, record.boottime_usec, record.job.unwrap_or(0)];
        if numbers.iter().any(|number| *number > MAX_INTEGER) {
            return Err(RecordError::Number);
        }
        scratch.clear();
        record.write_to(scratch);
        if scratch == line { Ok(record) } else { Err(RecordError::NotCanonical) }
    }

    /// Appends the canonical bytes, without a newline.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self)
            .expect("text keys and a growing buffer leave JSON nothing to fail on");
    }

    /// The kind of event, when this program knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Event> {
        Event::from_name(&self.event)
    }
}

/// Cuts a text so that JSON needs at most `max` bytes for it.
pub(super) fn clipped(text: &str, max: usize) -> Text<'static> {
    const MARK: char = '…';
    let mut used = 0;
    let mut fits = 0;
    for (at, c) in text.char_indices() {
        used += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            _ => c.len_utf8(),
        };
        if used + MARK.len_utf8() <= max {
            fits = at + c.len_utf8();
        }
        if used > max {
            return Text(Cow::Owned(format!("{}{MARK}", &text[..fits])));
        }
    }
    Text(Cow::Owned(text.to_owned()))
}
