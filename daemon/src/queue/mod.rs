//! What runs next. Pure: it knows no clock and does no I/O. Whoever holds it says
//! what happened and when; it says which jobs start and why the others wait.
//!
//! A job that waits is in exactly one place: held by somebody, behind jobs that it
//! depends on, until a time, behind its array's limit, or ready. Ready jobs go by
//! priority, then by what their user has used of late ([`shares`]), then by number.
//! The first one that does not fit is promised the earliest time at which running
//! jobs' time limits leave it enough; others go before it only if that time stays.
//! Every operation costs O(log n) of the jobs that wait, a decision looks at no
//! more than [`MOST_LOOKED_AT`] of them.

mod arrays;
mod capacity;
mod decide;
mod quota;
mod resources;
mod retry;
mod shares;
#[cfg(test)]
mod tests;
mod waiting;
mod why;

pub use capacity::{Capacity, Gpu, MilliCpus, Needs};
pub use decide::{MOST_LOOKED_AT, Start};
pub use quota::Quota;
pub use resources::Lack;
pub use retry::RetryPolicy;
pub use shares::Share;
pub use waiting::MOST_COUNTED_AHEAD;
pub use why::Why;

use arrays::Arrays;
use fetchml_api::job::{JobId, JobState};
use fetchml_api::queueing::{ArrayPlace, Condition, Dependency};
use quota::InUse;
use shares::Shares;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use waiting::Ready;

/// What is decided by an administrator.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// After which time use counts half, microseconds.
    pub half_life_usec: u64,
    /// What each user may have.
    pub quota: Quota,
}

impl Default for Rules {
    fn default() -> Self {
        Self { half_life_usec: 24 * 3_600_000_000, quota: Quota::default() }
    }
}

/// A job as the queue sees it. Small: there may be a hundred thousand.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, by which those that came first go first.
    pub id: JobId,
    /// Whose it is.
    pub uid: u32,
    /// Larger goes first.
    pub priority: i32,
    /// Whether somebody must release it first.
    pub held: bool,
    /// Not before this time, microseconds since the epoch; 0 for at once.
    pub not_before_usec: u64,
    /// Its time limit, microseconds.
    pub time_limit_usec: u64,
    /// What it takes while it runs. Jobs that need the same share one.
    pub needs: Arc<Needs>,
    /// Jobs that must be over before; those that are not.
    pub after: Box<[Dependency]>,
    /// Its array.
    pub array: Option<ArrayPlace>,
    /// Length of the texts of its specification.
    pub text_bytes: usize,
}

/// Where a waiting job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Held,
    Behind,
    Until(u64),
    Parked,
    Ready,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    place: Place,
}

#[derive(Debug)]
struct Running {
    entry: Entry,
    gpus: Vec<String>,
    started_usec: u64,
}

impl Running {
    fn ends_usec(&self, now_usec: u64) -> u64 {
        // One that is over its limit is about to end.
        self.started_usec.saturating_add(self.entry.time_limit_usec).max(now_usec + 1)
    }
}

/// Jobs that wait and jobs that run.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<JobId, Waiting>,
    ready: Ready,
    timers: BTreeSet<(u64, JobId)>,
    /// Who waits for a job.
    dependents: HashMap<JobId, Vec<JobId>>,
    arrays: Arrays,
    running: BTreeMap<JobId, Running>,
    in_use: HashMap<u32, InUse>,
    queued: HashMap<u32, Queued>,
    shares: Shares,
    capacity: Capacity,
    rules: Rules,
}

/// What of a user waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Jobs.
    pub jobs: usize,
    /// Texts of their specifications, bytes.
    pub text_bytes: usize,
}

/// A job that cannot start any more, since one that had to succeed did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub uid: u32,
    /// What it waited for.
    pub dependency: Dependency,
}

impl Queue {
    /// What the machine has from now on. What runs is not touched.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    /// What the machine has.
    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// What holds from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// What a user has used until some time.
    pub fn set_share(&mut self, uid: u32, share: Share) {
        self.shares.set(uid, share);
    }

    /// What is left of what a user has used.
    #[must_use]
    pub fn share(&self, uid: u32, now_usec: u64) -> Share {
        self.shares.of(uid, now_usec, self.rules.half_life_usec)
    }

