//! Verification: reads a log as it lies and names the first bad record.

use super::chain::{genesis, record_hash};
use super::judge::{Line, Link, Point, Seen, Trouble};
use super::mark::{Mark, Marks};
use super::merkle::Tree;
use super::remark::Remarks;
use super::scan::glance;
use super::verdict::{Damage, Finding, Gap, Report, Verdict, span};
use super::{Event, Hash, Head, Id128, MAX_LINE_BYTES, Record, RecordError};

/// What is known about the end of the log from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Nothing: a missing end cannot be seen.
    None,
    /// This record was written; there may be more after it.
    AtLeast(Head),
    /// This record was written and none after it.
    Exactly(Head),
}

impl Anchor {
    pub(super) fn head(&self) -> Option<Head> {
        match self {
            Self::None => None,
            Self::AtLeast(head) | Self::Exactly(head) => Some(*head),
        }
    }

    /// The known hash of record `seq`.
    pub(super) fn hash_of(&self, seq: u64) -> Option<Hash> {
        self.head().filter(|head| head.seq == seq && seq > 0).map(|head| head.hash)
    }

    /// Record `seq` is known to have been written.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.head().is_some_and(|head| head.seq >= seq)
    }

    /// Nothing was written after record `seq`.
    pub(super) fn ends_at(&self, seq: u64) -> bool {
        matches!(self, Self::Exactly(head) if head.seq == seq)
    }
}

/// Reads a log in pieces of any size. Memory stays bounded whatever the bytes.
#[derive(Debug)]
pub struct Verifier {
    anchor: Anchor,
    partial: Vec<u8>,
    partial_bytes: u64,
    lines: u64,
    whole_lines: u64,
    first_error: Option<RecordError>,
    /// The last good record and the one before it.
    last: Point,
    before: Point,
    /// The last good record is not the one that the anchor knows.
    off_anchor: bool,
    trouble: Option<Trouble>,
    scratch: Vec<u8>,
    marks: Marks,
    remarks: Remarks,
    first: u64,
    /// The log begins after this record, and must say that what was before is pruned.
    pruned: Option<(Head, bool)>,
}

/// Where a log begins that does not begin with record 1.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The log.
    pub log_id: Id128,
    /// The record before its first one.
    pub before: Head,
    /// The tree of everything before.
    pub tree: Tree,
    /// A record of the log must say that what is missing was pruned.
    pub pruned: bool,
}

impl Verifier {
    /// A verification from a later record on.
    #[must_use]
    pub fn beginning(anchor: Anchor, beginning: Beginning) -> Self {
        let Beginning { log_id, before, tree, pruned } = beginning;
        let last = Point { seq: before.seq, link: Some((log_id, before.hash)), line: 0 };
        let mut verifier = Self::new(anchor);
        verifier.marks = Marks::from(tree);
        verifier.last = last;
        verifier.first = before.seq + 1;
        verifier.pruned = pruned.then_some((before, false));
        verifier
    }

    /// Also compares with these, in any order. To be said before the first line.
    #[must_use]
    pub fn comparing(mut self, marks: Vec<Mark>) -> Self {
        let highest = marks.iter().max_by_key(|mark| mark.seq);
        if let Some(highest) = highest.filter(|mark| !self.anchor.covers(mark.seq))
            && let Some(hash) = highest.hash
        {
            self.anchor = Anchor::AtLeast(Head { seq: highest.seq, hash });
        }
        self.marks.expect(marks);
        self
    }

    /// The tree of all records that hold so far, when something is compared with it.
    #[must_use]
    pub fn tree(&self) -> Option<&Tree> {
        self.marks.tree()
    }

    /// The tree is wanted although nothing is compared with it yet.
    #[must_use]
    pub fn with_tree(mut self) -> Self {
        self.marks.keep_tree();
        self
    }

    /// The last record that holds so far.
    #[must_use]
    pub fn end(&self) -> Option<Head> {
        self.last.link.map(|(_, hash)| Head { seq: self.last.seq, hash })
    }

