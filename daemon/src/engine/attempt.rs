//! One attempt, from the queue to its end. Reads top to bottom as a job lives:
//! plan → commit → record → start → commit → follow → record → commit → tell.

use super::launcher::{Planned, Running};
use super::{Change, Engine, EngineError, now_usec, records, report};
use crate::store::JobRecord;
use crate::supervise::{StartRequest, Submitter};
use fetchml_api::job::{ExitReport, FailureClass, JobId, JobState, Layer};
use std::sync::Arc;
use std::time::Duration;

/// Pause between two tries to record or commit an end.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs a job that the queue gave a slot. Always ends in [`Engine::end`].
    pub(super) async fn start(self: Arc<Self>, id: JobId) {
        match self.launch(id).await {
            Ok(running) => self.follow(id, running).await,
            Err(report) => self.end(id, *report).await,
        }
    }

    async fn launch(&self, id: JobId) -> Result<Arc<dyn Running>, Box<ExitReport>> {
        let planned = self.plan(id)?;
        let (host_uid, layers) = (planned.host_uid(), planned.layers().to_vec());
        let record = self.commit_starting(id, host_uid, layers).await?;
        self.ledger.append(records::started(&record)).await.map_err(|error| {
            let why = format!("its start could not be recorded in the audit log: {error}");
            Box::new(report::not_run(FailureClass::Infrastructure, &why))
        })?;
        self.refuse_if_cancelled(id)?;
        let running = planned.start().await?;
        self.commit_running(id, &running).await;
        Ok(running)
    }

    fn plan(&self, id: JobId) -> Result<Box<dyn Planned>, Box<ExitReport>> {
        self.refuse_if_cancelled(id)?;
        let (record, directories) = {
            let mut live = self.live();
            let job = live.get_mut(id).ok_or_else(|| Box::new(report::cancelled_early()))?;
            (job.record.clone(), std::mem::take(&mut job.directories))
        };
        self.notify.release(id, directories.len());
        let profile = self.profile(&record.spec.profile).map_err(|error| refused(&error))?;
        let request = StartRequest {
            job: id,
            spec: record.spec,
            profile,
            submitter: Submitter { uid: record.uid, gid: record.gid },
            directories,
            attempt: record.attempt + 1,
            gpus: record.gpu_names,
        };
        self.launcher.plan(request).map_err(|refusal| refused(&refusal.into()))
    }

    async fn commit_starting(
        &self,
        id: JobId,
        host_uid: u32,
        layers: Vec<Layer>,
    ) -> Result<JobRecord, Box<ExitReport>> {
        let change = |record: &mut JobRecord| {
            record.state = JobState::Starting;
            "its sandbox is being built".clone_into(&mut record.reason);
            record.attempt += 1;
            record.host_uid = Some(host_uid);
            record.layers = layers;
        };
        self.commit(id, change).await.map_err(|error| refused(&error))
    }

    /// The command runs whether or not this can be committed; if not, nobody is told.
    async fn commit_running(&self, id: JobId, running: &Arc<dyn Running>) {
        let change = |record: &mut JobRecord| {
            record.state = JobState::Running;
            "its command runs".clone_into(&mut record.reason);
            record.started_usec = Some(now_usec());
        };
        if let Err(error) = self.commit(id, change).await {
            tracing::error!(job = id.0, %error, "a running job could not be committed");
        }
        let stop = self.live().get_mut(id).is_some_and(|job| {
            job.running = Some(running.clone());
            job.cancel_requested
        });
        if stop {
            running.stop().await;
        }
    }

    /// Changes a job's record in the store, then in memory, then tells.
    async fn commit(
        &self,
        id: JobId,
        change: impl FnOnce(&mut JobRecord),
    ) -> Result<JobRecord, EngineError> {
        let mut record =
            self.live().get(id).map(|job| job.record.clone()).ok_or(EngineError::NoSuchJob(id))?;
        change(&mut record);
        self.store.update(record.clone()).await?;
        if let Some(job) = self.live().get_mut(id) {
            job.record = record.clone();
        }
        self.tell(id, record.uid, Change::State(record.state));
        Ok(record)
    }

    fn refuse_if_cancelled(&self, id: JobId) -> Result<(), Box<ExitReport>> {
        match self.live().get(id) {
            Some(job) if job.cancel_requested => Err(Box::new(report::cancelled_early())),
            _ => Ok(()),
        }
    }

    /// Waits for the end of a running attempt and ends the job with it.
    pub(super) async fn follow(self: &Arc<Self>, id: JobId, running: Arc<dyn Running>) {
        let report = running.finished().await;
        self.end(id, report).await;
    }

    /// Records, commits and tells the end of a job. Neither the record nor the
    /// commit can be left out, so both are tried until they succeed; the job
    /// keeps its slot and its last committed state meanwhile.
    pub(super) async fn end(self: &Arc<Self>, id: JobId, report: ExitReport) {
        let Some(mut record) = self.live().get(id).map(|job| job.record.clone()) else { return };
        record.state = report::final_state(&report);
        record.reason.clone_from(&report.summary);
        record.finished_usec = Some(now_usec());
        if report.started_usec != 0 {
            record.started_usec = Some(report.started_usec);
        }
        record.report = Some(report);
        let refused = records::sandbox_denied(&record);
        for new in refused.into_iter().chain([records::completed(&record)]) {
            while let Err(error) = self.ledger.append(new.clone()).await {
                tracing::error!(job = id.0, %error, "the end of a job waits for the audit log");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        while let Err(error) = self.store.update(record.clone()).await {
            tracing::error!(job = id.0, %error, "the end of a job waits for the store");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let record = Arc::new(record);
        let unused =
            self.live().get_mut(id).map_or(0, |job| std::mem::take(&mut job.directories).len());
        self.notify.release(id, unused);
        self.live().finish(&record);
        self.tell(id, record.uid, Change::State(record.state));
        self.tell(id, record.uid, Change::Removed(record.state));
        self.pump();
    }
}

fn refused(error: &EngineError) -> Box<ExitReport> {
    let class = match error {
        EngineError::Store(_) | EngineError::Failed(_) => FailureClass::Infrastructure,
        _ => FailureClass::PolicyDenied,
    };
    Box::new(report::not_run(class, &error.to_string()))
}
