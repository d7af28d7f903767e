//! The journal's copy of the log beside the log itself.
//!
//! The copy is no proof: journald drops, forgets, and keeps what anybody writes. But
//! who changes the files has to change the journal as well, and what is missing there
//! can be said and sent again. First the journal is read, the newest entry first, then
//! the log passes by; what is in the log only is missing in the journal, and what is
//! in the journal only was cut from the log.

mod entry;
#[cfg(test)]
mod tests;

pub use entry::{Entry, FIELDS, Sighting, UNIT, matches};

use super::remark::Remark;
use super::verdict::{Damage, Finding, Gap, Report, Verdict};
use super::{Hash, Head, Id128, Record};
use entry::{Copied, Kind};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Copies that are kept in memory, and so far back is compared.
const MAX_COPIES: usize = 1_000_000;
/// So many of each kind are told; the others are counted.
const MAX_TOLD: usize = 10;
/// Runs of missing records that are kept apart; later ones are one.
const MAX_RUNS: usize = 10_000;
/// A copy follows its record; so long after it nobody misses it.
const GRACE_USEC: u64 = 5_000_000;
/// journald tells what it suppressed with the next message that it takes.
const SLACK_USEC: u64 = 1_000_000;

/// Why records are missing in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// journald says that it suppressed messages of the supervisor then.
    RateLimit,
    /// The supervisor says that journald did not take them in time.
    NotTaken,
    /// Nobody says why: journald was stopped, lost them in a crash, or they were deleted.
    Unexplained,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RateLimit => "journald's rate limit dropped them",
            Self::NotTaken => "journald did not take them in time",
            Self::Unexplained => {
                "nothing says why: journald was stopped, lost them in a crash, or they were deleted"
            }
        })
    }
}

/// Records one after the other that the journal lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Why.
    pub why: Lost,
    #[serde(skip)]
    first_usec: u64,
}

/// Whether the journal has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has a copy of it.
    Copied,
    /// It should have one, and has none.
    Missing,
    /// It is older than what the journal keeps or than what was read of it.
    Forgotten,
    /// The copy may be on its way.
    Pending,
    /// What it has is another record of this number.
    Differs,
}

/// What a comparison says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Records of which the journal has a copy.
    pub copied: u64,
    /// Of these, copies that were sent again later.
    pub replayed: u64,
    /// Records that are older than what the journal keeps.
    pub forgotten: u64,
    /// Records that it lacks, in order.
    pub missing: Vec<Missing>,
    /// Entries that look like ours and are by others.
    pub imitations: u64,
    /// Some of them.
    #[serde(serialize_with = "words_of")]
    pub imitators: Vec<Sighting>,
    /// Copies by supervisors of other logs, such as one that was moved away.
    pub other_logs: u64,
    /// The first record on which log and journal do not agree.
    #[serde(skip)]
    pub finding: Option<Finding>,
}

fn words_of<S: serde::Serializer>(list: &[Sighting], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(list.iter().map(|one| &one.words))
}

impl Comparison {
    /// How many records are missing.
    #[must_use]
    pub fn missing_records(&self) -> u64 {
        self.missing.iter().map(|run| run.last - run.first + 1).sum()
    }

    /// Adds what was found to a report. What the journal knows better is tampering;
    /// what it lacks makes an intact log one that could not be compared in full;
    /// imitations, which any user can write, change no verdict.
    pub fn add_to(mut self, report: &mut Report) {
        let mut remark = |seq, words| report.remarks.push(Remark { seq, words });
        if self.forgotten > 0 {
            let words = format!("{} records are older than what the journal keeps", self.forgotten);
            remark(0, words);
        }
        for run in self.missing.iter().take(MAX_TOLD) {
            let Missing { first, last, why, .. } = run;
            let are = super::verdict::span(*first, *last);
            remark(*first, format!("{are} missing in the journal: {why}"));
        }
        if let Some(more) = self.missing.len().checked_sub(MAX_TOLD + 1) {
            remark(0, format!("and {} more gaps in the journal", more + 1));
        }
        for one in &self.imitators {
            let words = format!("an entry in the journal only looks like a record: {}", one.words);
            remark(one.seq, words);
        }
        if let Some(more) = self.imitations.checked_sub(MAX_TOLD as u64 + 1) {
            remark(0, format!("and {} more such entries", more + 1));
        }
        match (self.finding.take(), &report.verdict) {
            (Some(finding), Verdict::Tampered(_) | Verdict::Unreadable(_)) => {
                report.remarks.push(Remark { seq: finding.seq, words: finding.words });
            }
            (Some(finding), _) => report.verdict = Verdict::Tampered(finding),
            (None, Verdict::Intact) if !self.missing.is_empty() => {
                let (seq, count) = (self.missing[0].first, self.missing_records());
                report.verdict = Verdict::Incomplete(Gap::NotInJournal { seq, count });
            }
            (None, _) => {}
        }
        report.journal = Some(self);
    }
}

