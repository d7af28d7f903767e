//! What was done to a log whose chain does not hold at some line.
//!
//! A record is witnessed by the one after it (or by the anchor), so the line
//! where the chain stops holding is not always the line that was touched. The
//! rest of the log is read on and a few facts are kept, in constant memory,
//! from which the simplest explanation is chosen at the end.

use super::chain::genesis;
use super::verdict::{Damage, Finding, span};
use super::verify::Anchor;
use super::{Hash, Id128, RecordError};

/// What one record says about its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) log_id: Id128,
    /// Hash of the line with the link it names itself.
    pub(super) hash: Hash,
}

#[derive(Clone, Debug)]
pub(super) enum Seen {
    Whole(Link),
    Broken(RecordError),
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) seen: Seen,
}

impl Line {
    fn link(&self) -> Option<&Link> {
        match &self.seen {
            Seen::Whole(link) => Some(link),
            Seen::Broken(_) => None,
        }
    }
}

/// A place in the chain after which a record can follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) seq: u64,
    /// Log and hash of the record; `None` before the first one.
    pub(super) link: Option<(Id128, Hash)>,
    pub(super) line: u64,
}

impl Point {
    pub(super) const START: Self = Self { seq: 0, link: None, line: 0 };

    /// `next` is linked to this place.
    fn is_named_by(&self, next: &Link) -> bool {
        match &self.link {
            Some((_, hash)) => next.prev == *hash,
            None => next.prev == genesis(&next.log_id),
        }
    }

    fn shares_log_with(&self, next: &Link) -> bool {
        self.link.is_none_or(|(log_id, _)| log_id == next.log_id)
    }

    pub(super) fn is_followed_by(&self, next: &Link) -> bool {
        next.seq == self.seq + 1 && self.is_named_by(next) && self.shares_log_with(next)
    }

    fn hash(&self) -> Option<Hash> {
        self.link.map(|(_, hash)| hash)
    }
}

/// The true successor was found further down: what does the chain do from there?
#[derive(Debug)]
struct Resumed {
    point: Point,
    /// The first line out of place turned out to be a copy (`false`) or to be
    /// missing from where it belongs (`true`).
    moved: Option<bool>,
}

/// A log whose chain does not hold from one line on.
#[derive(Debug)]
pub(super) struct Trouble {
    last: Point,
    before: Point,
    /// The last good record is not the one that the anchor knows.
    off_anchor: bool,
    suspect: Line,
    relinked: Option<Hash>,
    next: Option<Line>,
    resumed: Option<Resumed>,
}

impl Trouble {
    pub(super) fn new(
        last: Point,
        before: Point,
        off_anchor: bool,
        suspect: Line,
        relinked: Option<Hash>,
    ) -> Self {
        Self { last, before, off_anchor, suspect, relinked, next: None, resumed: None }
    }

    /// A line after the suspect.
    pub(super) fn observe(&mut self, line: &Line) {
        if self.next.is_none() {
            self.next = Some(line.clone());
        }
        let suspect_seq = self.suspect.link().map(|link| link.seq);
        match (&mut self.resumed, line.link()) {
            (None, Some(link)) if self.last.is_followed_by(link) => {
                let point = Point {
                    seq: link.seq,
                    link: Some((link.log_id, link.hash)),
                    line: line.number,
                };
                self.resumed = Some(Resumed { point, moved: None });
            }
            (Some(resumed), Some(link)) if resumed.moved.is_none() => {
                if resumed.point.is_followed_by(link) {
                    resumed.point = Point {
                        seq: link.seq,
                        link: Some((link.log_id, link.hash)),
                        line: line.number,
                    };
                    if suspect_seq == Some(link.seq) {
                        resumed.moved = Some(false);
                    }
                } else {
                    resumed.moved = Some(true);
                }
            }
            _ => {}
        }
    }

    /// The simplest explanation.
    pub(super) fn judge(&self, anchor: &Anchor) -> Finding {
        if anchor.ends_at(self.last.seq) && !self.off_anchor {
            let line = self.suspect.number;
            return self.finding(
                Damage::Inserted,
                self.place(),
                line,
                format!(
                    "line {line} was inserted: record {} was the last that was written",
                    self.last.seq
                ),
            );
        }
        self.two_of_one_number(anchor)
            .or_else(|| self.rewritten_below_the_anchor())
            .or_else(|| self.out_of_place())
            .unwrap_or_else(|| match &self.suspect.seen {
                Seen::Broken(error) => self.not_a_record(error),
                Seen::Whole(link) if !self.last.shares_log_with(link) => self.foreign(link),
                Seen::Whole(link) if self.last.is_named_by(link) => self.changed(
                    self.place(),
                    self.suspect.number,
                    format!("it says it is record {}", link.seq),
                ),
                Seen::Whole(link) if link.seq == self.place() => {
                    self.link_does_not_hold(link, anchor)
                }
                Seen::Whole(link) => self.number_does_not_hold(link, anchor),
            })
    }

    /// Number that belongs where the suspect stands.
    fn place(&self) -> u64 {
        self.last.seq + 1
    }

    fn next_link(&self) -> Option<&Link> {
        self.next.as_ref().and_then(Line::link)
    }

    /// The record after the suspect is the one that follows the suspect's place.
    fn next_keeps_its_place(&self) -> bool {
        self.next_link().is_some_and(|next| next.seq == self.place() + 1)
    }

