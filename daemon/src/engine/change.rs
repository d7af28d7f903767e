//! Changes to jobs that wait, and to those in the dead-letter list.

use super::{Change, Engine, EngineError, now_usec, records};
use crate::access::Caller;
use crate::store::JobRecord;
use fetchml_api::job::{JobId, JobState};
use std::sync::Arc;

impl Engine {
    /// Moves a waiting job in the queue. Who may is decided before.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a job that does not wait.
    pub async fn set_priority(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        priority: i32,
    ) -> Result<(), EngineError> {
        let words = format!("priority {priority}");
        self.change_waiting(caller, id, &words, move |record| record.priority = priority).await
    }

    /// Keeps a waiting job from starting.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a job that does not wait.
    pub async fn hold(self: &Arc<Self>, caller: &Caller, id: JobId) -> Result<(), EngineError> {
        self.change_waiting(caller, id, "hold", |record| record.held = true).await
    }

    /// Lets a held job start when it is its turn.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a job that does not wait.
    pub async fn release(self: &Arc<Self>, caller: &Caller, id: JobId) -> Result<(), EngineError> {
        self.change_waiting(caller, id, "release", |record| record.held = false).await
    }

    async fn change_waiting(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        words: &str,
        change: impl Fn(&mut JobRecord) + Send,
    ) -> Result<(), EngineError> {
        if !self.live().queue.is_waiting(id) {
            return Err(self.not_waiting(id));
        }
        let changed = records::changed(caller, id, words);
        self.ledger.append(changed).await.map_err(EngineError::AuditUnavailable)?;
        let mut record = self.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
        change(&mut record);
        self.store.set_place(id, record.priority, record.held).await?;
        let changed = {
            let mut live = self.live();
            live.forget_fresh(id);
            let (priority, held) = (record.priority, record.held);
            live.queue.change(id, now_usec(), |entry| {
                entry.priority = priority;
                entry.held = held;
            })
        };
        if !changed {
            return Err(self.not_waiting(id));
        }
        self.tell(id, record.uid, Change::State(JobState::Queued));
        self.pump();
        Ok(())
    }

    fn not_waiting(&self, id: JobId) -> EngineError {
        let what = if self.live().is_live(id) { "has started" } else { "is over" };
        EngineError::Invalid(format!("job {id} {what}: only a job that waits can be changed"))
    }

    /// Puts a job of the dead-letter list into the queue again, with all its tries.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when it is not in that list or cannot be started again,
    /// [`EngineError::Denied`] when its owner has too many jobs waiting.
    pub async fn requeue_dead(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<(), EngineError> {
        let (mut record, _mine) = self.dead(id).await?;
        let _room = match self.take_room(record.uid, 1, record.spec.text_bytes()) {
            Ok(room) => room,
            Err(refused) => {
                let resource = format!("job/{id}");
                self.record_denial(caller, "requeue", &resource, &refused.to_string()).await;
                return Err(refused);
            }
        };
        let directories = self.directories_again(&record).await?;
        record.state = JobState::Queued;
        "put back from the dead-letter list".clone_into(&mut record.reason);
        record.dead = false;
        record.failures.clear();
        record.finished_usec = None;
        record.spec.queueing.after.clear();
        let changed = records::changed(caller, id, "requeue");
        self.ledger.append(changed).await.map_err(EngineError::AuditUnavailable)?;
        self.store.end(record.clone(), None, None).await?;
        let uid = record.uid;
        self.live().directories.insert(id, directories);
        self.wait_in_line(record).await;
        self.tell(id, uid, Change::New);
        self.pump();
        Ok(())
    }

    /// Takes a job out of the dead-letter list; what it left stays.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when it is not in that list.
    pub async fn drop_dead(&self, caller: &Caller, id: JobId) -> Result<(), EngineError> {
        let (mut record, _mine) = self.dead(id).await?;
        record.dead = false;
        let changed = records::changed(caller, id, "drop");
        self.ledger.append(changed).await.map_err(EngineError::AuditUnavailable)?;
        Ok(self.store.end(record, None, None).await?)
    }

    /// A job of the list, which is the caller's alone until the claim is dropped: of two
    /// who put it back at once only one may.
    async fn dead(&self, id: JobId) -> Result<(JobRecord, Claim<'_>), EngineError> {
        if !self.live().claimed.insert(id) {
            let words = format!("job {id} is being taken out of the dead-letter list just now");
            return Err(EngineError::Invalid(words));
        }
        let claim = Claim { engine: self, id };
        let record = self.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
        if record.dead {
            return Ok((record, claim));
        }
        Err(EngineError::Invalid(format!("job {id} is not in the dead-letter list")))
    }
}

/// A job of the dead-letter list that nobody else changes.
struct Claim<'e> {
    engine: &'e Engine,
    id: JobId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.engine.live().claimed.remove(&self.id);
    }
}
