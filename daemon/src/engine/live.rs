//! Jobs that are not over, as they are in memory. What stands in a record here
//! was committed before. Of a job that waits there is only what the queue needs:
//! there may be a hundred thousand.

use super::launcher::Running;
use crate::directories::Directory;
use crate::queue::{Entry, Needs, Queue, Queued};
use crate::store::JobRecord;
use fetchml_api::job::JobId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Records of waiting jobs that are kept, so that those which start soon need not be
/// read from the store again.
const MOST_FRESH: usize = 256;

type Done = watch::Sender<Option<Arc<JobRecord>>>;

/// The table of live jobs.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) queue: Queue,
    active: BTreeMap<JobId, Active>,
    /// Of jobs that are not over and have some: every attempt needs them. Jobs that
    /// were submitted together share the list.
    pub(super) directories: HashMap<JobId, Arc<[Directory]>>,
    fresh: HashMap<JobId, JobRecord>,
    /// Who waits for the end of a job, where somebody does.
    watched: HashMap<JobId, Done>,
    /// Jobs of the dead-letter list that somebody is changing.
    pub(super) claimed: HashSet<JobId>,
    /// Of users whose jobs are on their way into the queue: what they will be there.
    pub(super) arriving: HashMap<u32, Queued>,
    /// What jobs need is the same for most.
    needs: HashSet<Arc<Needs>>,
    /// When the timer that is set will go off, microseconds since the epoch.
    pub(super) timer_usec: Option<u64>,
}

/// A job that left the queue and is not over.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) uid: u32,
    /// As it is in the store; `None` until it was read.
    pub(super) record: Option<JobRecord>,
    /// Accelerators that the queue gave it.
    pub(super) gpus: Vec<String>,
    pub(super) running: Option<Arc<dyn Running>>,
    pub(super) cancel_requested: bool,
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
    /// Puts a job into the queue. `record` is what the store has of it.
    pub(super) fn push(&mut self, entry: Entry, record: Option<JobRecord>, now_usec: u64) {
        if let Some(record) = record.filter(|_| self.fresh.len() < MOST_FRESH) {
            self.fresh.insert(entry.id, record);
        }
        self.queue.push(entry, now_usec);
    }

    /// One `Needs` for all jobs that need the same.
    pub(super) fn share_needs(&mut self, needs: Needs) -> Arc<Needs> {
        if let Some(known) = self.needs.get(&needs) {
            return known.clone();
        }
        self.needs.retain(|needs| Arc::strong_count(needs) > 1);
        let needs = Arc::new(needs);
        self.needs.insert(needs.clone());
        needs
    }

    /// A job leaves the queue, or was never in it: it runs, starts or ends.
    pub(super) fn activate(
        &mut self,
        id: JobId,
        uid: u32,
        record: Option<JobRecord>,
        gpus: Vec<String>,
    ) -> &mut Active {
        let record = self.fresh.remove(&id).or(record);
        let cancel_requested = record.as_ref().is_some_and(|record| record.cancelled);
        let active = Active { uid, record, gpus, running: None, cancel_requested };
        self.active.entry(id).or_insert(active)
    }

    /// Takes the jobs that start now.
    pub(super) fn take_next(&mut self, now_usec: u64) -> Vec<JobId> {
        let starts = self.queue.take_next(now_usec);
        let mut started = Vec::with_capacity(starts.len());
        for start in starts {
            self.activate(start.job, start.uid, None, start.gpus);
            started.push(start.job);
        }
        started
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Active> {
        self.active.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut Active> {
        self.active.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Active)> {
        self.active.iter().map(|(id, active)| (*id, active))
    }

    /// Whose job it is, if it is not over.
    pub(super) fn owner(&self, id: JobId) -> Option<u32> {
        let waiting = self.queue.waiting(id).map(|entry| entry.uid);
        waiting.or_else(|| self.active.get(&id).map(|active| active.uid))
    }

    pub(super) fn is_live(&self, id: JobId) -> bool {
        self.owner(id).is_some()
    }

    /// What is in memory of a job's record.
    pub(super) fn record(&self, id: JobId) -> Option<&JobRecord> {
        let active = self.active.get(&id).and_then(|active| active.record.as_ref());
        active.or_else(|| self.fresh.get(&id))
    }

    /// Something about a waiting job was changed in the store.
    pub(super) fn forget_fresh(&mut self, id: JobId) {
        self.fresh.remove(&id);
    }

    pub(super) fn request_cancel(&mut self, id: JobId) -> Found {
        if let Some(entry) = self.queue.remove(id) {
            self.activate(id, entry.uid, None, Vec::new()).cancel_requested = true;
            return Found::Unqueued;
        }
        let Some(active) = self.active.get_mut(&id) else { return Found::Over };
        active.cancel_requested = true;
        active.running.clone().map_or(Found::Starting, Found::Running)
    }

    /// The job is over and that is committed: wakes who waits.
    pub(super) fn finish(&mut self, record: &Arc<JobRecord>) {
        self.active.remove(&record.id);
        self.directories.remove(&record.id);
        if let Some(done) = self.watched.remove(&record.id) {
            done.send_replace(Some(record.clone()));
        }
    }

    /// The attempt is over and the job waits for another; that is committed.
    pub(super) fn requeue(&mut self, entry: Entry, now_usec: u64) {
        self.active.remove(&entry.id);
        self.queue.push(entry, now_usec);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.queue.counts().1 == 0
    }

    /// Jobs that run or are being started, and jobs that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.active.len(), self.queue.counts().1)
    }

    /// Hears of the end of a job; `None` when it is over.
    pub(super) fn watch(&mut self, id: JobId) -> Option<watch::Receiver<Option<Arc<JobRecord>>>> {
        let live = self.is_live(id);
        live.then(|| self.watched.entry(id).or_insert_with(|| Done::new(None)).subscribe())
    }
}
