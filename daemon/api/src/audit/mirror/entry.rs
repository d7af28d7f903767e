//! Entries of the journal as `journalctl --output=export` writes them, and who wrote
//! them. Any process may write an entry; only the fields that begin with `_` are
//! journald's own word.

use super::super::{Event, Head, Id128, MAX_LINE_BYTES, Record};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// The unit that writes our copies.
pub const UNIT: &str = "fetchmld.service";
/// Its program, and what journald knows it by.
const PROGRAM: &str = "fetchmld";
/// The user that it runs as.
const UID: &str = "0";
/// journald's word for what comes through its native socket, and for its own messages.
const NATIVE: &str = "journal";
const OWN: &str = "driver";
/// `MESSAGE_ID` of "Suppressed N messages from UNIT" (sd-messages(3)).
const SUPPRESSED: &str = "a596d6fe7bfa4994828e72309e95d61e";
/// A value that is longer is none of ours.
const MAX_VALUE_BYTES: u64 = 2 * MAX_LINE_BYTES as u64;
/// The longest name of a field is 64 bytes; what has no length of its own stands on
/// the same line.
const MAX_PLAIN_BYTES: u64 = MAX_VALUE_BYTES + 128;

/// Fields that are needed; `journalctl` adds the cursor and the times.
pub const FIELDS: &[&str] = &[
    "MESSAGE",
    "MESSAGE_ID",
    "SYSLOG_IDENTIFIER",
    "FETCHML_SEQ",
    "FETCHML_HASH",
    "FETCHML_EVENT",
    "FETCHML_RECORD",
    "FETCHML_DROPPED",
    "FETCHML_REPLAYED",
    "OBJECT_SYSTEMD_UNIT",
    "_BOOT_ID",
    "_COMM",
    "_EXE",
    "_PID",
    "_SYSTEMD_UNIT",
    "_TRANSPORT",
    "_UID",
];

/// What an entry must match to be looked at: one of our kinds of event, by its id or
/// its name, our word for ourselves, or that journald suppressed messages.
#[must_use]
pub fn matches() -> Vec<String> {
    let mut words: Vec<_> =
        Event::ALL.iter().map(|event| format!("MESSAGE_ID={}", event.message_id())).collect();
    words.push(format!("MESSAGE_ID={SUPPRESSED}"));
    words.push("+".to_owned());
    words.extend(Event::ALL.iter().map(|event| format!("FETCHML_EVENT={}", event.name())));
    words.push("+".to_owned());
    words.push(format!("SYSLOG_IDENTIFIER={PROGRAM}"));
    words
}

/// One entry: the fields that are needed, each as often as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    fields: BTreeMap<String, Vec<u8>>,
    /// A field stands there twice; journald keeps both, and readers choose.
    twice: bool,
}

/// What an entry is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A copy of a record, by the supervisor itself.
    Copy(Box<Copied>),
    /// It came from the supervisor and does not hold together.
    Altered(Sighting),
    /// It looks like ours, and another process wrote it.
    Imitation(Sighting),
    /// journald did not take messages of the supervisor.
    Suppressed { time_usec: u64 },
    /// Nothing of ours.
    Other,
}

/// A copy of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) log_id: Id128,
    pub(super) head: Head,
    /// When journald took it.
    pub(super) time_usec: u64,
    /// Copies that were dropped just before it, as the supervisor says.
    pub(super) dropped: u64,
    /// It was sent again at a later start.
    pub(super) replayed: bool,
    /// journald could not say of which unit and program the process was, which was gone;
    /// or the entry is of another boot than the record.
    pub(super) doubtful: bool,
    pub(super) sighting: Sighting,
}

/// Where an entry came from, in journald's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// When journald took it, microseconds since the epoch.
    pub time_usec: u64,
    /// The record that it names; 0 when it names none.
    pub seq: u64,
    /// Process, user, unit and program of who wrote it, and what is wrong.
    pub words: String,
}

