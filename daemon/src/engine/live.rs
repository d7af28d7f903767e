//! Jobs that are not over, as they are in memory. What stands in a record here
//! was committed before.

use super::launcher::Running;
use crate::queue::Queue;
use crate::store::JobRecord;
use fetchml_api::job::{JobId, JobState};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;

/// The table of live jobs.
#[derive(Debug, Default)]
pub(super) struct Live {
    jobs: BTreeMap<JobId, LiveJob>,
    queue: Queue,
    /// Jobs that left the queue and are not over.
    slots_taken: usize,
}

/// One job that is not over.
#[derive(Debug)]
pub(super) struct LiveJob {
    pub(super) record: JobRecord,
    /// Directories that the client opened, until the attempt takes them.
    pub(super) directories: Vec<OwnedFd>,
    pub(super) running: Option<Arc<dyn Running>>,
    pub(super) cancel_requested: bool,
    done: watch::Sender<Option<Arc<JobRecord>>>,
}

/// What a cancellation finds.
#[derive(Debug)]
pub(super) enum Found {
    /// The job is over.
    Over,
    /// It waited and now does not; nobody else will touch it.
    Unqueued,
    /// It is being started; whoever does that will see the request.
    Starting,
    /// It runs.
    Running(Arc<dyn Running>),
}

impl Live {
    pub(super) fn add_queued(&mut self, record: JobRecord, directories: Vec<OwnedFd>) {
        self.queue.push(record.id);
        self.add(record, directories, None);
    }

    pub(super) fn add_running(&mut self, record: JobRecord, running: Option<Arc<dyn Running>>) {
        self.slots_taken += 1;
        self.add(record, Vec::new(), running);
    }

    fn add(
        &mut self,
        record: JobRecord,
        directories: Vec<OwnedFd>,
        running: Option<Arc<dyn Running>>,
    ) {
        let done = watch::Sender::new(None);
        let job = LiveJob { directories, running, cancel_requested: false, done, record };
        self.jobs.insert(job.record.id, job);
    }

    pub(super) fn get(&self, id: JobId) -> Option<&LiveJob> {
        self.jobs.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut LiveJob> {
        self.jobs.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LiveJob> {
        self.jobs.values()
    }

    pub(super) fn take_next(&mut self, max_running: usize) -> Vec<JobId> {
        let next = self.queue.take_next(self.slots_taken, max_running);
        self.slots_taken += next.len();
        next
    }

    pub(super) fn request_cancel(&mut self, id: JobId) -> Found {
        let Some(job) = self.jobs.get_mut(&id) else { return Found::Over };
        job.cancel_requested = true;
        if self.queue.remove(id) {
            // From here it counts as taken, as any job on its way to its end.
            self.slots_taken += 1;
            return Found::Unqueued;
        }
        job.running.clone().map_or(Found::Starting, Found::Running)
    }

    /// The job is over and that is committed: frees its slot, wakes who waits.
    pub(super) fn finish(&mut self, record: &Arc<JobRecord>) {
        if let Some(job) = self.jobs.remove(&record.id) {
            self.slots_taken = self.slots_taken.saturating_sub(1);
            job.done.send_replace(Some(record.clone()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn queued_of(&self, uid: u32) -> usize {
        self.iter().filter(|job| job.record.uid == uid && job.is_queued()).count()
    }

    /// Directory descriptors that wait with their jobs: of one user, and of all.
    pub(super) fn held_descriptors(&self, uid: u32) -> (usize, usize) {
        self.iter().fold((0, 0), |(theirs, all), job| {
            let count = job.directories.len();
            (theirs + if job.record.uid == uid { count } else { 0 }, all + count)
        })
    }

    /// Jobs that run or are being started, and jobs that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.slots_taken, self.queue.len())
    }

    /// Why a queued job waits, in words.
    pub(super) fn waiting_reason(&self, id: JobId, max_running: usize) -> String {
        let ahead = self.queue.ahead_of(id);
        let running = self.slots_taken;
        let jobs = if ahead == 1 { "job is" } else { "jobs are" };
        format!("waits for a slot: {running} of {max_running} run, {ahead} {jobs} ahead")
    }
}

impl LiveJob {
    pub(super) fn is_queued(&self) -> bool {
        self.record.state == JobState::Queued
    }

    pub(super) fn done(&self) -> watch::Receiver<Option<Arc<JobRecord>>> {
        self.done.subscribe()
    }
}
