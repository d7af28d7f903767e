//! What callers may see of jobs. Every way to a job goes through a [`Scope`],
//! so that a foreign job looks exactly like one that does not exist.

use super::launcher::{JobFiles, Part};
use super::{Engine, EngineError};
use crate::queue::{Capacity, Needs, Why};
use crate::store::{AttemptRecord, Filter, JobRecord, Summary};
use fetchml_api::job::{JobDescription, JobId, JobState};
use fetchml_api::names::{MAX_PAGE_JOBS, PAGE_BYTES};
use serde::Serialize;
use std::os::fd::OwnedFd;

/// Waiting jobs that are objects on the bus.
pub const MOST_SHOWN: u32 = 1000;

/// What the object of a job says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub id: JobId,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Name for people.
    pub name: String,
    /// Current state.
    pub state: JobState,
}

impl From<&JobRecord> for Shown {
    fn from(job: &JobRecord) -> Self {
        Self { id: job.id, uid: job.uid, name: job.spec.name.clone(), state: job.state }
    }
}

impl From<Summary> for Shown {
    fn from(job: Summary) -> Self {
        Self { id: job.id, uid: job.uid, name: job.name, state: job.state }
    }
}

/// The queue at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueueOverview {
    /// Jobs that run or are being started.
    pub running: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Whether no job is started for now.
    pub draining: bool,
    /// Jobs that may run at once.
    pub slots: usize,
    /// What running jobs have for themselves.
    pub taken: Needs,
    /// What the machine has for jobs.
    pub capacity: Capacity,
    /// Users in scope that have jobs here.
    pub users: Vec<UserOverview>,
}

/// One user's jobs at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserOverview {
    /// Host user id.
    pub uid: u32,
    /// Host user name, when it has one.
    pub user: Option<String>,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs that run.
    pub running: usize,
    /// Processor-seconds used of late, by which users take turns.
    pub used: f64,
    /// Accelerator-hours used of late.
    pub gpu_hours: f64,
}

/// Whose jobs a caller may see; made by `access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one user.
    Own(u32),
    /// Everybody's.
    All,
}

impl Scope {
    /// Whether a job of this user is in it.
    #[must_use]
    pub fn covers(self, uid: u32) -> bool {
        match self {
            Self::Own(own) => own == uid,
            Self::All => true,
        }
    }

    fn narrow(self, filter: Filter) -> Filter {
        match self {
            Self::Own(uid) => Filter { uid: Some(uid), ..filter },
            Self::All => filter,
        }
    }
}

