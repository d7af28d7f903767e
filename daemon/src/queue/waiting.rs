//! Jobs that could start as far as they themselves are concerned, in the order in
//! which they may: priority, then the user who has used least, then the number.

use super::shares::Shares;
use fetchml_api::job::JobId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map, btree_set};

/// A count of more jobs than this is not worth its time.
pub const MOST_COUNTED_AHEAD: usize = 1000;

type Lines = BTreeMap<u32, BTreeSet<JobId>>;

/// One line of jobs for each user in each priority.
#[derive(Debug, Default)]
pub(super) struct Ready {
    priorities: BTreeMap<Reverse<i32>, Lines>,
}

impl Ready {
    pub(super) fn insert(&mut self, priority: i32, uid: u32, job: JobId) {
        let lines = self.priorities.entry(Reverse(priority)).or_default();
        lines.entry(uid).or_default().insert(job);
    }

    pub(super) fn remove(&mut self, priority: i32, uid: u32, job: JobId) {
        let Some(lines) = self.priorities.get_mut(&Reverse(priority)) else { return };
        if let Some(line) = lines.get_mut(&uid) {
            line.remove(&job);
            if line.is_empty() {
                lines.remove(&uid);
            }
        }
        if lines.is_empty() {
            self.priorities.remove(&Reverse(priority));
        }
    }

    /// Jobs that were ready before this one at its priority, and all of a higher one;
    /// counted up to [`MOST_COUNTED_AHEAD`].
    pub(super) fn ahead_of(&self, priority: i32, job: JobId) -> usize {
        let higher = self.priorities.range(..Reverse(priority));
        let mut ahead: usize =
            higher.flat_map(|(_, lines)| lines.values()).map(BTreeSet::len).sum();
        for line in self.priorities.get(&Reverse(priority)).into_iter().flat_map(Lines::values) {
            let left = MOST_COUNTED_AHEAD.saturating_sub(ahead);
            ahead += line.range(..job).take(left).count();
        }
        ahead.min(MOST_COUNTED_AHEAD)
    }

    /// Walks the jobs in their order.
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { priorities: self.priorities.values(), lines: Vec::new() }
    }
}

/// A walk over the ready jobs. The order of users follows what the walk is told
/// about their shares between two steps.
#[derive(Debug)]
pub(super) struct Walk<'q> {
    priorities: btree_map::Values<'q, Reverse<i32>, Lines>,
    /// What is left of the lines of the current priority.
    lines: Vec<Line<'q>>,
}

#[derive(Debug)]
struct Line<'q> {
    uid: u32,
    rank: f64,
    next: Option<JobId>,
    rest: btree_set::Iter<'q, JobId>,
}

impl<'q> Walk<'q> {
    /// The next job. `extra` is what starts of this walk add to the rank of a user,
    /// `closed` are users whose turn is over.
    pub(super) fn next(
        &mut self,
        rank: &impl Fn(u32) -> f64,
        extra: &BTreeMap<u32, f64>,
        closed: &HashSet<u32>,
    ) -> Option<JobId> {
        loop {
            self.lines.retain(|line| !closed.contains(&line.uid) && line.next.is_some());
            let place = |line: &Line<'_>| {
                (line.rank + extra.get(&line.uid).copied().unwrap_or(0.0), line.next)
            };
            let next = self.lines.iter_mut().min_by(|one, other| {
                let (one, other) = (place(one), place(other));
                one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
            });
            if let Some(line) = next {
                return std::mem::replace(&mut line.next, line.rest.next().copied());
            }
            let lines = self.priorities.next()?.iter();
            self.lines = lines
                .map(|(uid, line)| {
                    let mut rest = line.iter();
                    Line { uid: *uid, rank: rank(*uid), next: rest.next().copied(), rest }
                })
                .collect();
        }
    }
}

/// Ranks of users, each looked up once a walk.
pub(super) fn ranks(
    shares: &Shares,
    now_usec: u64,
    half_life_usec: u64,
) -> impl Fn(u32) -> f64 + '_ {
    move |uid| shares.rank(uid, now_usec, half_life_usec)
}
