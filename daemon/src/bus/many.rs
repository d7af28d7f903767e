//! Calls that are about many jobs: each is decided and told of for itself.

use super::door::{Door, is_interactive};
use super::error::BusError;
use crate::access::Caller;
use crate::engine::{EngineError, Scope};
use crate::store::Filter;
use fetchml_api::job::{JobId, JobState};
use fetchml_api::names::MAX_IDS;
use fetchml_api::proxy::Failures;
use fetchml_api::queueing::ArrayPlace;
use futures_util::StreamExt as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use zbus::Connection;
use zbus::message::Header;

/// Ends asked for at the same time, so that their records share a commit.
const ENDS_AT_ONCE: usize = 256;

/// What is done to each job.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Priority(i32),
    Hold,
    Release,
    Requeue,
    Drop,
}

impl Change {
    /// The word for it in the record of a refusal.
    fn action(self) -> &'static str {
        match self {
            Self::Priority(_) => "set-priority",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Requeue => "requeue",
            Self::Drop => "drop",
        }
    }
}

/// An array at a glance.
#[derive(Debug, Serialize)]
pub(super) struct ArrayOverview {
    version: u32,
    array: JobId,
    /// Of its first job, which ends with an index.
    name: String,
    count: u64,
    at_once: u32,
    states: BTreeMap<&'static str, u64>,
    /// Why its jobs that wait do, as the first of them says; none where they wait for
    /// different things.
    reason: Option<String>,
}

impl Door {
    /// Makes a change to each job that the caller may change.
    pub(super) async fn change_each(
        &self,
        header: &Header<'_>,
        connection: &Connection,
        jobs: Vec<u64>,
        change: Change,
    ) -> Result<Failures, BusError> {
        if jobs.len() > MAX_IDS {
            let count = jobs.len();
            return Err(BusError::invalid(format!(
                "{count} jobs in one call: the most is {MAX_IDS}; ask in parts"
            )));
        }
        let caller = self.caller(header, connection).await?;
        let interactive = is_interactive(header);
        let ids = jobs.into_iter().map(JobId);
        let mut failures = Failures::new();
        for (id, may) in self.may_change(&caller, ids, change.action(), interactive).await? {
            let done = match may {
                Ok(()) => self.make(&caller, id, change).await.map_err(BusError::from),
                Err(refused) => Err(refused),
            };
            if let Err(error) = done {
                failures.insert(id.0, (error.name.to_owned(), error.message));
            }
        }
        Ok(failures)
    }

    async fn make(
        &self,
        caller: &Arc<Caller>,
        id: JobId,
        change: Change,
    ) -> Result<(), EngineError> {
        let engine = self.engine();
        match change {
            Change::Priority(priority) => engine.set_priority(caller, id, priority).await,
            Change::Hold => engine.hold(caller, id).await,
            Change::Release => engine.release(caller, id).await,
            Change::Requeue => engine.requeue_dead(caller, id).await,
            Change::Drop => engine.drop_dead(caller, id).await,
        }
    }

    /// An array that is in this scope.
    pub(super) async fn array(&self, scope: Scope, id: JobId) -> Result<ArrayOverview, BusError> {
        let (place, name) = self.place(scope, id).await?;
        let mut states = BTreeMap::new();
        let members = self.members(scope, place).await?;
        for (_, state) in &members {
            *states.entry(state.as_str()).or_insert(0) += 1;
        }
        let members: Vec<JobId> = members.into_iter().map(|(id, _)| id).collect();
        let reason = self.engine().why_all(&members).map(|why| why.to_string());
        let (count, at_once) = (place.count, place.at_once);
        Ok(ArrayOverview { version: 1, array: id, name, count, at_once, states, reason })
    }

    /// Asks for the end of each job of an array that is not over; says how many.
    pub(super) async fn cancel_members(
        &self,
        caller: &Caller,
        scope: Scope,
        id: JobId,
    ) -> Result<u64, BusError> {
        let (place, _) = self.place(scope, id).await?;
        let members = self.members(scope, place).await?;
        let live = members.into_iter().filter(|(_, state)| !state.is_final());
        let live: Vec<_> = live.map(|(id, _)| id).collect();
        let count = live.len() as u64;
        self.cancel_all(caller, live).await?;
        Ok(count)
    }

    /// Asks for the end of all these jobs, and returns without waiting for it. The
    /// first that failed is the answer.
    async fn cancel_all(&self, caller: &Caller, jobs: Vec<JobId>) -> Result<(), BusError> {
        let engine = self.engine();
        let asked = futures_util::stream::iter(jobs)
            .map(|id| async move { engine.cancel(caller, id).await })
            .buffer_unordered(ENDS_AT_ONCE)
            .fold(Ok(()), |all: Result<(), _>, one| std::future::ready(all.and(one)))
            .await;
        Ok(asked?)
    }

    /// Ends what runs, and waits for it; nothing starts meanwhile.
    pub(super) async fn end_jobs(&self, caller: &Caller) -> Result<(), BusError> {
        let engine = self.engine();
        engine.drain(true);
        let active = engine.shown(Scope::All, 0).await?.into_iter();
        let active = active.filter(|job| job.state != JobState::Queued).map(|job| job.id);
        let active: Vec<_> = active.collect();
        self.cancel_all(caller, active.clone()).await?;
        for id in active {
            engine.wait(Scope::All, id).await?;
        }
        Ok(())
    }

    async fn place(&self, scope: Scope, id: JobId) -> Result<(ArrayPlace, String), BusError> {
        let spec = self.engine().describe(scope, id).await?.spec;
        match spec.queueing.array {
            Some(place) if place.array == id => Ok((place, spec.name)),
            Some(place) => Err(BusError::invalid(format!(
                "job {id} is one of array {}: name that",
                place.array
            ))),
            None => Err(BusError::invalid(format!("job {id} is no array: name the job alone"))),
        }
    }

    /// Jobs of an array: their numbers follow each other.
    async fn members(
        &self,
        scope: Scope,
        place: ArrayPlace,
    ) -> Result<Vec<(JobId, JobState)>, BusError> {
        let filter = Filter {
            limit: u32::try_from(place.count).unwrap_or(u32::MAX),
            before: Some(JobId(place.array.0 + place.count)),
            ..Filter::default()
        };
        let found = self.engine().list(scope, filter).await?;
        let members = found.into_iter().filter(|job| job.id >= place.array);
        Ok(members.map(|job| (job.id, job.state)).collect())
    }
}
