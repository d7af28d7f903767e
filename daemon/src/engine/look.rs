//! What callers may see of jobs. Every way to a job goes through a [`Scope`],
//! so that a foreign job looks exactly like one that does not exist.

use super::launcher::{JobFiles, Part};
use super::{Engine, EngineError};
use crate::store::{Filter, JobRecord, Summary};
use fetchml_api::job::{JobDescription, JobId};
use std::os::fd::OwnedFd;

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
        if let Some(uid) = self.live().get(id).map(|job| job.record.uid) {
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
            description.denied = running.denied().await;
        }
        Ok(description)
    }

    /// The same for every job in scope that matches, newest last.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn describe_all(
        &self,
        scope: Scope,
        filter: Filter,
    ) -> Result<Vec<JobDescription>, EngineError> {
        let records = self.store.jobs(scope.narrow(filter)).await?;
        Ok(records.iter().map(|record| self.description(record)).collect())
    }

    /// Key facts of every job in scope that matches, newest last.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn list(&self, scope: Scope, filter: Filter) -> Result<Vec<Summary>, EngineError> {
        Ok(self.store.summaries(scope.narrow(filter)).await?)
    }

    /// Jobs in scope that are not over.
    #[must_use]
    pub fn unfinished(&self, scope: Scope) -> Vec<JobRecord> {
        let live = self.live();
        live.iter().map(|job| &job.record).filter(|r| scope.covers(r.uid)).cloned().collect()
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
            let live = self.live();
            live.get(id).filter(|job| scope.covers(job.record.uid)).map(super::live::LiveJob::done)
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
        let files = JobFiles { uid: record.uid, experiment: &record.spec.experiment, job: id };
        Ok(self.launcher.open(&files, part)?)
    }

    async fn record(&self, scope: Scope, id: JobId) -> Result<JobRecord, EngineError> {
        let live = self.live().get(id).map(|job| job.record.clone());
        let found = match live {
            Some(record) => Some(record),
            None => self.store.job(id).await?,
        };
        found.filter(|record| scope.covers(record.uid)).ok_or(EngineError::NoSuchJob(id))
    }

    fn description(&self, record: &JobRecord) -> JobDescription {
        let mut description = record.describe(crate::access::user_name(record.uid));
        let max_running = self.max_running();
        let live = self.live();
        if live.get(record.id).is_some_and(super::live::LiveJob::is_queued) {
            description.reason = live.waiting_reason(record.id, max_running);
        } else if live.get(record.id).is_some_and(|job| job.cancel_requested) {
            description.reason = "cancellation requested; it has its grace time to end".to_owned();
        }
        description
    }
}
