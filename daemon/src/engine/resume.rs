//! Jobs that a supervisor before this one left behind; see [`crate::recover`].

use super::launcher::Adoption;
use super::{Change, Engine, EngineError, now_usec, records, report};
use crate::store::JobRecord;
use crate::supervise::AdoptRequest;
use fetchml_api::job::JobState;
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

    /// Puts a job back into the queue, at its old place. It is recorded again:
    /// the supervisor may have gone away between the commit and the record.
    ///
    /// # Errors
    /// [`EngineError::AuditUnavailable`] when it cannot be recorded.
    pub async fn requeue(
        &self,
        record: JobRecord,
        directories: Vec<OwnedFd>,
    ) -> Result<(), EngineError> {
        let recorded = self.ledger.append(records::requeued(&record)).await;
        recorded.map_err(EngineError::AuditUnavailable)?;
        self.live().add_queued(record, directories);
        Ok(())
    }

    /// Ends a job that waited and cannot be started any more.
    pub async fn lose(self: &Arc<Self>, record: JobRecord) {
        let id = record.id;
        self.live().add_running(record, None);
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
        };
        match self.launcher.adopt(request).await {
            Adoption::Ended(report) => {
                self.live().add_running(record, None);
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
                self.live().add_running(record, Some(running.clone()));
                self.tell(id, uid, Change::State(state));
                let engine = self.clone();
                tokio::spawn(async move { engine.follow(id, running).await });
            }
        }
    }
}