    /// A job was accepted, or is to be tried again. One that waits already has this entry
    /// from now on.
    pub fn push(&mut self, entry: Entry, now_usec: u64) {
        let id = entry.id;
        self.remove(id);
        for dependency in &entry.after {
            self.dependents.entry(dependency.job).or_default().push(id);
        }
        let queued = self.queued.entry(entry.uid).or_default();
        queued.jobs += 1;
        queued.text_bytes += entry.text_bytes;
        self.waiting.insert(id, Waiting { entry, place: Place::Held });
        self.settle(id, now_usec);
    }

    /// A job runs that this queue did not start: it was there when the supervisor came.
    pub fn adopt(&mut self, entry: Entry, gpus: Vec<String>, started_usec: u64) {
        if let Some(array) = &entry.array {
            self.arrays.started(array);
        }
        self.begin(Running { entry, gpus, started_usec });
    }

    /// A waiting job will not run; `None` when it did not wait.
    pub fn remove(&mut self, job: JobId) -> Option<Entry> {
        self.lift(job);
        let Waiting { entry, .. } = self.waiting.remove(&job)?;
        for dependency in &entry.after {
            if let Some(waiting) = self.dependents.get_mut(&dependency.job) {
                waiting.retain(|one| *one != job);
                if waiting.is_empty() {
                    self.dependents.remove(&dependency.job);
                }
            }
        }
        if let Some(queued) = self.queued.get_mut(&entry.uid) {
            queued.jobs -= 1;
            queued.text_bytes -= entry.text_bytes;
            if queued.jobs == 0 {
                self.queued.remove(&entry.uid);
            }
        }
        Some(entry)
    }

    /// A running job gave back what it had, and its user has used that; it is not over
    /// if it is to be tried again. False for one that does not run. It may have ended
    /// while nobody looked: that time its user did not use.
    pub fn stopped(&mut self, job: JobId, ended_usec: u64, now_usec: u64) -> bool {
        let Some(Running { entry, started_usec, .. }) = self.running.remove(&job) else {
            return false;
        };
        let uid = entry.uid;
        let ran_usec = ended_usec.saturating_sub(started_usec);
        let share = self.share(uid, now_usec).with(&entry.needs, ran_usec);
        if let Some(in_use) = self.in_use.get_mut(&uid) {
            in_use.give_back(&entry.needs);
            if in_use.jobs == 0 {
                self.in_use.remove(&uid);
            }
        }
        if let Some(array) = entry.array {
            self.arrays.stopped(&array);
            self.refill(&array, None);
        }
        self.shares.ended(uid, &entry.needs, share);
        true
    }

    /// A job is over, whether it ran or waited. Answers with the waiting jobs that fail
    /// with it; they are out of the queue already.
    pub fn ended(&mut self, job: JobId, succeeded: bool, now_usec: u64) -> Vec<Doomed> {
        self.stopped(job, now_usec, now_usec);
        self.remove(job);
        let mut doomed = Vec::new();
        for waiting in self.dependents.remove(&job).unwrap_or_default() {
            doomed.extend(self.settle_dependency(waiting, job, succeeded, now_usec));
        }
        doomed
    }

    fn settle_dependency(
        &mut self,
        waiting: JobId,
        over: JobId,
        succeeded: bool,
        now_usec: u64,
    ) -> Option<Doomed> {
        let job = self.waiting.get_mut(&waiting)?;
        let uid = job.entry.uid;
        let failed = job
            .entry
            .after
            .iter()
            .find(|d| d.job == over && d.condition == Condition::Ok && !succeeded)
            .copied();
        job.entry.after = job.entry.after.iter().filter(|d| d.job != over).copied().collect();
        match failed {
            Some(_) => drop(self.remove(waiting)),
            None if job.place == Place::Behind => self.settle(waiting, now_usec),
            None => {}
        }
        failed.map(|dependency| Doomed { job: waiting, uid, dependency })
    }

    /// Changes a waiting job's priority, hold or time; false when it does not wait.
    pub fn change(&mut self, job: JobId, now_usec: u64, change: impl FnOnce(&mut Entry)) -> bool {
        self.lift(job);
        let Some(waiting) = self.waiting.get_mut(&job) else { return false };
        change(&mut waiting.entry);
        self.settle(job, now_usec);
        true
    }

    /// Jobs whose time has come are ready from now on.
    pub fn wake(&mut self, now_usec: u64) {
        while let Some((at_usec, job)) = self.timers.first().copied()
            && at_usec <= now_usec
        {
            self.lift(job);
            // Whatever job it is of, or of none: it has gone off.
            self.timers.remove(&(at_usec, job));
            self.settle(job, now_usec);
        }
    }

