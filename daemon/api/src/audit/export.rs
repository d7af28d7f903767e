//! An excerpt of a log in one file, which proves itself with the public key alone.
//!
//! ```text
//! fetchml-audit-export 1
//! log 0d8e…
//! first 120
//! last 240
//! peaks CsUY… J9b1…          the perfect trees of what is before
//! extension MPA3… …          the perfect trees from there to the checkpoint
//! anchor 90 jfh2… …          that the checkpoint extends this anchor (RFC 6962)
//! notes 3                    how many follow: from a start to the checkpoint
//! …
//! records
//! {"action":…                exactly as they are stored
//! ```
//!
//! The tree of what is before, grown by the records and then by what follows, must
//! have the root that the last note signs. So each record is proved to be in the
//! log, at its place, without those that are not shown.

use super::anchor::AnchorLine;
use super::base64::{decode, encode};
use super::evidence::Known;
use super::merkle::{self, Prover, Tree};
use super::note::{Checkpoint, Kind, MAX_NOTE_BYTES, Note};
use super::remark::Remark;
use super::trail::{NoteError, Trail};
use super::verdict::{Damage, Finding, Gap, span};
use super::verify::Beginning;
use super::{
    Anchor, Hash, Head, Id128, MAX_INTEGER, Record, RecordError, Report, Verdict, Verifier,
};
use std::fmt::Write as _;

const FIRST_LINE: &str = "fetchml-audit-export 1";
/// More is no export: a start, a seal for each segment since, and a last one.
const MAX_NOTES: usize = 1 << 20;
/// Whoever keeps more anchors gives those that matter.
const MAX_ANCHORS: usize = 1000;
const MAX_HEADER_LINE: usize = 64 << 10;

/// Why a file is no export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no export of an audit log: {0}")]
pub struct NoExport(String);

/// What an export says before its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcerptHeader {
    /// The log.
    pub log_id: Id128,
    /// Number of the first record.
    pub first: u64,
    /// Number of the last record.
    pub last: u64,
    peaks: Vec<Hash>,
    extension: Vec<Hash>,
    anchors: Vec<(u64, Vec<Hash>)>,
    notes: Vec<String>,
}

/// Makes an export while the whole log passes by.
#[derive(Debug)]
pub struct Excerpt {
    first: u64,
    last: u64,
    checkpoint: Checkpoint,
    notes: Vec<String>,
    tree: Tree,
    peaks: Vec<Hash>,
    extension: Prover,
    anchors: Vec<(u64, Prover)>,
}

impl Excerpt {
    /// An export of these records, proved by the last of these notes. `before` is the
    /// tree of what was pruned.
    ///
    /// # Errors
    /// [`NoExport`] in words for whoever asked.
    pub fn new(
        (first, last): (u64, u64),
        notes: &[Note],
        before: Tree,
        anchors: &[AnchorLine],
    ) -> Result<Self, NoExport> {
        let no = |words: String| Err(NoExport(words));
        let Some(checkpoint) = notes.last().map(|note| note.checkpoint.clone()) else {
            return no("the log has no checkpoint".to_owned());
        };
        let size = checkpoint.size;
        if first == 0 || first > last || last > size || first <= before.size() {
            let begin = before.size() + 1;
            return no(format!(
                "records {first} to {last} were asked for, there are {begin} to {size}"
            ));
        }
        if anchors.len() > MAX_ANCHORS {
            let count = anchors.len();
            return no(format!(
                "{count} anchors were given, the most is {MAX_ANCHORS}: give fewer"
            ));
        }
        let mut provers = Vec::new();
        for anchor in anchors {
            if anchor.size > size || anchor.log_id != checkpoint.log_id {
                return no(format!("the anchor at record {} is not of this log", anchor.size));
            }
            provers.push((anchor.size, Prover::new(merkle::consistency(anchor.size, size))));
        }
        let mut excerpt = Self {
            first,
            last,
            notes: needed(notes),
            checkpoint,
            peaks: before.peaks().to_vec(),
            tree: before,
            extension: Prover::new(merkle::extension(last, size)),
            anchors: provers,
        };
        if excerpt.tree.size() + 1 < first {
            excerpt.peaks.clear();
        }
        Ok(excerpt)
    }

