//! The end of a job that somebody asked for.

use super::live::Found;
use super::{Engine, records, report};
use crate::access::Caller;
use fetchml_api::job::JobId;
use std::sync::Arc;

impl Engine {
    /// Asks for the end of a job that the caller may end, and returns without
    /// waiting for it. A job that is over stays as it is.
    pub async fn cancel(self: &Arc<Self>, caller: &Caller, id: JobId) {
        let found = self.live().request_cancel(id);
        if matches!(found, Found::Over) {
            return;
        }
        // Stopping is never refused for want of a record: a job that nobody can
        // stop is worse than a stop that is recorded only with the job's end.
        if let Err(error) = self.ledger.append(records::cancelled(caller, id)).await {
            tracing::error!(job = id.0, %error, "a cancellation could not be recorded");
        }
        match found {
            Found::Over | Found::Starting => {}
            Found::Unqueued => {
                let engine = self.clone();
                tokio::spawn(async move { engine.end(id, report::cancelled_early()).await });
            }
            Found::Running(running) => running.stop().await,
        }
    }
}