/// The copies of a log, and what else was found among them.
#[derive(Debug)]
pub struct Mirror {
    copies: HashMap<Id128, BTreeMap<u64, Copied>>,
    count: usize,
    /// When the first entry was made that the journal keeps.
    begin_usec: u64,
    /// When the journal was read.
    now_usec: u64,
    /// When journald told that it suppressed messages of the supervisor.
    suppressed: Vec<u64>,
    altered: Option<Finding>,
    conflict: Option<Finding>,
    found: Comparison,
    /// The log that passes by, and its last record.
    log: Option<(Id128, u64)>,
    first: u64,
    partial: Vec<u8>,
}

impl Mirror {
    /// A journal of which nothing is read yet. The first entry that it keeps was made
    /// then, and it is read now.
    #[must_use]
    pub fn new(begin_usec: u64, now_usec: u64) -> Self {
        Self {
            copies: HashMap::new(),
            count: 0,
            begin_usec,
            now_usec,
            suppressed: Vec::new(),
            altered: None,
            conflict: None,
            found: Comparison::default(),
            log: None,
            first: 0,
            partial: Vec::new(),
        }
    }

    /// The next older entry. Answers with the record it is a copy of, and `None` for
    /// anything else.
    pub fn take(&mut self, entry: &Entry) -> Option<Head> {
        match entry.kind() {
            Kind::Copy(copied) => {
                let (log_id, head, replayed) = (copied.log_id, copied.head, copied.replayed);
                self.keep(log_id, *copied);
                (!replayed).then_some(head)
            }
            Kind::Altered(sighting) => {
                let seq = sighting.seq.max(1);
                let words = format!("the journal's copy was changed: {}", sighting.words);
                self.altered = Some(finding(Damage::Changed, seq, words));
                None
            }
            Kind::Imitation(sighting) => {
                self.imitated(sighting);
                None
            }
            Kind::Suppressed { time_usec } => {
                self.suppressed.push(time_usec);
                None
            }
            Kind::Other => None,
        }
    }

    /// Nothing older is wanted: what is before this entry counts as forgotten.
    pub fn stop_at(&mut self, time_usec: u64) {
        self.begin_usec = self.begin_usec.max(time_usec);
    }

