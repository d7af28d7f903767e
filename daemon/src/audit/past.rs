//! A log as it lies there when it is opened: its checkpoints are followed from the file
//! on in which the log's own key signed last, which vouches for all before it; the last
//! segment is verified in full, and earlier ones must be as they were sealed. So a start
//! takes as long after years as after a week.

use super::AuditError;
use super::directory::{Directory, notes_name, segment_name};
use super::open::{READ_BYTES, REPLACES};
use super::remembered::Remembered;
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{
    Anchor, Beginning, Checkpoint, Event, Gap, Head, Id128, Kind, MAX_LINE_BYTES, Mark, Note,
    NoteError, PublicKey, Record, Text, Trail, Verdict, Verifier, split_notes,
};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

/// Events of what is recorded before the first checkpoint of a log.
const OF_OPENING: [Event; 4] =
    [Event::LogOpened, Event::LogRepaired, Event::KeyCreated, Event::AuditVerified];

/// What was read of the segment that is written.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) log_id: Option<Id128>,
    pub(super) end: Option<Head>,
    pub(super) tree: Tree,
    pub(super) torn_bytes: u64,
    /// Records that were read.
    pub(super) verified: u64,
}

#[derive(Debug)]
pub(super) struct Past {
    pub(super) keys: Vec<PublicKey>,
    pub(super) segments: Vec<u64>,
    pub(super) trail: Trail,
    /// Seals of segments that are there.
    pub(super) seals: Vec<Checkpoint>,
    /// The seal before the first segment that is there.
    before: Option<Checkpoint>,
    marks: Vec<Mark>,
    /// Bytes at the end of the last file of notes that are none, and which it is.
    torn: Option<(u64, u64)>,
}

impl Past {
    pub(super) fn read(directory: &Directory) -> Result<Self, AuditError> {
        let mut past = Self::of(directory)?;
        past.follow(directory, directory.notes()?, u64::MAX)?;
        Ok(past)
    }

    /// The seals of segments that are there, by what the log's keys signed.
    pub(super) fn signed_seals(
        directory: &Directory,
        first: u64,
        last: u64,
    ) -> Result<Vec<Checkpoint>, AuditError> {
        let mut past = Self::of(directory)?;
        let numbers = directory.notes()?.into_iter().filter(|number| *number <= last);
        past.follow(directory, numbers.collect(), first)?;
        Ok(past.seals)
    }

    fn of(directory: &Directory) -> Result<Self, AuditError> {
        let keys = directory.read_keys()?;
        Ok(Self {
            segments: directory.segments()?,
            trail: Trail::new(keys.clone()),
            keys,
            seals: Vec::new(),
            before: None,
            marks: Vec::new(),
            torn: None,
        })
    }

    /// Reads these files of notes: in full from the last of them back to one, the `first`
    /// or before it, in which the log's own key signs, and the seals of those before.
    fn follow(
        &mut self,
        directory: &Directory,
        mut numbers: Vec<u64>,
        first: u64,
    ) -> Result<(), AuditError> {
        let mut followed = Vec::new();
        while let Some(number) = numbers.pop() {
            let bytes = directory.read_notes(number)?;
            // Of a rotation that ended before its seal was whole.
            if bytes.is_empty() {
                continue;
            }
            let is_vouched_for = number <= first && has_start(&bytes);
            followed.push((number, bytes));
            if is_vouched_for {
                break;
            }
        }
        for number in numbers {
            self.read_seal(directory, number)?;
        }
        for (number, bytes) in followed.iter().rev() {
            self.read_notes(directory, *number, bytes)?;
        }
        Ok(())
    }

    /// The last checkpoint of a segment.
    fn read_seal(&mut self, directory: &Directory, number: u64) -> Result<(), AuditError> {
        let name = notes_name(number);
        let bytes = directory.read_end_of_notes(number)?;
        // It may begin within a letter, and within a note.
        let text = (0..bytes.len().min(4)).find_map(|at| str::from_utf8(&bytes[at..]).ok());
        let last = text
            .map(split_notes)
            .and_then(|(notes, rest)| notes.last().copied().filter(|_| rest.is_empty()));
        let seal = last.ok_or(NoteError::Malformed).and_then(|last| self.trail.skip_to(last));
        let seal = seal.map_err(|error| {
            directory.damaged(format!("{name} does not end with a seal that fits: {error}"))
        })?;
        if seal.sealed.as_ref().is_none_or(|sealed| sealed.segment != number) {
            return Err(directory.damaged(format!("{name} ends with the seal of another segment")));
        }
        let seal = seal.clone();
        self.note(&seal);
        Ok(())
    }

