//! One attempt, from the queue to its end. Reads top to bottom as a job lives:
//! load → plan → record and commit → start → commit → follow → record → commit → tell.

use super::launcher::{Planned, Running};
use super::{Change, Engine, EngineError, directories, now_usec, records, report};
use crate::secrets::{Given, Holder};
use crate::store::JobRecord;
use crate::supervise::{StartRequest, Submitter};
use fetchml_api::job::{ExitReport, FailureClass, JobId, JobState, Layer};
use fetchml_policies::profile::in_words;
use std::sync::Arc;

impl Engine {
    /// Runs a job that the queue gave a place. Always ends in [`Engine::end`].
    pub(super) async fn start(self: Arc<Self>, id: JobId) {
        match self.launch(id).await {
            Ok(running) => self.follow(id, running).await,
            Err(report) => self.end(id, *report).await,
        }
    }

    async fn launch(&self, id: JobId) -> Result<Arc<dyn Running>, Box<ExitReport>> {
        self.load(id).await.map_err(|error| refused(&error))?;
        self.refuse_if_privileged_since(id).await?;
        let secrets = self.secrets_of(id).await?;
        let planned = self.plan(id, secrets)?;
        let (host_uid, layers) = (planned.host_uid(), planned.layers().to_vec());
        self.commit_starting(id, host_uid, layers).await?;
        self.refuse_if_cancelled(id)?;
        let running = planned.start().await?;
        self.commit_running(id, &running).await;
        Ok(running)
    }

    /// Reads a job that waited from the store.
    pub(super) async fn load(&self, id: JobId) -> Result<(), EngineError> {
        if self.live().record(id).is_some() {
            return Ok(());
        }
        let record = self.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
        if let Some(active) = self.live().get_mut(id) {
            active.cancel_requested |= record.cancelled;
            active.record = Some(record);
        }
        Ok(())
    }

    /// The values of its secrets, if its owner may still use them.
    async fn secrets_of(&self, id: JobId) -> Result<Vec<Given>, Box<ExitReport>> {
        let Some(record) = self.live().record(id).cloned() else { return Ok(Vec::new()) };
        if record.spec.secrets.is_empty() {
            return Ok(Vec::new());
        }
        let vault = self.vault.clone();
        let (uid, uses) = (record.uid, record.spec.secrets.clone());
        let taking = move || vault.take(&uses, &Holder::of_user(uid));
        let taken = tokio::task::spawn_blocking(taking).await;
        let taken = taken.map_err(|error| refused(&EngineError::Failed(error.to_string())))?;
        let error = match taken {
            Ok(given) => return Ok(given),
            Err(error) => error,
        };
        if error.is_denial() {
            // The refusal stands whether or not it can be recorded; the end of the job is.
            let denied = records::secret_denied(&record, &error.to_string());
            if let Err(error) = self.ledger.append(denied).await {
                tracing::error!(job = id.0, %error, "a denial could not be recorded");
            }
        }
        Err(refused(&error.into()))
    }

    fn plan(&self, id: JobId, secrets: Vec<Given>) -> Result<Box<dyn Planned>, Box<ExitReport>> {
        self.refuse_if_cancelled(id)?;
        let (record, gpus) = {
            let live = self.live();
            let gpus = live.get(id).map(|active| active.gpus.clone());
            (live.record(id).cloned(), gpus.unwrap_or_default())
        };
        let record = record.ok_or_else(|| Box::new(report::cancelled_early()))?;
        let profile = self.profile(&record.spec.profile).map_err(|error| refused(&error))?;
        let directories = self.directories_of(id);
        let directories = directories::open(&record.spec, &directories).map_err(|lost| {
            if lost.for_good {
                self.live().directories.remove(&id);
            }
            Box::new(report::not_run(lost.class(), &lost.why))
        })?;
        let request = StartRequest {
            job: id,
            spec: record.spec,
            profile,
            submitter: Submitter { uid: record.uid, gid: record.gid },
            directories,
            attempt: record.attempt + 1,
            gpus,
            secrets,
        };
        self.launcher.plan(request).map_err(|refusal| refused(&refusal.into()))
    }

