//! Jobs that a supervisor before this one left behind; see [`crate::recover`].

use super::launcher::Adoption;
use super::{Change, Engine, EngineError, now_usec, records, report};
use crate::directories::{Directories, Directory};
use crate::store::{JobRecord, UserShare, Waiting};
use crate::supervise::{Access, AdoptRequest};
use fetchml_api::job::{FailureClass, JobId, JobState, Layer};
use std::sync::Arc;

impl Engine {
    /// Jobs that were not over when the last supervisor went away, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn left_behind(&self) -> Result<Vec<JobRecord>, EngineError> {
        Ok(self.store.unfinished().await?)
    }

    /// What the store has of the directories of their jobs, and the room that they
    /// go back to.
    ///
    /// # Errors
    /// [`EngineError`] when the store fails.
    pub async fn directories_left_behind(&self) -> Result<(Waiting, &Directories), EngineError> {
        Ok((self.store.waiting_directories().await?, &self.directories))
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
    pub async fn requeue(self: &Arc<Self>, record: JobRecord, directories: Arc<[Directory]>) {
        self.live().directories.insert(record.id, directories);
        self.wait_in_line(record).await;
    }

    /// Ends a job whose end somebody asked for before the last supervisor went away.
    pub async fn cancel_again(self: &Arc<Self>, record: JobRecord) {
        let id = record.id;
        self.live().activate(id, record.uid, Some(record), Vec::new());
        self.end(id, report::cancelled_early()).await;
    }

    /// Ends a job that waited and cannot be started any more.
    pub async fn lose(self: &Arc<Self>, record: JobRecord, why: &str) {
        let id = record.id;
        self.live().activate(id, record.uid, Some(record), Vec::new());
        self.end(id, report::not_run(FailureClass::Lost, why)).await;
    }

    /// Jobs of which something was left; most of those that wait are not among them.
    pub fn lingering(&self) -> Vec<JobId> {
        self.launcher.lingering()
    }

    /// Removes what jobs left that are over.
    pub fn sweep(&self, jobs: &[JobId]) {
        self.launcher.sweep(jobs);
    }

    /// Finds out what became of a job. Answers with one that waits.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be committed that it waits again.
    pub async fn adopt(
        self: &Arc<Self>,
        mut record: JobRecord,
        directories: Arc<[Directory]>,
    ) -> Result<Option<JobRecord>, EngineError> {
        let id = record.id;
        self.live().directories.insert(id, directories);
        let request = AdoptRequest {
            job: id,
            spec: record.spec.clone(),
            uid: record.uid,
            layers: record.layers.clone(),
            attempt: record.attempt,
            gpus: record.gpu_names.clone(),
            state: record.state,
            host_uid: record.host_uid,
            this_boot: match (&record.boot_id, crate::recover::this_boot()) {
                (Some(then), Some(now)) => Some(*then == now),
                _ => None,
            },
        };
        let adoption = self.launcher.adopt(request).await;
        let watched = record.layers.iter().any(|layer| layer.name == Layer::DATA_AUDIT);
        if watched && !matches!(adoption, Adoption::NeverBegan) {
            let gap = Access::Unseen("the supervisor was started again while the job ran".into());
            self.record_surely(id, std::iter::once(records::accessed(&record, &gap))).await;
        }
        match adoption {
            Adoption::Ended(report) => {
                self.live().activate(id, record.uid, Some(record), Vec::new());
                self.end(id, *report).await;
            }
            Adoption::Running(running) => {
                if record.state != JobState::Running {
                    record.state = JobState::Running;
                    record.attempt = record.attempt.max(1);
                    "its command runs".clone_into(&mut record.reason);
                    record.started_usec = Some(now_usec());
                    if let Err(error) = self.store.update(record.clone()).await {
                        tracing::error!(job = id.0, %error, "an adopted job could not be committed");
                    }
                }
                let (uid, state, cancelled) = (record.uid, record.state, record.cancelled);
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
                tokio::spawn(async move {
                    // Nobody knows whether the agent was told before.
                    if cancelled {
                        running.stop().await;
                    }
                    engine.follow(id, running).await;
                });
            }
            Adoption::NeverBegan => {
                if record.state == JobState::Starting {
                    take_back(&mut record);
                    self.store.take_back_attempt(record.clone()).await?;
                }
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// An attempt of which nothing began was none.
fn take_back(record: &mut JobRecord) {
    record.state = JobState::Queued;
    "the supervisor went away before its command began".clone_into(&mut record.reason);
    record.attempt = record.attempt.saturating_sub(1);
    record.host_uid = None;
    record.boot_id = None;
    record.layers.clear();
    record.gpu_names.clear();
}