impl Engine {
    /// Whose job it is, whoever asks: for `access` to decide on.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn owner(&self, id: JobId) -> Result<Option<u32>, EngineError> {
        if let Some(uid) = self.live().owner(id) {
            return Ok(Some(uid));
        }
        Ok(self.store.job(id).await?.map(|record| record.uid))
    }

    /// Everything a client may know of one job.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`] when there is none in this scope.
    pub async fn describe(&self, scope: Scope, id: JobId) -> Result<JobDescription, EngineError> {
        let record = self.record(scope, id).await?;
        let running = self.live().get(id).and_then(|job| job.running.clone());
        let mut description = self.description(&record);
        if let Some(running) = running {
            description.usage = Some(running.usage());
            description.denied = running.denied().await;
        }
        Ok(description)
    }

    /// The same for the jobs in scope that match, newest last: a page of them at most.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn describe_all(
        &self,
        scope: Scope,
        filter: Filter,
    ) -> Result<Vec<JobDescription>, EngineError> {
        let filter = Filter { limit: filter.limit.min(MAX_PAGE_JOBS), ..scope.narrow(filter) };
        let records = self.store.jobs(filter, PAGE_BYTES).await?;
        Ok(records.iter().map(|record| self.description(record)).collect())
    }

    /// Key facts of every job in scope that matches, newest last.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn list(&self, scope: Scope, filter: Filter) -> Result<Vec<Summary>, EngineError> {
        Ok(self.store.summaries(scope.narrow(filter)).await?)
    }

    /// Jobs in scope that are not over, for their objects: all that run, and of those
    /// that wait those that came first, so many at most.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn shown(&self, scope: Scope, most_waiting: u32) -> Result<Vec<Shown>, EngineError> {
        let mut shown: Vec<Shown> = {
            let live = self.live();
            let active = live.iter().filter(|(_, active)| scope.covers(active.uid));
            active.filter_map(|(id, _)| live.record(id)).map(Shown::from).collect()
        };
        let uid = match scope {
            Scope::Own(uid) => Some(uid),
            Scope::All => None,
        };
        let waiting = self.store.waiting(uid, most_waiting).await?;
        let waiting = waiting.into_iter().filter(|job| shown.iter().all(|one| one.id != job.id));
        let waiting: Vec<Shown> = waiting.map(Shown::from).collect();
        shown.extend(waiting);
        Ok(shown)
    }

    /// Whether few enough jobs wait for each to be an object as soon as it is accepted.
    /// One of more becomes one when somebody asks for it, or when it starts.
    #[must_use]
    pub fn shows_new_jobs(&self) -> bool {
        u32::try_from(self.counts().1).unwrap_or(u32::MAX) <= MOST_SHOWN
    }

    /// The attempts of a job, in order.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`] when there is none in this scope.
    pub async fn attempts(
        &self,
        scope: Scope,
        id: JobId,
    ) -> Result<Vec<AttemptRecord>, EngineError> {
        self.record(scope, id).await?;
        Ok(self.store.attempts(id).await?)
    }

    /// What the machine has, what is taken, and who waits.
    #[must_use]
    pub fn queue_overview(&self, scope: Scope) -> QueueOverview {
        let now_usec = super::now_usec();
        let live = self.live();
        let (running, queued) = live.queue.counts();
        let users = live.queue.users().into_iter().filter(|(uid, _)| scope.covers(*uid));
        QueueOverview {
            running,
            queued,
            draining: self.is_drained(),
            slots: live.queue.capacity().slots,
            taken: live.queue.taken(),
            capacity: live.queue.capacity().clone(),
            users: users
                .map(|(uid, (queued, running))| UserOverview {
                    uid,
                    user: crate::access::user_name(uid),
                    queued,
                    running,
                    used: live.queue.share(uid, now_usec).used,
                    gpu_hours: live.queue.share(uid, now_usec).gpu_seconds / 3600.0,
                })
                .collect(),
        }
    }

    /// Why the first of these jobs that waits does, if the same keeps all of them that
    /// wait.
    #[must_use]
    pub fn why_all(&self, jobs: &[JobId]) -> Option<Why> {
        self.live().queue.why_all(jobs, self.is_drained(), super::now_usec())
    }

    /// A job that is not over, as it is now.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`] when there is none in this scope,
    /// [`EngineError::Over`] when there was.
    pub async fn unfinished_job(&self, scope: Scope, id: JobId) -> Result<JobRecord, EngineError> {
        let record = self.record(scope, id).await?;
        if record.state.is_final() { Err(EngineError::Over(id)) } else { Ok(record) }
    }

    /// Waits until the job is over and describes it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`] when there is none in this scope.
    pub async fn wait(&self, scope: Scope, id: JobId) -> Result<JobDescription, EngineError> {
        let done = {
            let mut live = self.live();
            let theirs = live.owner(id).is_some_and(|uid| scope.covers(uid));
            if theirs { live.watch(id) } else { None }
        };
        let Some(mut done) = done else { return self.describe(scope, id).await };
        let over = done.wait_for(Option::is_some).await.ok().and_then(|record| record.clone());
        match over {
            Some(record) => Ok(self.description(&record)),
            None => self.describe(scope, id).await,
        }
    }

    /// Opens a part of the job's directory.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`] when there is none in this scope, or why it
    /// cannot be opened.
    pub async fn open(&self, scope: Scope, id: JobId, part: Part) -> Result<OwnedFd, EngineError> {
        let record = self.record(scope, id).await?;
        if let Part::AttemptLog(wanted) = part
            && !(1..=record.attempt).contains(&wanted)
        {
            return Err(EngineError::Invalid(format!(
                "job {id} has no attempt {wanted}: so far it has {}",
                match record.attempt {
                    0 => "none".to_owned(),
                    1 => "attempt 1".to_owned(),
                    last => format!("attempts 1 to {last}"),
                }
            )));
        }
        let files = JobFiles {
            uid: record.uid,
            experiment: &record.spec.experiment,
            job: id,
            attempt: record.attempt,
        };
        self.launcher.open(&files, part).map_err(|refusal| match record.attempt {
            0 if record.state.is_final() => {
                EngineError::Failed(format!("job {id} never started: it has written nothing"))
            }
            0 => {
                EngineError::Failed(format!("job {id} has not started: it has written nothing yet"))
            }
            _ => refusal.into(),
        })
    }

    async fn record(&self, scope: Scope, id: JobId) -> Result<JobRecord, EngineError> {
        let live = self.live().record(id).cloned();
        let found = match live {
            Some(record) => Some(record),
            None => self.store.job(id).await?,
        };
        found.filter(|record| scope.covers(record.uid)).ok_or(EngineError::NoSuchJob(id))
    }

    fn description(&self, record: &JobRecord) -> JobDescription {
        let mut description = record.describe(crate::access::user_name(record.uid));
        let live = self.live();
        if let Some(why) = live.queue.why(record.id, super::now_usec()) {
            let why = why.if_drained(self.is_drained());
            description.reason = match (&why, &record.report) {
                (Why::Until(_), Some(report)) => format!("{why}; it {}", report.summary),
                _ => why.to_string(),
            };
        } else if live.get(record.id).is_some_and(|job| job.cancel_requested) {
            description.reason = "cancellation requested; it has its grace time to end".to_owned();
        }
        description
    }
}