    /// The next record of the log, by its hash. Whether it is to be exported.
    pub fn see(&mut self, seq: u64, hash: Hash) -> bool {
        if seq > self.checkpoint.size {
            return false;
        }
        self.tree.push(hash);
        self.extension.see(seq - 1, hash);
        for (_, prover) in &mut self.anchors {
            prover.see(seq - 1, hash);
        }
        if seq + 1 == self.first {
            self.peaks = self.tree.peaks().to_vec();
        }
        (self.first..=self.last).contains(&seq)
    }

    /// What stands before the records.
    ///
    /// # Errors
    /// [`NoExport`] when the records that passed by are not those of the checkpoint,
    /// or an anchor is older than what was pruned.
    pub fn header(self) -> Result<String, NoExport> {
        if self.tree.size() != self.checkpoint.size || self.tree.root() != self.checkpoint.root {
            return Err(NoExport("the log is not what its checkpoint says: verify it".to_owned()));
        }
        let texts = |hashes: &[Hash]| {
            hashes.iter().fold(String::new(), |mut text, hash| {
                // Writing to a string cannot fail.
                let _ = write!(text, " {}", encode(&hash.0));
                text
            })
        };
        let extension = self.extension.finish().unwrap_or_default();
        let mut text = format!(
            "{FIRST_LINE}\nlog {}\nfirst {}\nlast {}\npeaks{}\nextension{}\n",
            self.checkpoint.log_id,
            self.first,
            self.last,
            texts(&self.peaks),
            texts(&extension)
        );
        for (size, prover) in self.anchors {
            let Some(proof) = prover.finish() else {
                let words = format!("the anchor at record {size} is older than what was pruned");
                return Err(NoExport(words));
            };
            let _ = writeln!(text, "anchor {size}{}", texts(&proof));
        }
        let _ = writeln!(text, "notes {}", self.notes.len());
        for note in &self.notes {
            text.push_str(note);
        }
        text.push_str("records\n");
        Ok(text)
    }
}

/// Of all notes of a log, those by which the key of the last one is known.
fn needed(notes: &[Note]) -> Vec<String> {
    let start = notes.iter().rposition(|note| note.checkpoint.kind == Kind::Start).unwrap_or(0);
    let last = notes.len() - 1;
    let needed = notes.iter().enumerate().skip(start).filter(|(place, note)| {
        *place == start || *place == last || note.checkpoint.kind == Kind::Seal
    });
    needed.map(|(_, note)| note.text().to_owned()).collect()
}