impl Entry {
    /// Reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read, ends inside an entry, or is no export.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut entry = Self::default();
        let mut line = Vec::new();
        let mut any = false;
        loop {
            line.clear();
            let read = from.by_ref().take(MAX_PLAIN_BYTES).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(any.then_some(entry));
            }
            if line.pop_if(|last| *last == b'\n').is_none() {
                // Cut off here, or longer than anything of ours.
                skip_line(from)?;
                continue;
            }
            if line.is_empty() {
                match any {
                    true => return Ok(Some(entry)),
                    false => continue,
                }
            }
            any = true;
            match line.iter().position(|byte| *byte == b'=') {
                Some(at) => entry.add(&line[..at], Some(line[at + 1..].to_vec())),
                None => {
                    let value = sized(from)?;
                    entry.add(&line, value);
                }
            }
        }
    }

    fn add(&mut self, name: &[u8], value: Option<Vec<u8>>) {
        let (Ok(name), Some(value)) = (std::str::from_utf8(name), value) else { return };
        let known = FIELDS.contains(&name) || name == "__REALTIME_TIMESTAMP";
        if known && self.fields.insert(name.to_owned(), value).is_some() {
            self.twice = true;
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// When journald took it, microseconds since the epoch.
    #[must_use]
    pub fn time_usec(&self) -> u64 {
        self.number("__REALTIME_TIMESTAMP").unwrap_or(0)
    }

    pub(super) fn kind(&self) -> Kind {
        if self.text("MESSAGE_ID") == Some(SUPPRESSED) {
            return self.suppressed().unwrap_or(Kind::Other);
        }
        if !self.is_like_ours() {
            return Kind::Other;
        }
        let doubtful = match self.stranger() {
            Some(why) => return Kind::Imitation(self.sighting(&why)),
            None => self.text("_SYSTEMD_UNIT").is_none(),
        };
        // The supervisor's ordinary messages have its name and no record.
        if !self.claims_a_record() {
            return Kind::Other;
        }
        match self.copied(doubtful) {
            Ok(copied) => Kind::Copy(Box::new(copied)),
            Err(why) if doubtful => Kind::Imitation(self.sighting(why)),
            Err(why) => Kind::Altered(self.sighting(why)),
        }
    }

    /// Only journald itself says what it suppressed.
    fn suppressed(&self) -> Option<Kind> {
        let of_us = self.text("OBJECT_SYSTEMD_UNIT") == Some(UNIT)
            || self.text("MESSAGE").is_some_and(|text| text.ends_with(&format!(" from {UNIT}")));
        (of_us && self.text("_TRANSPORT") == Some(OWN))
            .then(|| Kind::Suppressed { time_usec: self.time_usec() })
    }

    pub(super) fn claims_a_record(&self) -> bool {
        self.fields.keys().any(|name| name.starts_with("FETCHML_"))
            || self
                .text("MESSAGE_ID")
                .is_some_and(|id| Event::ALL.iter().any(|event| event.message_id() == id))
    }

    /// What a person would take for one of our records.
    fn is_like_ours(&self) -> bool {
        let speaks_like_us = || {
            self.text("MESSAGE")
                .and_then(|text| text.split_once(':'))
                .is_some_and(|(event, _)| Event::from_name(event).is_some())
        };
        self.claims_a_record() || speaks_like_us()
    }

    /// Why the process that wrote it is not the supervisor.
    fn stranger(&self) -> Option<String> {
        let program = |path: &str| {
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            path.rsplit('/').next() == Some(PROGRAM)
        };
        let wrong = |name: &str, right: &dyn Fn(&str) -> bool| match self.text(name) {
            Some(value) if !right(value) => Some(format!("{name}={value}")),
            _ => None,
        };
        if self.text("_UID").is_none() || self.text("_TRANSPORT").is_none() {
            return Some("journald does not say whose it is".to_owned());
        }
        wrong("_UID", &|uid| uid == UID)
            .or_else(|| wrong("_TRANSPORT", &|transport| transport == NATIVE))
            .or_else(|| wrong("_SYSTEMD_UNIT", &|unit| unit == UNIT))
            .or_else(|| wrong("_EXE", &program))
            .or_else(|| wrong("_COMM", &|comm| comm == PROGRAM))
    }

    fn copied(&self, doubtful: bool) -> Result<Copied, &'static str> {
        if self.twice {
            return Err("a field of it stands there twice");
        }
        let line = self.fields.get("FETCHML_RECORD").ok_or("it has no FETCHML_RECORD")?;
        let record = Record::parse(line).map_err(|_| "its FETCHML_RECORD is no record")?;
        let head = Head::of_line(line).map_err(|_| "its FETCHML_RECORD is no record")?;
        let replayed = self.text("FETCHML_REPLAYED").is_some();
        let said = [
            ("FETCHML_SEQ", head.seq.to_string()),
            ("FETCHML_HASH", head.hash.to_string()),
            ("FETCHML_EVENT", record.event.to_string()),
        ];
        if said.iter().any(|(name, right)| self.text(name) != Some(right)) {
            return Err("its fields and its FETCHML_RECORD differ");
        }
        // A copy is made when its record is, but for one that is sent again.
        let same_boot = self.text("_BOOT_ID") == Some(&record.boot_id.to_string());
        let doubtful = doubtful || !(same_boot || replayed);
        Ok(Copied {
            log_id: record.log_id,
            head,
            time_usec: self.time_usec(),
            dropped: self.number("FETCHML_DROPPED").unwrap_or(0),
            replayed,
            doubtful,
            sighting: self.sighting(""),
        })
    }

    fn sighting(&self, why: &str) -> Sighting {
        let said = ["_PID", "_UID", "_SYSTEMD_UNIT", "_EXE"]
            .iter()
            .filter_map(|name| Some(format!("{name}={}", self.text(name)?)))
            .collect::<Vec<_>>()
            .join(" ");
        let words = match why {
            "" => said,
            why if said.contains(why) => said,
            why => format!("{said}: {why}"),
        };
        Sighting {
            time_usec: self.time_usec(),
            seq: self.number("FETCHML_SEQ").unwrap_or(0),
            words,
        }
    }
}

/// A value with its length before it. `None` when it is longer than any of ours.
fn sized(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let value = if length > MAX_VALUE_BYTES {
        let skipped = io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
        if skipped != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        None
    } else {
        let mut value = Vec::new();
        from.by_ref().take(length).read_to_end(&mut value)?;
        Some(value)
    };
    let mut end = [0];
    from.read_exact(&mut end)?;
    match end {
        [b'\n'] => Ok(value),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is no export of a journal")),
    }
}

fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        let (length, found) = match memchr::memchr(b'\n', bytes) {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        from.consume(length);
        if found {
            return Ok(());
        }
    }
}