    fn read_notes(
        &mut self,
        directory: &Directory,
        number: u64,
        bytes: &[u8],
    ) -> Result<(), AuditError> {
        let name = notes_name(number);
        if self.torn.is_some() {
            return Err(directory.damaged(format!("the checkpoints before {name} end inside one")));
        }
        let text = text_of(bytes);
        let mut trail = self.trail.clone();
        let rest = trail.follow_all(text, |checkpoint| self.note(checkpoint));
        self.trail = trail;
        let rest = rest.map_err(|(place, error)| {
            directory.damaged(format!("checkpoint {} in {name}: {error}", place + 1))
        })?;
        let torn = bytes.len() - text.len() + rest.len();
        if torn > 0 {
            self.torn = Some((number, u64::try_from(bytes.len() - torn).unwrap_or(0)));
        }
        Ok(())
    }

    fn note(&mut self, checkpoint: &Checkpoint) {
        let (root, hash) = (Some(checkpoint.root), Some(checkpoint.head));
        let from = format!("the checkpoint at record {}", checkpoint.size);
        self.marks.push(Mark { seq: checkpoint.size, root, hash, from });
        let first_segment = self.segments.first().copied().unwrap_or(0);
        match &checkpoint.sealed {
            Some(sealed) if sealed.segment >= first_segment => self.seals.push(checkpoint.clone()),
            Some(_) => self.before = Some(checkpoint.clone()),
            None => {}
        }
    }

    /// What a log needs so that it may go on, besides holding together: it is the one
    /// that was written, to the record that was the last, and somebody has signed it.
    pub(super) fn expect_known(
        &mut self,
        directory: &Directory,
        remembered: Option<Remembered>,
    ) -> Result<(), AuditError> {
        let Some(number) = self.segments.last() else { return Ok(()) };
        let name = segment_name(*number);
        let opening = Opened::read(directory, &name)?;
        let signed = self.trail.last().map(|checkpoint| checkpoint.log_id);
        let Some(log_id) = signed.or(opening.log_id) else { return Ok(()) };
        // Before the first checkpoint there is what the opening itself records.
        if signed.is_none() && !opening.is_all {
            return Err(
                directory.damaged(format!("nothing signs {name}: its checkpoints are missing"))
            );
        }
        let Some(Remembered { log_id: known, head, .. }) = remembered else { return Ok(()) };
        if known == log_id {
            let from = "what the supervisor remembers elsewhere";
            let mark = Mark::of_head(head, from);
            // It lags behind after a power cut: the record may be in an earlier segment.
            let begin = self.seal_of(number.wrapping_sub(1)).map_or(0, |seal| seal.size);
            if head.seq > begin {
                self.marks.push(mark);
                return Ok(());
            }
            return self.expect_record(directory, mark);
        }
        // It was killed before it could remember this one instead.
        let is_begun = self.segments.len() == 1 && opening.is_all && opening.begins;
        if is_begun && opening.replaces == Some(known) {
            return Ok(());
        }
        Err(directory.damaged(format!(
            "this is log {log_id}, but log {known} was written last, up to record {}: put that \
             one back, or remove audit.end beside the supervisor's state if you know why",
            head.seq
        )))
    }

    /// A record of an earlier segment is the one that is known.
    fn expect_record(&self, directory: &Directory, mark: Mark) -> Result<(), AuditError> {
        if mark.seq == 0 {
            return Ok(());
        }
        let missing =
            || directory.damaged(format!("record {} was written and is missing", mark.seq));
        let seal = self.seals.iter().find(|seal| seal.size >= mark.seq).ok_or_else(missing)?;
        let number = seal.sealed.as_ref().ok_or_else(missing)?.segment;
        let beginning = self.seal_of(number.wrapping_sub(1)).and_then(beginning_after);
        let known = Anchor::AtLeast(Head { seq: seal.size, hash: seal.head });
        let verifier = match beginning {
            Some(beginning) => Verifier::beginning(known, beginning),
            None => Verifier::new(known),
        };
        let mut verifier = verifier.comparing(vec![mark]);
        let name = segment_name(number);
        feed_all(directory, &name, &directory.open_to_read(&name)?, &mut verifier)?;
        match verifier.finish().verdict {
            Verdict::Intact => Ok(()),
            bad => Err(directory.damaged(format!("{bad} (in {name})"))),
        }
    }

