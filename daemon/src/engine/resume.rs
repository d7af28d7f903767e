//! Jobs that a supervisor before this one left behind; see [`crate::recover`].

use super::launcher::Adoption;
use super::{Change, Engine, EngineError, now_usec, records, report};
use crate::store::{JobRecord, UserShare};
use crate::supervise::AdoptRequest;
use fetchml_api::job::{JobId, JobState};
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Engine {
    /// Jobs that were not over when the last supervisor went away, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn left_behind(&self) -> Result<Vec<JobRecord>, EngineError> {
        Ok(self.store.unfinished().await?)
    }

    /// Users and what they have used.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn take_over_shares(&self) -> Result<(), EngineError> {
        for UserShare { uid, share } in self.store.shares().await? {
            self.live().queue.set_share(uid, share);
        }
        Ok(())
    }

    /// Records that jobs wait again. They are recorded a second time, all together:
    /// the supervisor may have gone away between their commit and their record.
    ///
    /// # Errors
    /// [`EngineError::AuditUnavailable`] when it cannot be recorded.
    pub async fn record_requeued(&self, jobs: &[JobId]) -> Result<(), EngineError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let recorded = self.ledger.append(records::requeued(jobs)).await;
        recorded.map_err(EngineError::AuditUnavailable)
    }

    /// Puts a job back into the queue, at its old place.
    pub async fn requeue(self: &Arc<Self>, record: JobRecord, directories: Vec<OwnedFd>) {
        {
            let mut live = self.live();
            let opened = live.held.count_in(record.uid, directories);
            live.held.keep(record.id, opened);
        }
        self.wait_in_line(record).await;
    }

    /// Ends a job that waited and cannot be started any more.
    pub async fn lose(self: &Arc<Self>, record: JobRecord) {
        let id = record.id;
        self.live().activate(id, record.uid, Some(record), Vec::new());
        self.end(id, report::lost_while_queued()).await;
    }

    /// Finds out what became of a job that was starting or running.
    pub async fn adopt(self: &Arc<Self>, mut record: JobRecord) {
        let id = record.id;
        let request = AdoptRequest {
            job: id,
            spec: record.spec.clone(),
            uid: record.uid,
            layers: record.layers.clone(),
            attempt: record.attempt,
            gpus: record.gpu_names.clone(),
        };
        match self.launcher.adopt(request).await {
            Adoption::Ended(report) => {
                self.live().activate(id, record.uid, Some(record), Vec::new());
                self.end(id, *report).await;
            }
            Adoption::Running(running) => {
                if record.state == JobState::Starting {
                    record.state = JobState::Running;
                    "its command runs".clone_into(&mut record.reason);
                    record.started_usec = Some(now_usec());
                    if let Err(error) = self.store.update(record.clone()).await {
                        tracing::error!(job = id.0, %error, "an adopted job could not be committed");
                    }
                }
                let (uid, state) = (record.uid, record.state);
                {
                    let mut live = self.live();
                    let entry = self.entry(&record, Vec::new(), &mut live);
                    let started_usec = record.started_usec.unwrap_or_else(now_usec);
                    let gpus = record.gpu_names.clone();
                    live.queue.adopt(entry, gpus.clone(), started_usec);
                    let active = live.activate(id, uid, Some(record), gpus);
                    active.running = Some(running.clone());
                }
                self.tell(id, uid, Change::State(state));
                let engine = self.clone();
                tokio::spawn(async move { engine.follow(id, running).await });
            }
        }
    }
}
