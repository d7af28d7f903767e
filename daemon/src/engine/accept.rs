//! From a request to a queued job.

use super::{Change, Engine, EngineError, now_usec, records};
use crate::access::Caller;
use crate::store::{JobRecord, NewJob};
use fetchml_api::job::{JobId, JobSpec};
use fetchml_policies::Profile;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Engine {
    /// Accepts a job: checked, committed, recorded, queued. `directories` has one
    /// entry for each of `spec.mounts`, in that order.
    ///
    /// # Errors
    /// [`EngineError`]: the job was refused and nothing is left of it.
    pub async fn submit(
        self: &Arc<Self>,
        caller: Arc<Caller>,
        spec: JobSpec,
        directories: Vec<OwnedFd>,
    ) -> Result<JobId, EngineError> {
        let engine = self.clone();
        // A task of its own: a client that hangs up half-way must not leave a
        // job that is in the store and not in the queue.
        tokio::spawn(async move { engine.accept(&caller, spec, directories).await })
            .await
            .map_err(|error| EngineError::Failed(format!("the submission was aborted: {error}")))?
    }

    async fn accept(
        self: &Arc<Self>,
        caller: &Caller,
        spec: JobSpec,
        directories: Vec<OwnedFd>,
    ) -> Result<JobId, EngineError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(EngineError::ShuttingDown);
        }
        self.ledger.state().map_err(EngineError::AuditUnavailable)?;
        if let Err(refused) = self.admit(caller, &spec, &directories) {
            if is_denial(&refused) {
                let resource = format!("job named {:?}", spec.name);
                self.record_denial(caller, "submit", &resource, &refused.to_string()).await;
            }
            return Err(refused);
        }
        let job = NewJob {
            uid: caller.uid(),
            gid: caller.gid(),
            spec,
            reason: "accepted".to_owned(),
            submitted_usec: now_usec(),
        };
        let record = self.store.insert(job).await?;
        let privileges = self.profile(&record.spec.profile).map(|p| p.privileges());
        let queued = records::queued(caller, &record, &privileges.unwrap_or_default());
        if let Err(error) = self.ledger.append(queued).await {
            self.store.forget(record.id).await?;
            return Err(EngineError::AuditUnavailable(error));
        }
        Ok(self.enqueue(record, directories))
    }

    /// Everything that can be refused before anything is written.
    fn admit(
        &self,
        caller: &Caller,
        spec: &JobSpec,
        directories: &[OwnedFd],
    ) -> Result<(), EngineError> {
        let limit = self.settings().config.jobs.max_queued_per_user;
        if self.live().queued_of(caller.uid()) >= limit {
            return Err(EngineError::Denied(format!(
                "you have {limit} jobs waiting, the most a user may have: \
                 wait for some of them to start, or cancel them"
            )));
        }
        let (theirs, all) = self.live().held_descriptors(caller.uid());
        let more = directories.len();
        if theirs + more > MAX_HELD_OF_USER || all + more > MAX_HELD {
            return Err(EngineError::Denied(format!(
                "{theirs} directories are held open for your waiting jobs and {all} for all; a \
                 user may have {MAX_HELD_OF_USER}, all together {MAX_HELD}: wait for some jobs to \
                 start, or submit with fewer mounts"
            )));
        }
        let profile = self.profile(&spec.profile)?;
        Ok(self.launcher.check(spec, &profile, directories)?)
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// [`EngineError::NoSuchProfile`].
    pub fn profile(&self, name: &str) -> Result<Arc<Profile>, EngineError> {
        self.settings()
            .library
            .profile(name)
            .map_err(|error| EngineError::NoSuchProfile(error.to_string()))
    }

    /// Puts a committed and recorded job into the queue and tells everybody.
    pub(super) fn enqueue(self: &Arc<Self>, record: JobRecord, directories: Vec<OwnedFd>) -> JobId {
        let (id, uid) = (record.id, record.uid);
        self.notify.keep(id, &directories);
        self.live().add_queued(record, directories);
        self.tell(id, uid, Change::New);
        self.pump();
        id
    }

    /// Records that somebody was refused something. The refusal stands whether
    /// or not it can be recorded.
    ///
    /// A flood of refusals becomes few records with a count: the log must not be
    /// filled by those who may do nothing.
    pub async fn record_denial(&self, caller: &Caller, action: &str, resource: &str, why: &str) {
        let Some(suppressed) = self.denials.admit(caller.uid()) else { return };
        let mut record = records::denied(caller, action, resource, why);
        if suppressed > 0 {
            record = record.detail("suppressed", suppressed);
        }
        if let Err(error) = self.ledger.append(record).await {
            tracing::error!(%error, action, resource, "a denial could not be recorded");
        }
    }
}

/// Directories held open for waiting jobs, of one user and of all: far below the
/// limit of open files and of systemd's descriptor store, so that launches never
/// go short because of a queue.
const MAX_HELD_OF_USER: usize = 1024;
const MAX_HELD: usize = 3072;

/// Whether a refusal is a decision of policy, and not a mistake in the request.
fn is_denial(refused: &EngineError) -> bool {
    matches!(
        refused,
        EngineError::Denied(_) | EngineError::BarrierUnavailable(_) | EngineError::NoSuchProfile(_)
    )
}