    /// A log that was closed ends where it ended then.
    pub(super) fn expect_nothing_after(
        &self,
        directory: &Directory,
        end: Option<Head>,
        remembered: Option<Remembered>,
    ) -> Result<(), AuditError> {
        let end = end.map_or(0, |end| end.seq);
        match remembered {
            Some(Remembered { head, closed: true, log_id })
                if end > head.seq
                    && self.trail.last().is_some_and(|last| last.log_id == log_id) =>
            {
                Err(directory.damaged(format!(
                    "the log was closed after record {}, and the records from {} on were not \
                     written by the supervisor (or an older state directory was put back: then \
                     remove audit.end from it)",
                    head.seq,
                    head.seq + 1
                )))
            }
            _ => Ok(()),
        }
    }

    /// The segment that is written.
    pub(super) fn number(&self) -> u64 {
        let last = self.segments.last().copied().unwrap_or(1);
        // Sealed, and killed before anything was written to the next one.
        if self.seal_of(last).is_some() { last + 1 } else { last }
    }

    fn seal_of(&self, segment: u64) -> Option<&Checkpoint> {
        let is_of = |seal: &&Checkpoint| seal.sealed.as_ref().is_some_and(|s| s.segment == segment);
        self.seals.iter().chain(&self.before).find(is_of)
    }

    /// The segments that hold records after this one, the last few at most.
    pub(super) fn segments_after(&self, seq: u64, most: usize) -> impl Iterator<Item = u64> {
        let holds = move |number: &u64| self.seal_of(*number).is_none_or(|seal| seal.size > seq);
        let few = self.segments.len().saturating_sub(most);
        self.segments[few..].iter().copied().filter(holds)
    }

    /// Number of the first record that is there.
    pub(super) fn first_record(&self) -> u64 {
        self.before.as_ref().map_or(1, |seal| seal.size + 1)
    }

    /// A next segment that is empty, made for a seal that never came.
    pub(super) fn drop_begun_segment(&mut self, directory: &Directory) -> Result<(), AuditError> {
        let [.., before, last] = self.segments[..] else { return Ok(()) };
        let name = segment_name(last);
        let found = directory.open_to_read(&name)?.metadata();
        let length = found.map_err(AuditError::io("examine", directory.path().join(&name)))?.len();
        if length == 0 && self.seal_of(before).is_none() {
            directory.remove(&name)?;
            self.segments.pop();
        }
        Ok(())
    }

    /// Every segment but the last is as long as it was when it was sealed and ends
    /// with the record that was the last. What is inside is for `audit verify`.
    pub(super) fn expect_sealed(&self, directory: &Directory) -> Result<(), AuditError> {
        let Some((_, earlier)) = self.segments.split_last() else { return Ok(()) };
        for (number, next) in earlier.iter().zip(&self.segments[1..]) {
            let name = segment_name(*number);
            if number + 1 != *next {
                let missing = segment_name(number + 1);
                return Err(directory.damaged(format!("the segment {missing} is missing")));
            }
            let seal = self.seal_of(*number).and_then(|seal| Some((seal, seal.sealed.as_ref()?)));
            let Some((seal, sealed)) = seal else {
                return Err(
                    directory.damaged(format!("{name} was never sealed, but another follows"))
                );
            };
            let file = directory.open_to_read(&name)?;
            if !ends_with(&file, sealed.bytes, seal).unwrap_or(false) {
                return Err(directory.damaged(format!(
                    "{name} is not what was sealed: it must have {} bytes and end with record {}",
                    sealed.bytes, seal.size
                )));
            }
        }
        Ok(())
    }

    /// Reads the last segment, from where the one before was sealed. Only a torn end
    /// is forgiven.
    pub(super) fn verify_last(
        &self,
        directory: &Directory,
        anchor: Head,
    ) -> Result<Found, AuditError> {
        let Some(number) = self.segments.last() else {
            return self.nothing_there(directory, anchor);
        };
        let begun = self.seal_of(number.wrapping_sub(1)).and_then(beginning_after);
        let known = Anchor::AtLeast(anchor);
        let mut verifier = match begun {
            Some(beginning) => Verifier::beginning(known, beginning),
            None => Verifier::new(known),
        };
        verifier = verifier.comparing(self.marks.clone()).with_tree();
        let name = segment_name(*number);
        let file = directory.open_to_read(&name)?;
        // What was written may not be on disk yet if its writer was killed. And after a
        // failed fsync memory may hold what the disk does not: it is read from there.
        file.sync_data().map_err(AuditError::unsynced(directory.path().join(&name)))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(AuditError::io("read from the disk", directory.path().join(&name)))?;
        feed_all(directory, &name, &file, &mut verifier)?;
        let tree = verifier.tree().cloned().unwrap_or_default();
        let report = verifier.finish();
        match report.verdict {
            Verdict::Intact | Verdict::Incomplete(Gap::TornTail { .. }) => Ok(Found {
                log_id: report.log_id,
                end: report.end,
                tree,
                torn_bytes: report.torn_bytes,
                verified: report.records,
            }),
            bad => Err(directory.damaged(format!("{bad} (in {name})"))),
        }
    }

