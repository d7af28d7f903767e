//! A whole log with everything that is known of it: its checkpoints, the keys that
//! may sign them, and what was noted elsewhere.

use super::anchor::AnchorLine;
use super::key::PublicKey;
use super::mark::Mark;
use super::merkle::Tree;
use super::note::{Checkpoint, Kind};
use super::remark::{Beats, Remark};
use super::trail::{NoteError, Trail};
use super::verdict::{Damage, Finding, Gap};
use super::verify::Beginning;
use super::{Anchor, Head, Id128, Record, Report, Verdict, Verifier};

/// What a verifier knows from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Keys that may sign a start. Without any, nobody's signature is believed.
    pub keys: Vec<PublicKey>,
    /// What was noted elsewhere.
    pub anchors: Vec<AnchorLine>,
    /// Ends that are known otherwise: the file `head`, a number and a hash.
    pub heads: Vec<Head>,
    /// The log is being written while it is read, by who told these heads: what
    /// comes after them is new.
    pub live: bool,
}

/// First the checkpoints are read.
#[derive(Debug)]
pub struct Checkpoints {
    known: Known,
    trail: Trail,
    marks: Vec<Mark>,
    seals: Vec<Checkpoint>,
    count: u64,
    beats: Beats,
    /// Some were wrong, and nothing after them was believed.
    wrong: Option<Finding>,
    /// The last file of notes ends inside one.
    torn: bool,
    any: bool,
}

impl Checkpoints {
    /// None read yet.
    #[must_use]
    pub fn new(known: Known) -> Self {
        let trail = Trail::new(known.keys.clone());
        Self {
            known,
            trail,
            marks: Vec::new(),
            seals: Vec::new(),
            count: 0,
            beats: Beats::default(),
            wrong: None,
            torn: false,
            any: false,
        }
    }

    /// The next file of notes, in the order of their names.
    pub fn read(&mut self, name: &str, bytes: &[u8]) {
        // An empty one is of a rotation that ended before its seal was whole.
        if bytes.is_empty() {
            return;
        }
        if self.torn {
            // It was not the last one.
            self.torn = false;
            self.complain(name, 0, "the file before it ends inside a checkpoint");
        }
        if self.wrong.is_some() {
            return;
        }
        self.any = true;
        let Some((whole, rest)) = whole_text(bytes) else {
            return self.complain(name, 0, &NoteError::Malformed.to_string());
        };
        let (marks, seals, count) = (&mut self.marks, &mut self.seals, &mut self.count);
        let beats = &mut self.beats;
        let followed = self.trail.follow_all(whole, |checkpoint| {
            *count += 1;
            beats.see(checkpoint);
            marks.push(mark(checkpoint));
            if checkpoint.sealed.is_some() {
                seals.push(checkpoint.clone());
            }
        });
        match followed {
            Ok(begun) => self.torn = !begun.is_empty() || !rest.is_empty(),
            Err((place, error)) => self.complain(name, place + 1, &error.to_string()),
        }
    }

    fn complain(&mut self, name: &str, place: usize, why: &str) {
        let seq = self.trail.last().map_or(1, |last| last.size + 1);
        let words = match place {
            0 => format!("the checkpoints in {name} were changed: {why}"),
            _ => format!("checkpoint {place} in {name} was changed or forged: {why}"),
        };
        let line = u64::try_from(place).unwrap_or(0);
        self.wrong.get_or_insert(Finding { damage: Damage::Checkpoint, seq, line, words });
    }

    /// Then the records, of which the first bytes are looked at to see where the log
    /// begins.
    #[must_use]
    pub fn examine(self, first_bytes: &[u8]) -> Examination {
        let Known { heads, anchors, .. } = &self.known;
        let anchor = heads.iter().max_by_key(|head| head.seq);
        let anchor = anchor.map_or(Anchor::None, |head| Anchor::AtLeast(*head));
        let mut marks = self.marks.clone();
        marks.extend(heads.iter().map(|head| Mark::of_head(*head, "the head that was noted")));
        marks.extend(anchors.iter().map(AnchorLine::mark));
        let verifier = match self.beginning(first_bytes) {
            None => Verifier::new(anchor),
            Some(beginning) => Verifier::beginning(anchor, beginning),
        };
        Examination { verifier: verifier.comparing(marks), checkpoints: self }
    }

    /// A log whose first record is a later one begins where a segment was sealed.
    fn beginning(&self, first_bytes: &[u8]) -> Option<Beginning> {
        let end = memchr::memchr(b'\n', first_bytes)?;
        let record = Record::parse(&first_bytes[..end]).ok()?;
        let seal = self.seals.iter().find(|seal| seal.size + 1 == record.seq)?;
        Some(Beginning {
            log_id: seal.log_id,
            before: Head { seq: seal.size, hash: seal.head },
            tree: Tree::from_peaks(seal.size, seal.sealed.as_ref()?.peaks.clone())?,
            pruned: true,
        })
    }
}

