//! The end of an attempt: of the job with it, or another try after a pause.

use super::{Change, Engine, now_usec, records, report};
use crate::queue::Doomed;
use crate::store::{AttemptEnd, JobRecord, UserShare};
use fetchml_api::audit::NewRecord;
use fetchml_api::job::{ExitReport, FailureClass, JobId, JobState};
use std::sync::Arc;
use std::time::Duration;

/// Pause between two tries to record or commit an end.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is committed with the end beside the job's record.
struct Ended {
    /// The end of the attempt that was under way.
    attempt: Option<AttemptEnd>,
    /// Whether it counts for what its user has used.
    ran: bool,
}

/// What follows from a report.
enum Next {
    /// The job is over. `dead`: its tries are used up.
    Over { dead: bool },
    /// Another try.
    Again { pause: Duration, class: FailureClass },
}

impl Engine {
    /// Records, commits and tells the end of an attempt, or of a job that never had
    /// one. Neither the record nor the commit can be left out, so both are tried until
    /// they succeed; the job keeps its last committed state meanwhile, though not its place.
    /// Jobs that had to see this one succeed end with it.
    pub(super) async fn end(self: &Arc<Self>, id: JobId, report: ExitReport) {
        let doomed = self.end_one(id, report).await;
        self.end_doomed(doomed).await;
    }

    /// The same, but returns as soon as the job itself is over.
    pub(super) async fn end_first(self: &Arc<Self>, id: JobId, report: ExitReport) {
        let doomed = self.end_one(id, report).await;
        let engine = self.clone();
        tokio::spawn(async move { engine.end_doomed(doomed).await });
    }

    async fn end_doomed(self: &Arc<Self>, mut doomed: Vec<Doomed>) {
        while let Some(Doomed { job, dependency, .. }) = doomed.pop() {
            doomed.extend(self.end_one(job, report::dependency_failed(dependency)).await);
        }
        self.pump();
    }