    /// As many copies were read as are compared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count >= MAX_COPIES
    }

    fn imitated(&mut self, sighting: Sighting) {
        self.found.imitations += 1;
        if self.found.imitators.len() < MAX_TOLD {
            self.found.imitators.push(sighting);
        }
    }

    fn keep(&mut self, log_id: Id128, copied: Copied) {
        let of_log = self.copies.entry(log_id).or_default();
        let seq = copied.head.seq;
        match of_log.get_mut(&seq) {
            None => {
                of_log.insert(seq, copied);
                self.count += 1;
            }
            // The same once more, or one that the log will judge.
            Some(known) if known.head == copied.head => {
                known.doubtful &= copied.doubtful;
                known.dropped = known.dropped.max(copied.dropped);
            }
            Some(known) if known.doubtful && !copied.doubtful => {
                let stranger = std::mem::replace(known, copied).sighting;
                self.imitated(stranger);
            }
            Some(_) if copied.doubtful => self.imitated(copied.sighting),
            Some(_) => {
                let words = format!("the journal has two different copies of record {seq}");
                self.conflict = Some(finding(Damage::Changed, seq, words));
            }
        }
    }

    /// The next bytes of the log; segments follow each other without a break.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.partial.is_empty() {
                self.see(&rest[..end]);
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                let line = std::mem::take(&mut self.partial);
                self.see(&line);
            }
            rest = &rest[end + 1..];
        }
        let room = (super::MAX_LINE_BYTES + 1).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&rest[..rest.len().min(room)]);
    }

    /// The next record of the log, without its newline. `None` when it is none.
    pub fn see(&mut self, line: &[u8]) -> Option<Presence> {
        let record = Record::parse(line).ok()?;
        let hash = Head::of_line(line).ok()?.hash;
        let seq = record.seq;
        let (_, last) = self.log.get_or_insert((record.log_id, 0));
        *last = seq;
        if self.first == 0 {
            self.first = seq;
        }
        let copied = self.copies.get_mut(&record.log_id).and_then(|copies| copies.remove(&seq));
        Some(match copied {
            Some(copied) => self.compare(&copied, hash),
            None if record.time_usec < self.begin_usec => {
                self.found.forgotten += 1;
                Presence::Forgotten
            }
            None if record.time_usec.saturating_add(GRACE_USEC) > self.now_usec => {
                Presence::Pending
            }
            None => {
                self.miss(seq, record.time_usec);
                Presence::Missing
            }
        })
    }

    fn compare(&mut self, copied: &Copied, hash: Hash) -> Presence {
        let seq = copied.head.seq;
        if copied.head.hash == hash {
            self.found.copied += 1;
            self.found.replayed += u64::from(copied.replayed);
            if !copied.replayed {
                self.explain(seq, copied);
            }
            return Presence::Copied;
        }
        if copied.doubtful {
            self.imitated(copied.sighting.clone());
            self.miss(seq, copied.time_usec);
            return Presence::Missing;
        }
        let words = format!(
            "record {seq} is not the one that the journal was given (there it has the hash {})",
            copied.head.hash
        );
        self.found.finding.get_or_insert(finding(Damage::Rewritten, seq, words));
        Presence::Differs
    }

    fn miss(&mut self, seq: u64, time_usec: u64) {
        let full = self.found.missing.len() >= MAX_RUNS;
        match self.found.missing.last_mut() {
            Some(run) if run.last + 1 == seq || full => run.last = seq,
            _ => self.found.missing.push(Missing {
                first: seq,
                last: seq,
                why: Lost::Unexplained,
                first_usec: time_usec,
            }),
        }
    }

    /// The copy after a gap knows of what the supervisor could not send.
    fn explain(&mut self, seq: u64, next: &Copied) {
        let Some(run) = self.found.missing.last_mut().filter(|run| run.last + 1 == seq) else {
            return;
        };
        let until = next.time_usec.saturating_add(SLACK_USEC);
        run.why = match next.dropped {
            0 => why(&self.suppressed, run.first_usec, until),
            _ => Lost::NotTaken,
        };
    }

    /// The log has passed by.
    #[must_use]
    pub fn finish(mut self) -> Comparison {
        let end = self.log.map_or(0, |(_, end)| end);
        if let Some(run) = self.found.missing.last_mut().filter(|run| run.last == end) {
            run.why = why(&self.suppressed, run.first_usec, u64::MAX);
        }
        if let Some((log_id, end)) = self.log {
            let left = self.copies.remove(&log_id).unwrap_or_default();
            self.beyond(&left, end);
        }
        let others = self.copies.values().map(|copies| copies.len() as u64);
        self.found.other_logs = others.sum();
        let more = [self.conflict, self.altered];
        let mut found = self.found;
        for one in more.into_iter().flatten() {
            if found.finding.as_ref().is_none_or(|first| one.seq < first.seq) {
                found.finding = Some(one);
            }
        }
        found
    }

    /// What the journal has and the log has not. What was pruned is before the first.
    fn beyond(&mut self, left: &BTreeMap<u64, Copied>, end: u64) {
        for copied in left.range(..=end).map(|(_, copied)| copied) {
            if copied.head.seq >= self.first && copied.doubtful {
                self.imitated(copied.sighting.clone());
            }
        }
        let known: Vec<_> = left.range(end + 1..).map(|(_, copied)| copied).collect();
        let sure: Vec<_> = known.iter().filter(|copied| !copied.doubtful).collect();
        for copied in known.iter().filter(|copied| copied.doubtful) {
            self.imitated(copied.sighting.clone());
        }
        let (Some(first), Some(last)) = (sure.first(), sure.last()) else { return };
        let words = format!(
            "the log ends at record {end}, but the journal was given record {}: {} missing",
            last.head.seq,
            super::verdict::span(end + 1, last.head.seq)
        );
        let seq = first.head.seq.min(end + 1);
        self.found.finding.get_or_insert(finding(Damage::Truncated, seq, words));
    }

    /// A log that is empty: all that the journal has of this log is missing there.
    pub fn expect(&mut self, log_id: Id128, from: Head) {
        self.log.get_or_insert((log_id, from.seq));
        if self.first == 0 {
            self.first = from.seq + 1;
        }
    }
}

fn why(suppressed: &[u64], from_usec: u64, until_usec: u64) -> Lost {
    match suppressed.iter().any(|time| (from_usec..=until_usec).contains(time)) {
        true => Lost::RateLimit,
        false => Lost::Unexplained,
    }
}

fn finding(damage: Damage, seq: u64, words: String) -> Finding {
    Finding { damage, seq, line: 0, words }
}