impl ExcerptHeader {
    /// Whether bytes are the beginning of an export.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(FIRST_LINE.as_bytes())
    }

    /// Reads it, line by line, up to where the records begin.
    ///
    /// # Errors
    /// [`NoExport`] when it has another form.
    pub fn read(next_line: &mut impl FnMut(usize) -> Option<String>) -> Result<Self, NoExport> {
        let mut line =
            || next_line(MAX_HEADER_LINE).ok_or_else(|| NoExport("it ends early".into()));
        if line()? != FIRST_LINE {
            return Err(NoExport(format!("it does not begin with {FIRST_LINE:?}")));
        }
        let log_id = value(&line()?, "log")?;
        let (first, last) = (value(&line()?, "first")?, value(&line()?, "last")?);
        let (peaks, extension) = (hashes(&line()?, "peaks")?, hashes(&line()?, "extension")?);
        let mut anchors = Vec::new();
        let count: usize = loop {
            let text = line()?;
            let Some(anchor) = text.strip_prefix("anchor ") else { break value(&text, "notes")? };
            let (size, proof) = anchor.split_once(' ').unwrap_or((anchor, ""));
            let size = value(&format!("anchor {size}"), "anchor")?;
            let proof = match proof {
                "" => Vec::new(),
                proof => hashes(&format!("proof {proof}"), "proof")?,
            };
            if anchors.len() == MAX_ANCHORS {
                return Err(NoExport(format!("it has more than {MAX_ANCHORS} anchors")));
            }
            anchors.push((size, proof));
        };
        if first == 0 || first > last || last > MAX_INTEGER || count > MAX_NOTES {
            return Err(NoExport("its numbers cannot be".into()));
        }
        let mut notes = Vec::new();
        for _ in 0..count {
            let mut note = String::new();
            while !note.lines().last().is_some_and(|line| line.starts_with("— ")) {
                note.push_str(&line()?);
                note.push('\n');
                if note.len() > MAX_NOTE_BYTES {
                    return Err(NoExport("a checkpoint in it is too long".into()));
                }
            }
            notes.push(note);
        }
        if line()? != "records" {
            return Err(NoExport("there are no records after its checkpoints".into()));
        }
        Ok(Self { log_id, first, last, peaks, extension, anchors, notes })
    }

    /// Then the records, of which the first bytes are looked at.
    #[must_use]
    pub fn examine(self, known: Known, first_bytes: &[u8]) -> Tail {
        let prev = memchr::memchr(b'\n', first_bytes)
            .and_then(|end| Record::parse(&first_bytes[..end]).ok())
            .map(|record| record.prev);
        let before = Tree::from_peaks(self.first - 1, self.peaks.clone());
        let malformed = match (&before, prev) {
            (None, _) => Some("its peaks are not those of its first record".to_owned()),
            (_, None) => Some("its first record cannot be read".to_owned()),
            _ => None,
        };
        let verifier = match (before, prev) {
            (Some(tree), Some(hash)) if self.first > 1 => {
                let before = Head { seq: self.first - 1, hash };
                let (log_id, pruned) = (self.log_id, false);
                Verifier::beginning(Anchor::None, Beginning { log_id, before, tree, pruned })
            }
            _ => Verifier::new(Anchor::None),
        };
        let inside = known.anchors.iter().filter(|a| (self.first..=self.last).contains(&a.size));
        let mut marks: Vec<_> = inside.map(AnchorLine::mark).collect();
        marks.extend(
            known.heads.iter().map(|h| super::Mark::of_head(*h, "the head that was noted")),
        );
        marks.retain(|mark| mark.seq <= self.last);
        Tail { verifier: verifier.comparing(marks).with_tree(), header: self, known, malformed }
    }
}

fn value<T: std::str::FromStr>(line: &str, name: &str) -> Result<T, NoExport> {
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|rest| rest.parse().ok())
        .ok_or_else(|| NoExport(format!("there is no line {name:?} where one belongs")))
}

fn hashes(line: &str, name: &str) -> Result<Vec<Hash>, NoExport> {
    let rest =
        line.strip_prefix(name).ok_or_else(|| NoExport(format!("there is no line {name:?}")))?;
    let read: Option<Vec<_>> = rest.split(' ').skip(1).map(|text| decode(text).map(Hash)).collect();
    read.ok_or_else(|| NoExport(format!("a hash in the line {name:?} cannot be read")))
}

/// The records of an export that is being examined.
#[derive(Debug)]
pub struct Tail {
    verifier: Verifier,
    header: ExcerptHeader,
    known: Known,
    malformed: Option<String>,
}

impl Tail {
    /// The next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.verifier.feed(bytes);
    }

    /// The judgement.
    #[must_use]
    pub fn finish(self) -> Report {
        let Self { verifier, header, known, malformed } = self;
        let tree = verifier.tree().cloned().unwrap_or_default();
        let mut report = verifier.finish();
        if let Verdict::Tampered(_) | Verdict::Unreadable(_) = report.verdict {
            return report;
        }
        if let Some(why) = malformed {
            report.verdict = Verdict::Unreadable(RecordError::Malformed(why));
            return report;
        }
        let end = report.end.map_or(header.first - 1, |end| end.seq);
        if report.torn_bytes > 0 || end < header.last {
            report.verdict = Verdict::Tampered(truncated(end, header.last, report.torn_bytes > 0));
            return report;
        }
        if end > header.last {
            report.verdict = Verdict::Tampered(inserted(header.last));
            return report;
        }
        report.verdict = header.judge(&known, tree, end, &mut report);
        report
    }
}