    async fn end_one(self: &Arc<Self>, id: JobId, report: ExitReport) -> Vec<Doomed> {
        while let Err(error) = self.load(id).await {
            if matches!(error, super::EngineError::NoSuchJob(_)) {
                return Vec::new();
            }
            tracing::error!(job = id.0, %error, "the end of a job waits for the store");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let Some(mut record) = self.live().record(id).cloned() else { return Vec::new() };
        let ended_usec = ended_usec(&record, &report, self.begun_usec, now_usec());
        let attempt = take_end(&mut record, report, ended_usec);
        let ended = Ended { attempt, ran: self.give_back(id, ended_usec) };
        match self.what_next(&mut record) {
            Next::Over { dead } => {
                record.dead = dead;
                self.finish(record, ended).await
            }
            Next::Again { pause, class } => self.try_again(record, ended, pause, class).await,
        }
    }

    /// No process of it is left: what it had the next job may have, whose start need
    /// not wait for this end to be durable. Answers whether it had anything.
    fn give_back(self: &Arc<Self>, id: JobId, ended_usec: u64) -> bool {
        let ran = self.live().queue.stopped(id, ended_usec, now_usec());
        if ran {
            self.pump();
        }
        ran
    }

    /// Counts the failure and decides.
    fn what_next(&self, record: &mut JobRecord) -> Next {
        let Some(class) = record.report.as_ref().and_then(|report| report.failure) else {
            return Next::Over { dead: false };
        };
        let policy = &self.settings().config.retry;
        let tries = policy.tries(&record.spec.queueing, class);
        let failures = record.failures.entry(class).or_default();
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let (wanted, has_directories) = {
            let live = self.live();
            let wanted = !live.get(record.id).is_some_and(|job| job.cancel_requested);
            let have = live.directories.get(&record.id).map_or(0, |have| have.len());
            (wanted, have == record.spec.mounts.len())
        };
        // Nobody can start it again without them, from the dead-letter list neither.
        if tries == 0 || !wanted || !has_directories {
            return Next::Over { dead: false };
        }
        if failures > tries {
            return Next::Over { dead: true };
        }
        Next::Again { pause: policy.pause(failures, random()), class }
    }

    async fn finish(self: &Arc<Self>, mut record: JobRecord, ended: Ended) -> Vec<Doomed> {
        let id = record.id;
        record.not_before_usec = None;
        let refused = records::sandbox_denied(&record);
        let completed = refused.into_iter().chain([records::completed(&record)]);
        self.record_surely(id, completed).await;
        self.commit_surely(&record, ended).await;
        let record = Arc::new(record);
        let succeeded = record.state == JobState::Succeeded;
        let doomed = {
            let mut live = self.live();
            let doomed = live.queue.ended(id, succeeded, now_usec());
            for doomed in &doomed {
                live.activate(doomed.job, doomed.uid, None, Vec::new());
            }
            live.finish(&record);
            doomed
        };
        self.tell(id, record.uid, Change::State(record.state));
        self.tell(id, record.uid, Change::Removed(record.state));
        doomed
    }

    async fn try_again(
        self: &Arc<Self>,
        mut record: JobRecord,
        ended: Ended,
        pause: Duration,
        class: FailureClass,
    ) -> Vec<Doomed> {
        let (id, uid) = (record.id, record.uid);
        let pause_usec = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        record.state = JobState::Queued;
        record.finished_usec = None;
        record.host_uid = None;
        record.gpu_names.clear();
        record.not_before_usec = Some(now_usec().saturating_add(pause_usec));
        let refused = records::sandbox_denied(&record);
        let retried = records::retried(&record, class, pause);
        self.record_surely(id, refused.into_iter().chain([retried])).await;
        self.commit_surely(&record, ended).await;
        if !self.requeue_unless_cancelled(record) {
            // That found an attempt that was over.
            return Box::pin(self.end_one(id, report::cancelled_early())).await;
        }
        self.tell(id, uid, Change::State(JobState::Queued));
        Vec::new()
    }

    /// False when the end of the job was asked for while its attempt ended.
    fn requeue_unless_cancelled(&self, record: JobRecord) -> bool {
        let mut live = self.live();
        if let Some(job) = live.get_mut(record.id)
            && job.cancel_requested
        {
            job.record = Some(record);
            return false;
        }
        let entry = self.entry(&record, Vec::new(), &mut live);
        live.requeue(entry, now_usec());
        true
    }

    pub(super) async fn record_surely(&self, id: JobId, records: impl Iterator<Item = NewRecord>) {
        for new in records {
            while let Err(error) = self.ledger.append(new.clone()).await {
                tracing::error!(job = id.0, %error, "the end of a job waits for the audit log");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn commit_surely(&self, record: &JobRecord, Ended { attempt, ran }: Ended) {
        // Not before: of two jobs of a user the one that is committed last has both.
        let share = ran.then(|| UserShare {
            uid: record.uid,
            share: self.live().queue.share(record.uid, now_usec()),
        });
        while let Err(error) = self.store.end(record.clone(), attempt, share).await {
            tracing::error!(job = record.id.0, %error, "the end of a job waits for the store");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// When it ended. While a supervisor ran it saw that. Of a job that ended before this one
/// began, the report says when; its word counts within what is possible.
fn ended_usec(record: &JobRecord, report: &ExitReport, begun_usec: u64, now_usec: u64) -> u64 {
    let started = record.started_usec.unwrap_or(record.submitted_usec);
    let possible = started..=begun_usec.min(now_usec);
    if possible.contains(&report.finished_usec) { report.finished_usec } else { now_usec }
}

/// Puts the report into the job's record. Answers with the end of the attempt that was
/// under way, if one was.
fn take_end(record: &mut JobRecord, report: ExitReport, ended_usec: u64) -> Option<AttemptEnd> {
    let under_way = matches!(record.state, JobState::Starting | JobState::Running);
    record.state = report::final_state(&report);
    record.reason.clone_from(&report.summary);
    record.finished_usec = Some(ended_usec);
    if report.started_usec != 0 {
        record.started_usec = Some(report.started_usec);
    }
    record.report = Some(report);
    under_way.then_some(AttemptEnd {
        number: record.attempt,
        state: record.state,
        finished_usec: record.finished_usec,
    })
}

/// Evenly spread. Where the kernel gives none, jobs that failed together come back together.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(bytes)
}
