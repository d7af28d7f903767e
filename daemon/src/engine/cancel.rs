//! The end of a job that somebody asked for.

use super::live::Found;
use super::{Engine, EngineError, records, report};
use crate::access::Caller;
use fetchml_api::job::JobId;
use std::sync::Arc;
use std::time::Duration;

/// How long the answer waits for the end of a job that waited to be recorded and
/// committed. Below what clients of a bus wait for an answer (25 s).
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks for the end of a job that the caller may end. When this returns, a job that
    /// waited is over, and of any other it is in the store that its end was asked for;
    /// its end itself is not waited for. A job that is over stays as it is.
    ///
    /// # Errors
    /// [`EngineError`] when it is not in the store yet. The job is stopped all the same.
    pub async fn cancel(self: &Arc<Self>, caller: &Caller, id: JobId) -> Result<(), EngineError> {
        let (engine, caller) = (self.clone(), caller.clone());
        // A task of its own: a client that hangs up half-way must not leave a job
        // that is neither in the queue nor over.
        let asked = tokio::spawn(async move { engine.cancel_now(&caller, id).await });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(aborted)) => {
                Err(EngineError::Failed(format!("the cancellation was aborted: {aborted}")))
            }
            Err(_) => Err(EngineError::Failed(format!(
                "job {id} will not run any more, but neither the audit log nor the job store \
                 takes its end now; it is written as soon as they do, and a supervisor that is \
                 restarted before that knows nothing of it"
            ))),
        }
    }

    async fn cancel_now(self: &Arc<Self>, caller: &Caller, id: JobId) -> Result<(), EngineError> {
        let found = self.live().request_cancel(id);
        if matches!(found, Found::Over) {
            return Ok(());
        }
        // Stopping never waits for a record, and is not refused for want of one: a job
        // that nobody can stop is worse than a stop that is recorded only with its end.
        let recorded = async {
            if let Err(error) = self.ledger.append(records::cancelled(caller, id)).await {
                tracing::error!(job = id.0, %error, "a cancellation could not be recorded");
            }
        };
        match found {
            Found::Over => Ok(()),
            Found::Unqueued => {
                recorded.await;
                self.end_first(id, report::cancelled_early()).await;
                Ok(())
            }
            Found::Starting => {
                recorded.await;
                Ok(self.store.ask_end(id).await?)
            }
            Found::Running(running) => {
                let stored = async {
                    recorded.await;
                    self.store.ask_end(id).await
                };
                let ((), stored) = tokio::join!(running.stop(), stored);
                Ok(stored?)
            }
        }
    }
}