    /// The suspect claims the number of the last good record, and the same predecessor.
    fn two_of_one_number(&self, anchor: &Anchor) -> Option<Finding> {
        let link = self.suspect.link()?;
        let kept = self.last.hash()?;
        if !self.before.is_followed_by(link) {
            return None;
        }
        let seq = self.last.seq;
        let line = self.suspect.number;
        if kept == link.hash {
            return Some(self.finding(
                Damage::Inserted,
                seq + 1,
                line,
                format!(
                    "line {line} was inserted: it is a copy of record {seq} in the line before it"
                ),
            ));
        }
        let witness = self
            .next_link()
            .filter(|next| next.seq == seq + 1)
            .map(|next| next.prev)
            .or(anchor.hash_of(seq));
        let (inserted, words) = if witness == Some(kept) {
            (line, "the log goes on from the line before it")
        } else if witness == Some(link.hash) {
            (self.last.line, "the log goes on from the line after it")
        } else {
            (self.last.line, "it or the line after it is false, and nothing later tells which")
        };
        Some(self.finding(
            Damage::Inserted,
            seq,
            inserted,
            format!(
                "line {inserted} was inserted: two lines claim to be record {seq}, and {words}"
            ),
        ))
    }

    fn rewritten_below_the_anchor(&self) -> Option<Finding> {
        let seq = self.last.seq;
        self.off_anchor.then(|| self.finding(Damage::Changed, seq, self.last.line, format!(
            "record {seq} (line {}) was changed, or records before it were rewritten: it is not the record {seq} that was written",
            self.last.line
        )))
    }

    /// The true successor stands further down.
    fn out_of_place(&self) -> Option<Finding> {
        let resumed = self.resumed.as_ref()?;
        let line = self.suspect.number;
        let place = self.place();
        let inserted = |what: String| {
            self.finding(
                Damage::Inserted,
                place,
                line,
                format!("line {line} was inserted before record {place}: {what}"),
            )
        };
        let link = match &self.suspect.seen {
            Seen::Broken(error) => return Some(inserted(error.to_string())),
            Seen::Whole(link) if !self.last.shares_log_with(link) => {
                return Some(inserted(format!("it belongs to another log, {}", link.log_id)));
            }
            Seen::Whole(link) => link,
        };
        // The log ended before the chain came to the suspect's number: then the
        // original is not there, unless the suspect was invented.
        let moved = resumed.moved.unwrap_or_else(|| {
            resumed.point.is_followed_by(link)
                || self.next_link().is_some_and(|next| next.seq > place)
        });
        Some(if link.seq > place && moved {
            self.finding(
                Damage::Reordered,
                place,
                line,
                format!(
                    "records were re-ordered: record {} stands in line {line}, where record {place} belongs",
                    link.seq
                ),
            )
        } else if link.seq == place {
            inserted(format!(
                "it claims to be record {place} and is not linked to the record before it"
            ))
        } else {
            inserted(format!("it is a copy of record {}", link.seq))
        })
    }

    fn not_a_record(&self, error: &RecordError) -> Finding {
        let (place, line) = (self.place(), self.suspect.number);
        self.finding(
            Damage::NotCanonical,
            place,
            line,
            format!("record {place} (line {line}) was changed: {error}"),
        )
    }

    fn foreign(&self, link: &Link) -> Finding {
        let (place, line) = (self.place(), self.suspect.number);
        if self.last.is_named_by(link) {
            return self.changed(
                place,
                line,
                format!("it says it belongs to another log, {}", link.log_id),
            );
        }
        let own = self.last.link.map(|(id, _)| id.to_string()).unwrap_or_default();
        self.finding(
            Damage::Foreign,
            place,
            line,
            format!(
                "line {line}, where record {place} belongs, is of another log: {} instead of {own}",
                link.log_id
            ),
        )
    }

    /// The number is right, the link is not: either the link was changed, or
    /// the record before, which nothing else has witnessed.
    fn link_does_not_hold(&self, link: &Link, anchor: &Anchor) -> Finding {
        let (place, line) = (self.place(), self.suspect.number);
        let witness = self
            .next_link()
            .filter(|next| next.seq == place + 1)
            .map(|next| next.prev)
            .or(anchor.hash_of(place));
        let before = self.last.seq;
        if before == 0 || (witness.is_some() && witness == self.relinked) {
            return self.changed(
                place,
                line,
                "what it says of the record before it is false".into(),
            );
        }
        if witness == Some(link.hash) {
            return self.changed(
                before,
                self.last.line,
                format!("record {place} was chained to another record {before}"),
            );
        }
        self.finding(Damage::Changed, before, self.last.line, format!(
            "record {before} (line {}) or record {place} (line {line}) was changed: they do not belong together", self.last.line
        ))
    }

    /// Neither number nor link belong there.
    fn number_does_not_hold(&self, link: &Link, anchor: &Anchor) -> Finding {
        let (place, line) = (self.place(), self.suspect.number);
        let replaced =
            || self.changed(place, line, format!("record {} stands in its place", link.seq));
        if link.seq > place {
            if self.next_keeps_its_place() && link.seq != place + 1 {
                return replaced();
            }
            return self.finding(
                Damage::Removed,
                place,
                line,
                format!(
                    "{} missing: record {} follows in line {line}",
                    span(place, link.seq - 1),
                    link.seq
                ),
            );
        }
        if self.next_keeps_its_place() || anchor.covers(place) {
            return replaced();
        }
        self.finding(
            Damage::Inserted,
            place,
            line,
            format!(
                "line {line} was inserted after record {}: it says it is record {}",
                self.last.seq, link.seq
            ),
        )
    }

    fn changed(&self, seq: u64, line: u64, why: String) -> Finding {
        self.finding(
            Damage::Changed,
            seq,
            line,
            format!("record {seq} (line {line}) was changed: {why}"),
        )
    }

    fn finding(&self, damage: Damage, seq: u64, line: u64, words: String) -> Finding {
        Finding { damage, seq, line, words }
    }
}