    /// Commits and records that an attempt begins, both at once: nothing follows from
    /// one without the other, and the command needs both to be durable.
    async fn commit_starting(
        &self,
        id: JobId,
        host_uid: u32,
        layers: Vec<Layer>,
    ) -> Result<(), Box<ExitReport>> {
        let (record, gpus) = {
            let live = self.live();
            let gpus = live.get(id).map(|active| active.gpus.clone());
            (live.record(id).cloned(), gpus.unwrap_or_default())
        };
        let mut record = record.ok_or_else(|| refused(&EngineError::NoSuchJob(id)))?;
        record.state = JobState::Starting;
        "its sandbox is being built".clone_into(&mut record.reason);
        record.attempt += 1;
        record.started_usec = None;
        record.not_before_usec = None;
        record.report = None;
        record.host_uid = Some(host_uid);
        record.boot_id = crate::recover::this_boot();
        record.layers = layers;
        record.gpu_names = gpus;
        let started = records::started(&record);
        let (recorded, committed) = tokio::join!(self.ledger.append(started), self.commit(record));
        committed.map_err(|error| refused(&error))?;
        recorded.map_err(|error| {
            let why = format!("its start could not be recorded in the audit log: {error}");
            Box::new(report::not_run(FailureClass::Infrastructure, &why))
        })
    }

    /// The command runs whether or not this can be committed; if not, nobody is told.
    async fn commit_running(&self, id: JobId, running: &Arc<dyn Running>) {
        let record = self.live().record(id).cloned();
        if let Some(mut record) = record {
            record.state = JobState::Running;
            "its command runs".clone_into(&mut record.reason);
            record.started_usec = Some(now_usec());
            let committed = self.store.update_begun(record.clone()).await;
            if let Err(error) = committed.map(|()| self.committed(record)) {
                tracing::error!(job = id.0, %error, "a running job could not be committed");
            }
        }
        let stop = self.live().get_mut(id).is_some_and(|job| {
            job.running = Some(running.clone());
            job.cancel_requested
        });
        if stop {
            running.stop().await;
        }
    }

    /// Puts a job's record into the store, then into memory, then tells.
    async fn commit(&self, record: JobRecord) -> Result<(), EngineError> {
        self.store.update(record.clone()).await?;
        self.committed(record);
        Ok(())
    }

    fn committed(&self, record: JobRecord) {
        let (id, uid, state) = (record.id, record.uid, record.state);
        if let Some(job) = self.live().get_mut(id) {
            job.record = Some(record);
        }
        self.tell(id, uid, Change::State(state));
    }

    fn refuse_if_cancelled(&self, id: JobId) -> Result<(), Box<ExitReport>> {
        match self.live().get(id) {
            Some(job) if job.cancel_requested => Err(Box::new(report::cancelled_early())),
            _ => Ok(()),
        }
    }

    /// Policies may have been read again while the job waited, also by another
    /// supervisor: what nobody granted for this job it does not get.
    async fn refuse_if_privileged_since(&self, id: JobId) -> Result<(), Box<ExitReport>> {
        let Some(record) = self.live().record(id).cloned() else { return Ok(()) };
        let profile = self.profile(&record.spec.profile).map_err(|error| refused(&error))?;
        let beyond = profile.privileges_beyond(&record.privileges);
        if beyond.is_empty() {
            return Ok(());
        }
        // The refusal stands whether or not it can be recorded; the end of the job is.
        if let Err(error) = self.ledger.append(records::profile_denied(&record, &beyond)).await {
            tracing::error!(job = id.0, %error, "a denial could not be recorded");
        }
        Err(refused(&EngineError::Denied(format!(
            "profile {:?} was changed while the job waited and now {}, which was not granted when \
             it was submitted: submit it again, or choose another profile",
            profile.name,
            in_words(&beyond)
        ))))
    }

    /// Waits for the end of a running attempt and ends the job with it.
    pub(super) async fn follow(self: &Arc<Self>, id: JobId, running: Arc<dyn Running>) {
        // What it did is recorded before its end is.
        let (report, ()) = tokio::join!(running.finished(), self.record_accesses(id, &*running));
        self.end(id, report).await;
    }

    async fn record_accesses(&self, id: JobId, running: &dyn Running) {
        while let Some(accesses) = running.accesses().await {
            let Some(record) = self.live().record(id).cloned() else { return };
            let all = accesses.iter().map(|access| records::accessed(&record, access));
            let all = all.map(|new| self.record_surely(id, std::iter::once(new)));
            futures_util::future::join_all(all).await;
        }
    }
}

fn refused(error: &EngineError) -> Box<ExitReport> {
    let class = match error {
        EngineError::Store(_) | EngineError::Failed(_) => FailureClass::Infrastructure,
        _ => FailureClass::PolicyDenied,
    };
    Box::new(report::not_run(class, &error.to_string()))
}
