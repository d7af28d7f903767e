//! Care for the store: copies of it, and jobs that have been over for longer than the
//! site wants to remember them.

use super::launcher::JobFiles;
use super::{Engine, EngineError, now_usec, records};
use crate::access::Caller;
use fetchml_api::job::JobId;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Jobs that are forgotten in one transaction, so that others are not kept waiting.
const AT_ONCE: u32 = 200;

impl Engine {
    /// A copy of the store, for a caller who may read everything. Recorded before it
    /// is made: it has every user's jobs in it.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be recorded or made.
    pub async fn back_up(&self, caller: &Caller) -> Result<OwnedFd, EngineError> {
        let recorded = self.ledger.append(records::backed_up(caller)).await;
        recorded.map_err(EngineError::AuditUnavailable)?;
        Ok(self.store.backup().await?)
    }

    /// Forgets them, and deletes their directories. Answers with how many there were.
    ///
    /// # Errors
    /// [`EngineError`] when the store or the audit log fails; what is forgotten by then
    /// stays forgotten.
    pub async fn prune(self: &Arc<Self>) -> Result<usize, EngineError> {
        let Some(keep) = self.settings().config.store.keep else { return Ok(0) };
        let keep_usec = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
        let before_usec = now_usec().saturating_sub(keep_usec);
        let mut count = 0;
        loop {
            let pruned = self.store.prune(before_usec, AT_ONCE).await?;
            if pruned.is_empty() {
                return Ok(count);
            }
            count += pruned.len();
            let mut ids: Vec<JobId> = pruned.iter().map(|job| job.id).collect();
            ids.sort();
            let recorded = self.ledger.append(records::pruned(&ids)).await;
            recorded.map_err(EngineError::AuditUnavailable)?;
            let engine = self.clone();
            let deleted = tokio::task::spawn_blocking(move || {
                for job in pruned {
                    let files = JobFiles {
                        uid: job.uid,
                        experiment: &job.experiment,
                        job: job.id,
                        attempt: 1,
                    };
                    engine.launcher.delete(&files);
                }
            });
            deleted.await.map_err(|error| EngineError::Failed(error.to_string()))?;
        }
    }
}
