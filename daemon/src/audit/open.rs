//! Opening: begin a log, or verify one and go on with it.

use super::directory::{Directory, notes_name, segment_name};
use super::journal::JournalCopy;
use super::log::{Batch, Log};
use super::mirror::{self, Mirrored};
use super::notes::Notes;
use super::past::Past;
use super::remembered::Remembered;
use super::{AuditError, Options, clock, keys};
use fetchml_api::audit::{
    Actor, Chain, Event, Head, Id128, MAX_LINE_BYTES, NewRecord, Origin, Outcome, PublicKey, Role,
};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub(super) const READ_BYTES: usize = 1 << 20;
/// Detail of `log_opened`: the log that was there before.
pub(super) const REPLACES: &str = "replaces";

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
    /// Records that the journal had lost and gets again.
    pub sent_again: usize,
}

pub(super) fn open(
    path: &Path,
    options: &Options,
) -> Result<(Log, OpenReport, Mirrored), AuditError> {
    let directory = Arc::new(Directory::open(path)?);
    let key = options.key.read()?;
    let mut past = Past::read(&directory)?;
    let anchor = match (directory.read_head()?, past.segments.is_empty()) {
        (Some(head), _) => head,
        (None, true) => Chain::begin(origin(Id128([0; 16]))?).head(),
        (None, false) => {
            return Err(
                directory.damaged("the file head is missing, so a missing end would not show")
            );
        }
    };
    let remembered = match &options.end_file {
        Some(file) => Remembered::read(file)?,
        None => None,
    };
    past.drop_begun_segment(&directory)?;
    past.expect_sealed(&directory)?;
    past.expect_known(&directory, remembered)?;
    let found = past.verify_last(&directory, anchor)?;
    past.expect_nothing_after(&directory, found.end, remembered)?;
    let mirrored = match options.journald {
        true => mirror::compare(&directory, &past, &found)?,
        false => None,
    };
    let log_id = found.log_id.map_or_else(|| new_id(path), Ok)?;
    let origin = origin(log_id)?;
    let chain = match found.end {
        Some(head) => Chain::resume(origin, head),
        None => Chain::begin(origin),
    };
    // The head first: from the first record on, a missing end must show.
    let head_file = directory.create_head(chain.head())?;
    let number = past.number();
    let name = segment_name(number);
    let segment = directory.open_or_create(&name)?;
    let torn = set_aside(&directory, &name, &segment, found.torn_bytes)?;
    past.cut_torn_note(&directory)?;
    let session = keys::random(Role::Session, path)?;
    let notes = Notes::new(&directory, &notes_name(number), past.trail.link(), session)?;
    directory.sync()?;
    // Before anything is sent again: once is enough. While no copies are made, none
    // will be missed.
    if mirrored.is_some() || !options.journald && directory.read_mark()?.is_some() {
        directory.write_mark(chain.head())?;
    }
    let mirrored = mirrored.unwrap_or_default();
    let (good_bytes, last_line_bytes) = end_of(&directory, &name, &segment)?;
    let mut log = Log {
        directory,
        number,
        name,
        segment,
        head_file,
        remembered: None,
        chain,
        tree: found.tree,
        notes,
        first: past.first_record(),
        seals: past.seals,
        segment_bytes: options.segment_bytes,
        good_bytes,
        last_line_bytes,
        dirty: false,
        batch: Batch::default(),
    };
    let begins = found.end.is_none();
    let new_key = !past.keys.contains(&key.public());
    let replaced = past.keys.last().copied();
    if new_key {
        log.directory.add_key(&key.public())?;
    }
    let new_key = new_key.then_some((key.public(), replaced));
    // A log that goes on is no longer closed from before its next record on. One that
    // begins is remembered when its beginning says what it replaces.
    if !begins {
        log.remember(options.end_file.as_deref())?;
    }
    let opening = Opening { begins, torn: torn.as_ref(), new_key, remembered };
    note_opening(&mut log, &opening, mirrored.record())?;
    log.start(&key)?;
    if begins {
        log.remember(options.end_file.as_deref())?;
    }
    let report = OpenReport {
        log_id,
        head: log.head(),
        created: begins,
        verified: found.verified,
        torn,
        journal: JournalCopy::Off,
        sent_again: mirrored.lost.len(),
    };
    Ok((log, report, mirrored))
}

fn origin(log_id: Id128) -> Result<Origin, AuditError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Origin { log_id, host, boot_id: clock::boot_id()? })
}

fn new_id(path: &Path) -> Result<Id128, AuditError> {
    let mut id = [0u8; 16];
    fill_random(&mut id, path)?;
    Ok(Id128(id))
}

/// Up to 256 bytes are never cut short (getrandom(2)).
pub(super) fn fill_random(bytes: &mut [u8], path: &Path) -> Result<(), AuditError> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(AuditError::io("draw random bytes for", path.to_owned()))?;
    Ok(())
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
pub(super) fn end_of(
    directory: &Directory,
    name: &str,
    segment: &File,
) -> Result<(u64, usize), AuditError> {
    let io = |step| AuditError::io::<std::io::Error>(step, directory.path().join(name));
    let len = segment.metadata().map_err(io("examine"))?.len();
    let window = len.min(u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX) + 2);
    let mut tail = vec![0; usize::try_from(window).unwrap_or(0)];
    segment.read_exact_at(&mut tail, len - window).map_err(io("read"))?;
    let before = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Ok((len, tail.len() - start))
}

/// What the log has to tell of its opening.
struct Opening<'a> {
    begins: bool,
    torn: Option<&'a TornEnd>,
    /// A key that never signed before, and the one that did.
    new_key: Option<(PublicKey, Option<PublicKey>)>,
    remembered: Option<Remembered>,
}

/// The records that the log itself has to tell.
fn note_opening(
    log: &mut Log,
    opening: &Opening<'_>,
    compared: Option<NewRecord>,
) -> Result<(), AuditError> {
    let Opening { begins, torn, new_key, remembered } = opening;
    let mut records = Vec::new();
    if *begins {
        let mut record = own_record(Event::LogOpened, "open");
        if let Some((key, _)) = new_key {
            record = record.detail("key", key);
        }
        if let Some(Remembered { log_id, head, .. }) = remembered {
            record = record.detail(REPLACES, log_id).detail("replaced_end", head.seq);
        }
        records.push(record);
    }
    if let Some(torn) = torn {
        let record = own_record(Event::LogRepaired, "repair").result(Outcome::Failure);
        records.push(record.detail("torn_bytes", torn.bytes).detail("set_aside_as", &torn.file));
    }
    if let Some((key, replaced)) = new_key.filter(|_| !*begins) {
        let record = own_record(Event::KeyCreated, "use-key").detail("key", key);
        records.push(match replaced {
            Some(replaced) => record.detail("replaces", replaced.short()),
            None => record,
        });
    }
    records.extend(compared);
    if !records.is_empty() {
        log.append(records.iter())?;
    }
    log.write_head()
}

/// A record by the log about itself.
pub(super) fn own_record(event: Event, action: &str) -> NewRecord {
    NewRecord::new(event, Actor::uid(rustix::process::geteuid().as_raw()), action, "audit")
}