    fn nothing_there(&self, directory: &Directory, anchor: Head) -> Result<Found, AuditError> {
        let known = self.trail.last().map_or(0, |last| last.size).max(anchor.seq);
        if known > 0 {
            let words = format!("the log ends at record 0, but record {known} was written");
            return Err(directory.damaged(words));
        }
        let tree = Tree::new();
        Ok(Found { log_id: None, end: None, tree, torn_bytes: 0, verified: 0 })
    }

    /// A checkpoint that a crash cut is gone: the next one says more.
    pub(super) fn cut_torn_note(&self, directory: &Directory) -> Result<(), AuditError> {
        let Some((number, good)) = self.torn else { return Ok(()) };
        let name = notes_name(number);
        let file = directory.open_or_create(&name)?;
        let io = |step| AuditError::io::<std::io::Error>(step, directory.path().join(&name));
        file.set_len(good).map_err(io("cut back"))?;
        file.sync_all().map_err(io("sync"))
    }
}

/// Where the segment behind a seal begins.
fn beginning_after(seal: &Checkpoint) -> Option<Beginning> {
    Some(Beginning {
        log_id: seal.log_id,
        before: Head { seq: seal.size, hash: seal.head },
        tree: Tree::from_peaks(seal.size, seal.sealed.as_ref()?.peaks.clone())?,
        pruned: false,
    })
}

/// Lets a verifier read a whole segment.
fn feed_all(
    directory: &Directory,
    name: &str,
    mut file: &File,
    verifier: &mut Verifier,
) -> Result<(), AuditError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer);
        match read.map_err(AuditError::io("read", directory.path().join(name)))? {
            0 => return Ok(()),
            n => verifier.feed(&buffer[..n]),
        }
    }
}

/// What the first records of a segment say.
#[derive(Debug, Default)]
struct Opened {
    log_id: Option<Id128>,
    /// The log that was there before this one.
    replaces: Option<Id128>,
    /// There is nothing but what the opening of a log records.
    is_all: bool,
    /// The first of them begins the log.
    begins: bool,
}

impl Opened {
    fn read(directory: &Directory, name: &str) -> Result<Self, AuditError> {
        let mut file = BufReader::new(directory.open_to_read(name)?);
        let mut opened = Self { is_all: true, ..Self::default() };
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX) + 1;
        loop {
            let mut line = Vec::new();
            let read = file.by_ref().take(limit).read_until(b'\n', &mut line);
            read.map_err(AuditError::io("read", directory.path().join(name)))?;
            // A torn line is no record, and one that is none is found by the verifier.
            let line = line.strip_suffix(b"\n");
            let Some(Ok(record)) = line.map(Record::parse) else { return Ok(opened) };
            if opened.log_id.is_none() {
                opened.log_id = Some(record.log_id);
                opened.begins = record.seq == 1 && *record.event == *Event::LogOpened.name();
                opened.replaces =
                    record.details.get(&Text::from(REPLACES)).and_then(|id| id.parse().ok());
            }
            if !OF_OPENING.iter().any(|event| *record.event == *event.name()) {
                opened.is_all = false;
                return Ok(opened);
            }
        }
    }
}

/// As much of it as is text.
fn text_of(bytes: &[u8]) -> &str {
    let good = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    str::from_utf8(&bytes[..good]).unwrap_or_default()
}

/// Whether the log's own key signs in these notes.
fn has_start(bytes: &[u8]) -> bool {
    let (notes, _) = split_notes(text_of(bytes));
    notes.into_iter().filter_map(Note::read).any(|note| note.checkpoint.kind == Kind::Start)
}

/// Whether a file has this length and its last line is this record.
fn ends_with(file: &File, bytes: u64, seal: &Checkpoint) -> std::io::Result<bool> {
    if file.metadata()?.len() != bytes {
        return Ok(false);
    }
    let window = bytes.min(u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX) + 2);
    let mut tail = vec![0; usize::try_from(window).unwrap_or(0)];
    file.read_exact_at(&mut tail, bytes - window)?;
    let Some(tail) = tail.strip_suffix(b"\n") else { return Ok(false) };
    let start = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end = Head::of_line(&tail[start..]);
    Ok(end.is_ok_and(|end| end == Head { seq: seal.size, hash: seal.head }))
}
