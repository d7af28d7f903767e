//! From a request to queued jobs.

use super::{Change, Engine, EngineError, directories, now_usec, records};
use crate::access::Caller;
use crate::directories::Directory;
use crate::queue::{Entry, Needs, Queued, satisfies};
use crate::store::{JobRecord, NewJob};
use fetchml_api::job::{JobId, JobSpec, JobState};
use fetchml_api::queueing::Dependency;
use fetchml_policies::Profile;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Engine {
    /// Accepts a job: checked, committed, recorded, queued. `directories` has one
    /// entry for each of `spec.mounts`, in that order. `granted` is what the caller
    /// may have of the profile's privileges; a job never starts with more.
    ///
    /// # Errors
    /// [`EngineError`]: the job was refused and nothing is left of it.
    pub async fn submit(
        self: &Arc<Self>,
        caller: Arc<Caller>,
        spec: JobSpec,
        granted: Vec<String>,
        directories: Vec<OwnedFd>,
    ) -> Result<JobId, EngineError> {
        let ids = self.submit_array(caller, vec![spec], granted, directories).await?;
        ids.first().copied().ok_or_else(|| EngineError::Invalid("an array of no jobs".to_owned()))
    }

    /// Accepts jobs that share their directories, all or none. Those that say they
    /// are of an array are of the one that begins with the first of them.
    ///
    /// # Errors
    /// [`EngineError`]: all were refused and nothing is left of them.
    pub async fn submit_array(
        self: &Arc<Self>,
        caller: Arc<Caller>,
        specs: Vec<JobSpec>,
        granted: Vec<String>,
        directories: Vec<OwnedFd>,
    ) -> Result<Vec<JobId>, EngineError> {
        let engine = self.clone();
        // A task of its own: a client that hangs up half-way must not leave a
        // job that is in the store and not in the queue.
        tokio::spawn(async move { engine.accept(&caller, specs, granted, directories).await })
            .await
            .map_err(|error| EngineError::Failed(format!("the submission was aborted: {error}")))?
    }

    async fn accept(
        self: &Arc<Self>,
        caller: &Caller,
        specs: Vec<JobSpec>,
        granted: Vec<String>,
        directories: Vec<OwnedFd>,
    ) -> Result<Vec<JobId>, EngineError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(EngineError::ShuttingDown);
        }
        self.ledger.state().map_err(EngineError::AuditUnavailable)?;
        let Some(first) = specs.first() else { return Ok(Vec::new()) };
        let name = first.name.clone();
        let room = match self.admit(caller, &specs, &directories).await {
            Ok(room) => room,
            Err(refused) => {
                if is_denial(&refused) {
                    let resource = format!("job named {name:?}");
                    self.record_denial(caller, "submit", &resource, &refused.to_string()).await;
                }
                return Err(refused);
            }
        };
        let directories = self.take_directories(caller.uid(), first, directories)?;
        let stored = directories::stored(&directories)?;
        let now_usec = now_usec();
        let jobs = specs
            .into_iter()
            .map(|spec| NewJob {
                uid: caller.uid(),
                gid: caller.gid(),
                spec,
                privileges: granted.clone(),
                reason: "accepted".to_owned(),
                submitted_usec: now_usec,
                directories: stored.clone(),
            })
            .collect();
        let accepted = self.store.insert(jobs).await?;
        let queued = records::queued(caller, &accepted);
        if let Err(error) = self.ledger.append(queued).await {
            self.store.forget(accepted.iter().map(|record| record.id).collect()).await?;
            return Err(EngineError::AuditUnavailable(error));
        }
        Ok(self.enqueue(accepted, directories, room).await)
    }

    /// Everything that can be refused before anything is written. The jobs have their
    /// room in the queue from then on.
    async fn admit(
        &self,
        caller: &Caller,
        specs: &[JobSpec],
        directories: &[OwnedFd],
    ) -> Result<Room<'_>, EngineError> {
        let config = &self.settings().config;
        let most = config.jobs.max_array_size;
        if specs.len() > most {
            let count = specs.len();
            return Err(EngineError::Invalid(format!(
                "an array of {count} jobs: the most is {most} (jobs.max_array_size)"
            )));
        }
        let text_bytes = specs.iter().map(JobSpec::text_bytes).sum();
        let room = self.take_room(caller.uid(), specs.len(), text_bytes)?;
        // Jobs of an array differ in their command and environment alone.
        let spec = &specs[0];
        let profile = self.profile(&spec.profile)?;
        self.launcher.check(spec, &profile, directories)?;
        // Not in the condition: the room that is given back needs the same lock.
        let never = self.live().queue.never(&Needs::of(spec, &profile));
        if let Some(why) = never {
            return Err(EngineError::Invalid(format!(
                "it could never start: {why}; ask for less, `fetchmlctl queue` shows what there is"
            )));
        }
        self.check_secrets(caller, spec).await?;
        self.check_dependencies(caller, specs).await?;
        Ok(room)
    }

    /// Room in the queue for so many jobs of this user, with specifications of this
    /// length, beside those that wait and those that are on their way.
    ///
    /// # Errors
    /// [`EngineError::Denied`] when it would be more than a user may have.
    pub(super) fn take_room(
        &self,
        uid: u32,
        jobs: usize,
        text_bytes: usize,
    ) -> Result<Room<'_>, EngineError> {
        let settings = self.settings();
        let config = &settings.config.jobs;
        let mut live = self.live();
        let arriving = live.arriving.get(&uid).copied().unwrap_or_default();
        let mut queued = live.queue.queued_of(uid);
        queued.jobs += arriving.jobs;
        queued.text_bytes += arriving.text_bytes;
        let (waiting, limit) = (queued.jobs, config.max_queued_per_user);
        if waiting + jobs > limit {
            return Err(EngineError::Denied(format!(
                "you have {waiting} jobs waiting, the most a user may have is {limit}: \
                 wait for some of them to start, or cancel them"
            )));
        }
        let most = config.max_queued_bytes_per_user;
        if queued.text_bytes + text_bytes > most {
            return Err(EngineError::Denied(format!(
                "commands and variables of your waiting jobs have {} KiB, and with {} KiB more \
                 they would have more than the {} MiB that a user may have \
                 (jobs.max_queued_mib_per_user): wait for some of them to start, or pass long \
                 arguments in a file of the project directory",
                queued.text_bytes >> 10,
                text_bytes.div_ceil(1 << 10),
                most >> 20
            )));
        }
        let taken = live.arriving.entry(uid).or_default();
        taken.jobs += jobs;
        taken.text_bytes += text_bytes;
        Ok(Room { engine: self, uid, left: Queued { jobs, text_bytes } })
    }

    /// The user may use the secrets that the job asks for. Off the loop: who is in which
    /// group may be known to another machine only.
    async fn check_secrets(&self, caller: &Caller, spec: &JobSpec) -> Result<(), EngineError> {
        if spec.secrets.is_empty() {
            return Ok(());
        }
        let (vault, uses, holder) = (self.vault.clone(), spec.secrets.clone(), caller.holder());
        let checked = tokio::task::spawn_blocking(move || vault.check(&uses, &holder)).await;
        Ok(checked.map_err(|error| EngineError::Failed(error.to_string()))??)
    }

    /// The jobs that these wait for are there, theirs, and can still end as wanted.
    async fn check_dependencies(
        &self,
        caller: &Caller,
        specs: &[JobSpec],
    ) -> Result<(), EngineError> {
        let mut wanted: Vec<Dependency> =
            specs.iter().flat_map(|spec| &spec.queueing.after).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        for dependency in wanted {
            let job = dependency.job;
            let owner = self.owner(job).await?;
            if owner.is_none_or(|owner| owner != caller.uid() && caller.uid() != 0) {
                return Err(EngineError::NoSuchJob(job));
            }
            let over = self.final_state(job).await?;
            if let Some(state) = over
                && !satisfies(dependency.condition, state)
            {
                return Err(EngineError::Invalid(format!(
                    "job {job} is over and {state}, so that a job after its success would never \
                     start"
                )));
            }
        }
        Ok(())
    }

    /// How a job ended; `None` while it is not over.
    async fn final_state(&self, job: JobId) -> Result<Option<JobState>, EngineError> {
        if self.live().is_live(job) {
            return Ok(None);
        }
        let record = self.store.job(job).await?.ok_or(EngineError::NoSuchJob(job))?;
        Ok(Some(record.state).filter(|state| state.is_final()))
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

    /// Puts committed and recorded jobs into the queue and tells everybody.
    async fn enqueue(
        self: &Arc<Self>,
        accepted: Vec<JobRecord>,
        directories: Arc<[Directory]>,
        mut room: Room<'_>,
    ) -> Vec<JobId> {
        let ids: Vec<JobId> = accepted.iter().map(|record| record.id).collect();
        for record in accepted {
            let (id, uid, text_bytes) = (record.id, record.uid, record.spec.text_bytes());
            self.live().directories.insert(id, directories.clone());
            self.wait_in_line(record).await;
            room.give_back(1, text_bytes);
            self.tell(id, uid, Change::New);
        }
        self.pump();
        ids
    }

    /// Puts a job into the queue. What it depends on may have ended while it was
    /// being accepted, and nobody would tell the queue any more.
    pub(super) async fn wait_in_line(self: &Arc<Self>, record: JobRecord) {
        let id = record.id;
        let mut after = record.spec.queueing.after.clone();
        let failed = loop {
            let over = {
                let mut live = self.live();
                match after.iter().copied().find(|dependency| !live.is_live(dependency.job)) {
                    Some(over) => over,
                    None => {
                        let entry = self.entry(&record, after, &mut live);
                        live.push(entry, Some(record), now_usec());
                        return;
                    }
                }
            };
            let state = self.store.job(over.job).await.ok().flatten().map(|job| job.state);
            if !state.is_some_and(|state| satisfies(over.condition, state)) {
                break over;
            }
            after.retain(|dependency| dependency != &over);
        };
        self.live().activate(id, record.uid, Some(record), Vec::new());
        self.end(id, super::report::dependency_failed(failed)).await;
    }

    /// A job as the queue sees it.
    pub(super) fn entry(
        &self,
        record: &JobRecord,
        after: Vec<Dependency>,
        live: &mut super::live::Live,
    ) -> Entry {
        let profile = self.profile(&record.spec.profile).ok();
        let needs = profile.as_ref().map(|profile| Needs::of(&record.spec, profile));
        let limit = profile.map(|profile| crate::plan::time_limit_usec(&record.spec, &profile));
        Entry {
            id: record.id,
            uid: record.uid,
            priority: record.priority,
            held: record.held,
            not_before_usec: record.not_before_usec.unwrap_or(0),
            time_limit_usec: limit.unwrap_or(0),
            needs: live.share_needs(needs.unwrap_or_default()),
            after: after.into(),
            array: record.spec.queueing.array,
            text_bytes: record.spec.text_bytes(),
        }
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

/// Room in the queue that jobs on their way to it have. Without it those that are
/// submitted at once would each find the last place free.
pub(super) struct Room<'e> {
    engine: &'e Engine,
    uid: u32,
    left: Queued,
}

impl Room<'_> {
    /// What is in the queue, or will not come, is not on its way any more.
    fn give_back(&mut self, jobs: usize, text_bytes: usize) {
        self.left.jobs -= jobs;
        self.left.text_bytes -= text_bytes;
        let mut live = self.engine.live();
        if let Some(arriving) = live.arriving.get_mut(&self.uid) {
            arriving.jobs -= jobs;
            arriving.text_bytes -= text_bytes;
            if *arriving == Queued::default() {
                live.arriving.remove(&self.uid);
            }
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.give_back(self.left.jobs, self.left.text_bytes);
    }
}

/// Whether a refusal is a decision of policy, and not a mistake in the request.
fn is_denial(refused: &EngineError) -> bool {
    matches!(
        refused,
        EngineError::Denied(_) | EngineError::BarrierUnavailable(_) | EngineError::NoSuchProfile(_)
    )
}