impl ExcerptHeader {
    fn judge(&self, known: &Known, tree: Tree, end: u64, report: &mut Report) -> Verdict {
        let mut trail = Trail::sparse(known.keys.clone());
        for (place, note) in self.notes.iter().enumerate() {
            if let Err(error) = trail.follow(note) {
                return Verdict::Tampered(forged(end, place + 1, &error));
            }
        }
        let Some(last) = trail.last() else { return Verdict::Incomplete(Gap::NoCheckpoint) };
        let mut grown = tree;
        let ranges = merkle::extension(end, last.size);
        let fits = end <= last.size
            && ranges.len() == self.extension.len()
            && ranges.iter().zip(&self.extension).all(|(range, root)| {
                grown.append((range.end - range.start).ilog2(), *root).is_some()
            })
            && grown.root() == last.root
            && last.log_id == self.log_id
            && report.log_id == Some(self.log_id);
        if !fits {
            return Verdict::Tampered(not_of_the_checkpoint(report.first, end, last.size));
        }
        for anchor in &known.anchors {
            if let Some(verdict) = self.off_anchor(anchor, last, end) {
                return verdict;
            }
        }
        report.checkpoints = 1;
        if known.keys.is_empty() {
            let words = "no key was given: nobody's signature was checked".to_owned();
            report.remarks.push(Remark { seq: 0, words });
            return Verdict::Incomplete(Gap::Unanchored);
        }
        report.signed = Some(end);
        Verdict::Intact
    }

    /// What an anchor says against it.
    fn off_anchor(&self, anchor: &AnchorLine, last: &Checkpoint, end: u64) -> Option<Verdict> {
        let size = anchor.size;
        if anchor.log_id != self.log_id {
            return Some(Verdict::Tampered(Finding {
                damage: Damage::Foreign,
                seq: self.first,
                line: 1,
                words: format!(
                    "this is of log {}, the anchor of log {}",
                    self.log_id, anchor.log_id
                ),
            }));
        }
        if (self.first..=end).contains(&size) {
            // The records themselves were compared with it.
            return None;
        }
        let proof = match self.anchors.iter().find(|(of, _)| *of == size) {
            Some((_, proof)) => proof.as_slice(),
            None if size == last.size => &[],
            None => return Some(Verdict::Incomplete(Gap::AnchorElsewhere { seq: size })),
        };
        let extends = merkle::extends(size, &anchor.root, last.size, &last.root, proof);
        (!extends).then(|| {
            Verdict::Tampered(Finding {
                damage: Damage::Rewritten,
                seq: self.first,
                line: 1,
                words: format!(
                    "the log was rewritten: its checkpoint at record {} does not go on from the \
                     anchor at record {size}",
                    last.size
                ),
            })
        })
    }
}

fn truncated(end: u64, last: u64, torn: bool) -> Finding {
    Finding {
        damage: if torn { Damage::Cut } else { Damage::Truncated },
        seq: end + 1,
        line: 0,
        words: match torn {
            true => format!("record {} was cut: the export ends inside it", end + 1),
            false => format!("the export ends at record {end}: {} missing", span(end + 1, last)),
        },
    }
}

fn inserted(last: u64) -> Finding {
    let words = format!("the export says that it ends with record {last}, and goes on");
    Finding { damage: Damage::Inserted, seq: last + 1, line: 0, words }
}

fn forged(end: u64, place: usize, error: &NoteError) -> Finding {
    Finding {
        damage: Damage::Checkpoint,
        seq: end,
        line: 0,
        words: format!("checkpoint {place} of the export was changed or forged: {error}"),
    }
}

fn not_of_the_checkpoint(first: u64, end: u64, size: u64) -> Finding {
    Finding {
        damage: Damage::Rewritten,
        seq: end,
        line: end + 1 - first,
        words: format!(
            "record {end} was changed, or records from {first} on were rewritten: they are not \
             those of the checkpoint at record {size}"
        ),
    }
}
