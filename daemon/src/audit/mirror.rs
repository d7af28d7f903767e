//! The journal's copy is compared with the log before the log is opened, as far back
//! as the last start did. What the journal lacks is sent again, once; what it knows
//! better stops the start.

use super::AuditError;
use super::directory::{Directory, segment_name};
use super::open::{READ_BYTES, own_record};
use super::past::{Found, Past};
use fetchml_api::audit::mirror::{Comparison, Mirror, Presence};
use fetchml_api::audit::{Damage, Event, Head, MAX_LINE_BYTES, NewRecord, Outcome};
use fetchml_audit_verify::{Reach, read_journal};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

/// A start does not wait longer, nor look at more.
const LIMIT: Duration = Duration::from_secs(10);
const ENTRIES: usize = 100_000;
const SEGMENTS: usize = 4;
/// Below what journald takes at once from a service (`RateLimitBurst`, 10,000).
const SENT_AGAIN: usize = 5_000;
/// So many gaps are told in the record.
const GAPS_TOLD: usize = 20;

/// A record that the journal lost, with its line.
pub(super) type Lost = (Head, Box<[u8]>);

/// What a comparison came to.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    found: Comparison,
    /// Records since the last comparison that were not looked at: the journal keeps them no
    /// more, or they are more than a start waits for.
    not_compared: u64,
    pub(super) lost: VecDeque<Lost>,
}

/// Compares what was written since the last comparison. `None` when the journal cannot
/// be read: it is a copy, and does not keep the log closed by not being there.
pub(super) fn compare(
    directory: &Directory,
    past: &Past,
    found: &Found,
) -> Result<Option<Mirrored>, AuditError> {
    let mark = directory.read_mark()?.map_or(0, |mark| mark.seq);
    let reach = Reach { down_to: mark, entries: ENTRIES, limit: LIMIT, live: false };
    let mut mirror = match read_journal(reach) {
        Ok(Some(mirror)) => mirror,
        Ok(None) => return Ok(None),
        Err(why) => {
            tracing::warn!(%why, "the audit log is not compared with the journal");
            return Ok(None);
        }
    };
    let mut lost = VecDeque::new();
    let mut seen = 0;
    for number in past.segments_after(mark, SEGMENTS) {
        seen += pass_by(directory, &segment_name(number), mark, &mut mirror, &mut lost)?;
    }
    if let (Some(log_id), Some(end)) = (found.log_id, found.end) {
        mirror.expect(log_id, end);
    }
    let since = mark.max(past.first_record().saturating_sub(1));
    let all = found.end.map_or(0, |end| end.seq.saturating_sub(since));
    let found = mirror.finish();
    let not_compared = all.saturating_sub(seen).saturating_add(found.forgotten);
    match &found.finding {
        Some(bad) if matches!(bad.damage, Damage::Truncated | Damage::Rewritten) => {
            Err(directory.damaged(bad.words.clone()))
        }
        // A copy that is wrong in itself says something about the journal only.
        _ => Ok(Some(Mirrored { found, not_compared, lost })),
    }
}

/// Answers with how many records it showed.
fn pass_by(
    directory: &Directory,
    name: &str,
    mark: u64,
    mirror: &mut Mirror,
    lost: &mut VecDeque<Lost>,
) -> Result<u64, AuditError> {
    let mut seen = 0;
    let failed =
        |error| AuditError::io::<std::io::Error>("read", directory.path().join(name))(error);
    let mut reader = BufReader::with_capacity(READ_BYTES, directory.open_to_read(name)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX) + 2;
        reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(failed)?;
        // A torn end is not written yet.
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(seen);
        }
        let Ok(head) = Head::of_line(&line) else { continue };
        if head.seq <= mark {
            continue;
        }
        seen += 1;
        if mirror.see(&line) == Some(Presence::Missing) {
            lost.push_back((head, line.as_slice().into()));
            if lost.len() > SENT_AGAIN {
                lost.pop_front();
            }
        }
    }
}

impl Mirrored {
    /// What there is to tell of it.
    pub(super) fn record(&self) -> Option<NewRecord> {
        let found = &self.found;
        let agrees = found.missing.is_empty() && found.imitations == 0 && found.finding.is_none();
        if agrees && self.not_compared == 0 {
            return None;
        }
        let mut new = own_record(Event::AuditVerified, "compare-journal")
            .result(if agrees { Outcome::Success } else { Outcome::Failure })
            .detail("copied", found.copied)
            .detail("not_compared", self.not_compared)
            .detail("missing", found.missing_records())
            .detail("sent_again", self.lost.len())
            .detail("imitations", found.imitations);
        if !found.missing.is_empty() {
            let gap = |run: &fetchml_api::audit::mirror::Missing| {
                format!("{}-{} ({})", run.first, run.last, run.why)
            };
            let gaps: Vec<_> = found.missing.iter().take(GAPS_TOLD).map(gap).collect();
            new = new.detail("gaps", gaps.join(", "));
        }
        if let Some(one) = found.imitators.first() {
            new = new.detail("imitator", &one.words);
        }
        if let Some(finding) = &found.finding {
            new = new.detail("words", &finding.words);
        }
        Some(new)
    }
}