    /// When the next job's time comes, microseconds since the epoch.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        self.timers.first().map(|(at_usec, _)| *at_usec)
    }

    /// Whether a job waits.
    #[must_use]
    pub fn is_waiting(&self, job: JobId) -> bool {
        self.waiting.contains_key(&job)
    }

    /// A waiting job.
    #[must_use]
    pub fn waiting(&self, job: JobId) -> Option<&Entry> {
        self.waiting.get(&job).map(|waiting| &waiting.entry)
    }

    /// Waiting jobs, in no order.
    pub fn iter_waiting(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.values().map(|waiting| &waiting.entry)
    }

    /// What waits: of one user.
    #[must_use]
    pub fn queued_of(&self, uid: u32) -> Queued {
        self.queued.get(&uid).copied().unwrap_or_default()
    }

    /// Users that have jobs here, with how many wait and run.
    #[must_use]
    pub fn users(&self) -> BTreeMap<u32, (usize, usize)> {
        let mut users: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (uid, queued) in &self.queued {
            users.entry(*uid).or_default().0 = queued.jobs;
        }
        for (uid, in_use) in &self.in_use {
            users.entry(*uid).or_default().1 = in_use.jobs;
        }
        users
    }

    /// What running jobs have for themselves, all together.
    #[must_use]
    pub fn taken(&self) -> Needs {
        let mut taken = Needs::default();
        for running in self.running.values() {
            taken.milli_cpus += running.entry.needs.milli_cpus;
            taken.memory_bytes += running.entry.needs.memory_bytes;
            taken.gpus += running.entry.needs.gpus;
        }
        taken
    }

    /// Jobs that run, and jobs that wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    fn begin(&mut self, running: Running) {
        self.in_use.entry(running.entry.uid).or_default().take(&running.entry.needs);
        self.shares.started(running.entry.uid, &running.entry.needs);
        self.running.insert(running.entry.id, running);
    }

    /// Takes a waiting job from its place; to be followed by [`Queue::settle`] or its removal.
    fn lift(&mut self, job: JobId) {
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        let entry = &waiting.entry;
        let array = entry.array;
        let place = std::mem::replace(&mut waiting.place, Place::Held);
        match place {
            Place::Held | Place::Behind => {}
            Place::Until(at_usec) => {
                self.timers.remove(&(at_usec, job));
            }
            Place::Parked => {
                if let Some(array) = array {
                    self.arrays.unpark(&array, job);
                }
            }
            Place::Ready => {
                self.ready.remove(entry.priority, entry.uid, job);
                if let Some(array) = array {
                    self.arrays.left_ready(&array);
                    self.refill(&array, Some(job));
                }
            }
        }
    }

    /// Puts a job that was lifted where it belongs now.
    fn settle(&mut self, job: JobId, now_usec: u64) {
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        let entry = &waiting.entry;
        waiting.place = if entry.held {
            Place::Held
        } else if !entry.after.is_empty() {
            Place::Behind
        } else if entry.not_before_usec > now_usec {
            self.timers.insert((entry.not_before_usec, job));
            Place::Until(entry.not_before_usec)
        } else if let Some(array) = entry.array
            && !self.arrays.has_room(&array)
        {
            self.arrays.park(&array, job);
            Place::Parked
        } else {
            self.ready.insert(entry.priority, entry.uid, job);
            if let Some(array) = &entry.array {
                self.arrays.became_ready(array);
            }
            Place::Ready
        };
    }

    /// Lets as many parked jobs of an array become ready as its limit allows.
    fn refill(&mut self, array: &ArrayPlace, not: Option<JobId>) {
        while self.arrays.has_room(array)
            && let Some(job) = self.arrays.first_parked(array, not)
        {
            self.arrays.unpark(array, job);
            let Some(waiting) = self.waiting.get_mut(&job) else { continue };
            self.ready.insert(waiting.entry.priority, waiting.entry.uid, job);
            self.arrays.became_ready(array);
            waiting.place = Place::Ready;
        }
    }
}

/// Whether a job of this state, that is over, lets those go on that depend on it.
#[must_use]
pub fn satisfies(condition: Condition, state: JobState) -> bool {
    match condition {
        Condition::Any => state.is_final(),
        Condition::Ok => state == JobState::Succeeded,
    }
}