    /// No damage so far.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.trouble.is_none() && !self.off_anchor && self.marks.mismatch().is_none()
    }

    /// A verification from the first record on.
    #[must_use]
    pub fn new(anchor: Anchor) -> Self {
        Self {
            anchor,
            partial: Vec::new(),
            partial_bytes: 0,
            lines: 0,
            whole_lines: 0,
            first_error: None,
            last: Point::START,
            before: Point::START,
            off_anchor: false,
            trouble: None,
            scratch: Vec::with_capacity(4096),
            marks: Marks::default(),
            remarks: Remarks::default(),
            first: 1,
            pruned: None,
        }
    }

    /// The next bytes of the log; segments follow each other without a break.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if self.partial_bytes == 0 {
                self.line(line);
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.partial);
                self.partial_bytes = 0;
                self.line(&whole);
                self.partial = whole;
                self.partial.clear();
            }
            rest = after;
        }
        self.keep(rest);
    }

    /// Keeps the beginning of a line, but no more than shows that it is too long.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.partial_bytes += bytes.len() as u64;
    }

    /// The next line, without its newline.
    pub fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let seen = self.look(line);
        match &seen {
            Seen::Whole(_) => self.whole_lines += 1,
            Seen::Broken(error) if self.first_error.is_none() => {
                self.first_error = Some(error.clone())
            }
            Seen::Broken(_) => {}
        }
        let at = Line { number: self.lines, seen };
        if let Some(trouble) = &mut self.trouble {
            trouble.observe(&at);
            return;
        }
        match &at.seen {
            Seen::Whole(link) if self.last.is_followed_by(link) && self.may_go_on(link.seq) => {
                self.accept(*link)
            }
            _ => {
                let relinked = self.relinked(&at.seen, line);
                let (last, before) = (self.last, self.before);
                self.trouble = Some(Trouble::new(last, before, self.off_anchor, at, relinked));
            }
        }
    }

    fn may_go_on(&self, seq: u64) -> bool {
        !self.off_anchor && !self.anchor.ends_at(seq - 1)
    }

    fn accept(&mut self, link: Link) {
        self.before = self.last;
        self.last = Point { seq: link.seq, link: Some((link.log_id, link.hash)), line: self.lines };
        self.marks.see(link.seq, link.hash);
        self.off_anchor = self.anchor.hash_of(link.seq).is_some_and(|known| known != link.hash);
    }

    fn look(&mut self, line: &[u8]) -> Seen {
        if let Some(seen) = glance(line) {
            if self.trouble.is_none() {
                self.remarks.see(&seen);
                if seen.event == Event::LogPruned.name().as_bytes() {
                    self.look_for_pruning(line);
                }
            }
            let (seq, prev, log_id) = (seen.seq, seen.prev, seen.log_id);
            return Seen::Whole(Link { seq, prev, log_id, hash: record_hash(&prev, line) });
        }
        match Record::parse_with(line, &mut self.scratch) {
            Ok(record) => Seen::Whole(Link {
                seq: record.seq,
                prev: record.prev,
                log_id: record.log_id,
                hash: record_hash(&record.prev, line),
            }),
            Err(error) => Seen::Broken(error),
        }
    }

    /// A record that says what was pruned, if it is the one that is missed.
    fn look_for_pruning(&mut self, line: &[u8]) {
        let (Some((before, said)), Ok(record)) = (&mut self.pruned, Record::parse(line)) else {
            return;
        };
        let is = |name: &str, value: String| {
            record.details.get(&super::Text::from(name)).is_some_and(|text| **text == *value)
        };
        *said |= is("last", before.seq.to_string()) && is("last_hash", before.hash.to_string());
    }

    /// The hash that a line would have with the link that belongs there: when
    /// the next record knows that hash, only the link was changed.
    fn relinked(&mut self, seen: &Seen, line: &[u8]) -> Option<Hash> {
        let Seen::Whole(link) = seen else { return None };
        let prev = match self.last.link {
            Some((_, hash)) => hash,
            None => genesis(&link.log_id),
        };
        let mut record = Record::parse(line).ok()?;
        record.prev = prev;
        self.scratch.clear();
        record.write_to(&mut self.scratch);
        Some(record_hash(&prev, &self.scratch))
    }

    /// The end of the log.
    #[must_use]
    pub fn finish(self) -> Report {
        Report {
            verdict: self.verdict(),
            records: self.last.seq + 1 - self.first,
            log_id: self.last.link.map(|(log_id, _)| log_id),
            end: self.end(),
            torn_bytes: self.partial_bytes,
            first: self.first,
            signed: None,
            checkpoints: 0,
            remarks: self.remarks.into_list(),
            journal: None,
        }
    }

    fn verdict(&self) -> Verdict {
        let nothing_known = self.anchor == Anchor::None && self.whole_lines == 0;
        if let (true, Some(error)) = (nothing_known, &self.first_error) {
            return Verdict::Unreadable(error.clone());
        }
        // What was rewritten comes before where the chain stops holding, unless that is
        // just behind: then one record was changed, and the next one witnesses it.
        if let Some(mismatch) = self.marks.mismatch()
            && (self.trouble.is_none() || mismatch.seq < self.last.seq)
        {
            return Verdict::Tampered(mismatch.finding(self.first));
        }
        if let Some(trouble) = &self.trouble {
            return Verdict::Tampered(trouble.judge(&self.anchor));
        }
        let (seq, next) = (self.last.seq, self.last.seq + 1);
        if self.off_anchor {
            return Verdict::Tampered(Finding {
                damage: Damage::Changed,
                seq,
                line: self.lines,
                words: format!(
                    "record {seq} was changed, or records before it were rewritten: it is not the record {seq} that was written"
                ),
            });
        }
        if self.partial_bytes > 0 {
            return if self.anchor.covers(next) {
                Verdict::Tampered(Finding {
                    damage: Damage::Cut,
                    seq: next,
                    line: self.lines + 1,
                    words: format!(
                        "record {next} (line {}) was cut: the log ends inside it",
                        self.lines + 1
                    ),
                })
            } else {
                Verdict::Incomplete(Gap::TornTail { seq: next, bytes: self.partial_bytes })
            };
        }
        if let Some((before, false)) = self.pruned {
            return Verdict::Tampered(Finding {
                damage: Damage::Removed,
                seq: 1,
                line: 1,
                words: format!(
                    "{} missing, and no record says that they were pruned",
                    span(1, before.seq)
                ),
            });
        }
        match self.anchor.head() {
            None => Verdict::Incomplete(Gap::Unanchored),
            Some(head) if head.seq > seq => Verdict::Tampered(Finding {
                damage: Damage::Truncated,
                seq: next,
                line: self.lines,
                words: format!(
                    "the log ends at record {seq}, but record {} was written: {} missing",
                    head.seq,
                    span(next, head.seq)
                ),
            }),
            Some(_) => Verdict::Intact,
        }
    }
}
