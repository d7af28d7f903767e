//! Opening: begin a log, or verify one and go on with it.

use super::directory::{Directory, FIRST_SEGMENT};
use super::journal::JournalCopy;
use super::log::Log;
use super::{AuditError, clock};
use fetchml_api::audit::{
    Actor, Anchor, Chain, Event, Gap, Head, Id128, MAX_LINE_BYTES, NewRecord, Origin, Outcome,
    Verdict, Verifier,
};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const READ_BYTES: usize = 1 << 20;

/// The end of a log that a crash tore, set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornEnd {
    /// How many bytes without an end there were.
    pub bytes: u64,
    /// The file that holds them now.
    pub file: String,
}

/// What was found when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The log.
    pub log_id: Id128,
    /// Its end.
    pub head: Head,
    /// It begins now.
    pub created: bool,
    /// Records that were verified.
    pub verified: u64,
    /// What a crash left.
    pub torn: Option<TornEnd>,
    /// Whether the journal gets a copy.
    pub journal: JournalCopy,
}

/// What was read of an existing log.
struct Found {
    log_id: Option<Id128>,
    end: Option<Head>,
    torn_bytes: u64,
}

pub(super) fn open(path: &Path) -> Result<(Log, OpenReport), AuditError> {
    let directory = Arc::new(Directory::open(path)?);
    let names = directory.segments()?;
    let stored = directory.read_head()?;
    let anchor = match (stored, names.is_empty()) {
        (Some(head), _) => head,
        (None, true) => Chain::begin(origin(Id128([0; 16]))?).head(),
        (None, false) => {
            return Err(
                directory.damaged("the file head is missing, so a missing end would not show")
            );
        }
    };
    let found = verify(&directory, &names, anchor)?;
    let name = names.last().map_or(FIRST_SEGMENT, String::as_str).to_owned();
    let log_id = found.log_id.map_or_else(|| new_id(path), Ok)?;
    let origin = origin(log_id)?;
    let chain = match found.end {
        Some(head) => Chain::resume(origin, head),
        None => Chain::begin(origin),
    };
    // The head first: from the first record on, a missing end must show.
    let head_file = directory.create_head(chain.head())?;
    let segment = if names.is_empty() {
        directory.create(&name)?
    } else {
        directory.open_to_append(&name)?
    };
    let torn = set_aside(&directory, &name, &segment, found.torn_bytes)?;
    directory.sync()?;
    let (good_bytes, last_line_bytes) = end_of(&directory, &name, &segment)?;
    let mut log = Log::new(directory, name, segment, head_file, chain, good_bytes, last_line_bytes);
    let verified = found.end.map_or(0, |head| head.seq);
    note_opening(&mut log, verified == 0, torn.as_ref())?;
    let report = OpenReport {
        log_id,
        head: log.head(),
        created: verified == 0,
        verified,
        torn,
        journal: JournalCopy::Off,
    };
    Ok((log, report))
}

fn origin(log_id: Id128) -> Result<Origin, AuditError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Origin { log_id, host, boot_id: clock::boot_id()? })
}

fn new_id(path: &Path) -> Result<Id128, AuditError> {
    let mut id = [0u8; 16];
    // Sixteen bytes are never cut short (getrandom(2)).
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(AuditError::io("draw random bytes for", path.to_owned()))?;
    Ok(Id128(id))
}

/// Reads all segments. Only a torn end is forgiven.
fn verify(directory: &Directory, names: &[String], anchor: Head) -> Result<Found, AuditError> {
    let mut verifier = Verifier::new(Anchor::AtLeast(anchor));
    let mut buffer = vec![0; READ_BYTES];
    for name in names {
        let mut file = directory.open_to_read(name)?;
        let io = |error| AuditError::io("read", directory.path().join(name))(error);
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                n => verifier.feed(&buffer[..n]),
            }
        }
        // What was read may not be on disk yet if its writer was killed.
        file.sync_data().map_err(AuditError::io("sync", directory.path().join(name)))?;
    }
    let report = verifier.finish();
    match report.verdict {
        Verdict::Intact | Verdict::Incomplete(Gap::TornTail { .. }) => {
            Ok(Found { log_id: report.log_id, end: report.end, torn_bytes: report.torn_bytes })
        }
        bad => Err(directory.damaged(bad.to_string())),
    }
}

/// Moves bytes without an end into a file of their own. They are copied and
/// durable before they are cut off.
fn set_aside(
    directory: &Directory,
    name: &str,
    segment: &File,
    torn_bytes: u64,
) -> Result<Option<TornEnd>, AuditError> {
    if torn_bytes == 0 {
        return Ok(None);
    }
    let io = |step| AuditError::io::<std::io::Error>(step, directory.path().join(name));
    let len = segment.metadata().map_err(io("examine"))?.len();
    let good = len.saturating_sub(torn_bytes);
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let file = directory.free_name(&format!("{name}.torn-{time}"))?;
    let mut aside = directory.create(&file)?;
    let mut at = good;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match segment.read_at(&mut buffer, at).map_err(io("read"))? {
            0 => break,
            n => {
                aside
                    .write_all(&buffer[..n])
                    .map_err(AuditError::io("write", directory.path().join(&file)))?;
                at += u64::try_from(n).unwrap_or(u64::MAX);
            }
        }
    }
    aside.sync_all().map_err(AuditError::io("sync", directory.path().join(&file)))?;
    directory.sync()?;
    segment.set_len(good).map_err(io("cut back"))?;
    segment.sync_all().map_err(io("sync"))?;
    Ok(Some(TornEnd { bytes: torn_bytes, file }))
}

/// Length of the segment and of its last line.
fn end_of(directory: &Directory, name: &str, segment: &File) -> Result<(u64, usize), AuditError> {
    let io = |step| AuditError::io::<std::io::Error>(step, directory.path().join(name));
    let len = segment.metadata().map_err(io("examine"))?.len();
    let window = len.min(u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX) + 2);
    let mut tail = vec![0; usize::try_from(window).unwrap_or(0)];
    segment.read_exact_at(&mut tail, len - window).map_err(io("read"))?;
    let before = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Ok((len, tail.len() - start))
}

/// The records that the log itself has to tell.
fn note_opening(log: &mut Log, begins: bool, torn: Option<&TornEnd>) -> Result<(), AuditError> {
    let mut records = Vec::new();
    if begins {
        records.push(own_record(Event::LogOpened, "open"));
    }
    if let Some(torn) = torn {
        let record = own_record(Event::LogRepaired, "repair").result(Outcome::Failure);
        records.push(record.detail("torn_bytes", torn.bytes).detail("set_aside_as", &torn.file));
    }
    if !records.is_empty() {
        log.append(records.iter())?;
    }
    log.write_head()
}

/// A record by the log about itself.
pub(super) fn own_record(event: Event, action: &str) -> NewRecord {
    NewRecord::new(event, Actor::uid(rustix::process::geteuid().as_raw()), action, "audit")
}