fn mark(checkpoint: &Checkpoint) -> Mark {
    let (seq, root, hash) = (checkpoint.size, checkpoint.root, checkpoint.head);
    let from = format!("the checkpoint at record {seq}");
    Mark { seq, root: Some(root), hash: Some(hash), from }
}

/// What is text, and what is not: a crash can cut a letter of several bytes.
fn whole_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some((text, &[])),
        Err(error) => {
            let (text, rest) = bytes.split_at(error.valid_up_to());
            let text = std::str::from_utf8(text).ok()?;
            error.error_len().is_none().then_some((text, rest))
        }
    }
}

/// A log that is being examined.
#[derive(Debug)]
pub struct Examination {
    verifier: Verifier,
    checkpoints: Checkpoints,
}

impl Examination {
    /// The next bytes; segments follow each other without a break.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.verifier.feed(bytes);
    }

    /// The judgement.
    #[must_use]
    pub fn finish(self) -> Report {
        let Self { verifier, checkpoints } = self;
        let mut report = verifier.finish();
        let end = report.end.map_or(0, |end| end.seq);
        let held = checkpoints.marks.iter().filter(|mark| mark.seq <= end);
        report.checkpoints =
            checkpoints.count.min(u64::try_from(held.clone().count()).unwrap_or(0));
        if !checkpoints.known.keys.is_empty() {
            report.signed = held.map(|mark| mark.seq).max();
        }
        checkpoints.judge(&mut report, end);
        report.remarks.extend(checkpoints.beats.into_list());
        report
    }
}

impl Checkpoints {
    fn judge(&self, report: &mut Report, end: u64) {
        if let Some(wrong) = &self.wrong {
            match report.verdict {
                Verdict::Tampered(_) => {
                    let words = wrong.words.clone();
                    report.remarks.push(Remark { seq: wrong.seq, words });
                }
                _ => report.verdict = Verdict::Tampered(wrong.clone()),
            }
        }
        if let (Some(log_id), false) = (report.log_id, self.is_damaged(report))
            && let Some(foreign) = self.known.anchors.iter().find(|a| a.log_id != log_id)
        {
            report.verdict = Verdict::Tampered(foreign_anchor(log_id, foreign));
        }
        if let Verdict::Intact | Verdict::Incomplete(Gap::Unanchored) = report.verdict {
            report.verdict = self.how_complete(report, end);
        }
        if self.known.keys.is_empty() && self.any {
            let words = "no key was given: nobody's signature was checked".to_owned();
            report.remarks.push(Remark { seq: 0, words });
        }
    }

    fn is_damaged(&self, report: &Report) -> bool {
        matches!(report.verdict, Verdict::Tampered(_) | Verdict::Unreadable(_))
    }

    /// What is there holds. Is it everything?
    fn how_complete(&self, report: &Report, end: u64) -> Verdict {
        // What was pruned can still be compared: its checkpoints are kept.
        for anchor in self.known.anchors.iter().filter(|anchor| anchor.size < report.first) {
            let kept = self.marks.iter().find(|mark| mark.seq == anchor.size);
            match kept {
                None => return Verdict::Incomplete(Gap::AnchorElsewhere { seq: anchor.size }),
                Some(mark) if mark.root == Some(anchor.root) => {}
                Some(_) => return Verdict::Tampered(pruned_off_anchor(anchor)),
            }
        }
        if !self.any {
            return Verdict::Incomplete(Gap::NoCheckpoint);
        }
        if self.known.keys.is_empty() {
            return report.verdict.clone();
        }
        let Some(last) = self.trail.last() else { return Verdict::Incomplete(Gap::NoCheckpoint) };
        if self.known.live {
            return Verdict::Intact;
        }
        if last.size < end {
            return Verdict::Incomplete(Gap::Unsigned { from: last.size + 1 });
        }
        match last.kind {
            kind if kind.may_end() && !self.torn => Verdict::Intact,
            Kind::Seal => Verdict::Incomplete(Gap::NextMissing { seq: end }),
            _ => Verdict::Incomplete(Gap::Open { seq: end }),
        }
    }
}

fn foreign_anchor(log_id: Id128, anchor: &AnchorLine) -> Finding {
    Finding {
        damage: Damage::Foreign,
        seq: 1,
        line: 1,
        words: format!("this is log {log_id}, and the anchor is of log {}", anchor.log_id),
    }
}

fn pruned_off_anchor(anchor: &AnchorLine) -> Finding {
    let seq = anchor.size;
    Finding {
        damage: Damage::Rewritten,
        seq,
        line: 0,
        words: format!(
            "records up to {seq} were rewritten before they were pruned: the checkpoint that was \
             kept is not that of the anchor"
        ),
    }
}
