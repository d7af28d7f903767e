//! Which jobs start now.

use super::resources::{Free, Holder, Promise};
use super::shares::rank_of_start;
use super::waiting::ranks;
use super::{Queue, Running};
use fetchml_api::job::JobId;
use std::collections::{BTreeMap, HashSet};

/// Ready jobs that one decision looks at, so that it costs the same however many
/// wait. Those beyond are looked at when some of these have gone.
pub const MOST_LOOKED_AT: usize = 1024;
/// Of these, jobs of one user that cannot start: whoever queues many of them keeps nobody
/// else from being looked at.
const MOST_PASSED_OVER: usize = 128;

/// A job that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which job.
    pub job: JobId,
    /// Whose it is.
    pub uid: u32,
    /// Accelerators that it has for itself, by [`super::Gpu::name`].
    pub gpus: Vec<String>,
}

impl Queue {
    /// Takes the jobs that start now. They hold what they need until
    /// [`Queue::stopped`] or [`Queue::ended`].
    pub fn take_next(&mut self, now_usec: u64) -> Vec<Start> {
        self.wake(now_usec);
        let mut all = Vec::new();
        // More may fit than one decision looks at.
        loop {
            let starts = self.decide(now_usec);
            if starts.is_empty() {
                return all;
            }
            for start in &starts {
                self.start(start, now_usec);
            }
            all.extend(starts);
        }
    }

    fn start(&mut self, start: &Start, now_usec: u64) {
        // Counted as running before it leaves the line of its array: else the next of
        // the array would be let in for it.
        if let Some(array) = self.waiting(start.job).and_then(|entry| entry.array) {
            self.arrays.started(&array);
        }
        if let Some(entry) = self.remove(start.job) {
            let gpus = start.gpus.clone();
            self.begin(Running { entry, gpus, started_usec: now_usec });
        }
    }

    fn decide(&self, now_usec: u64) -> Vec<Start> {
        let mut free = self.free();
        let half_life = self.rules.half_life_usec;
        let rank = ranks(&self.shares, now_usec, half_life);
        let mut walk = self.ready.walk();
        let mut in_use = self.in_use.clone();
        let (mut extra, mut closed) = (BTreeMap::new(), HashSet::new());
        let mut promise: Option<Promise> = None;
        let mut starts: Vec<Start> = Vec::new();
        let mut passed_over: BTreeMap<u32, usize> = BTreeMap::new();
        let mut pass_over = |uid, closed: &mut HashSet<u32>| {
            let count = passed_over.entry(uid).or_default();
            *count += 1;
            if *count == MOST_PASSED_OVER {
                closed.insert(uid);
            }
        };
        for _ in 0..MOST_LOOKED_AT {
            if free.slots == 0 {
                break;
            }
            let Some(job) = walk.next(&rank, &extra, &closed) else { break };
            let Some(entry) = self.waiting(job) else { continue };
            let share = self.shares.of(entry.uid, now_usec, half_life);
            let has = in_use.entry(entry.uid).or_default();
            if self.rules.quota.exceeded(*has, share, &entry.needs).is_some() {
                // First come, first served, also where the line is the user's own.
                closed.insert(entry.uid);
                continue;
            }
            if free.lacks(&entry.needs).is_some() {
                if promise.is_none() {
                    promise = self.promise(&starts, &entry.needs, now_usec);
                }
                pass_over(entry.uid, &mut closed);
                continue;
            }
            let would_end = now_usec.saturating_add(entry.time_limit_usec);
            if let Some(promise) = &mut promise
                && !promise.admits(&entry.needs, would_end)
            {
                pass_over(entry.uid, &mut closed);
                continue;
            }
            has.take(&entry.needs);
            *extra.entry(entry.uid).or_insert(0.0) += rank_of_start(&entry.needs);
            starts.push(Start { job, uid: entry.uid, gpus: free.take(&entry.needs) });
        }
        starts
    }

    pub(super) fn free(&self) -> Free<'_> {
        let mut free = Free::all(&self.capacity);
        for running in self.running.values() {
            free.take_named(&running.entry.needs, &running.gpus);
        }
        free
    }

    fn promise(&self, starts: &[Start], needs: &super::Needs, now_usec: u64) -> Option<Promise> {
        let running = self.running.values().map(|running| Holder {
            needs: &running.entry.needs,
            gpus: &running.gpus,
            ends_usec: running.ends_usec(now_usec),
        });
        let starting = starts.iter().filter_map(|start| {
            let entry = self.waiting(start.job)?;
            let ends_usec = now_usec.saturating_add(entry.time_limit_usec);
            Some(Holder { needs: &entry.needs, gpus: &start.gpus, ends_usec })
        });
        Promise::new(&self.capacity, &running.chain(starting).collect::<Vec<_>>(), needs)
    }
}
