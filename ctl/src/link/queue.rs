//! Questions about the queue, and changes to jobs in it.

use super::{Link, unreadable};
use crate::error::{Failure, Result};
use fetchml_api::names::MAX_IDS;
use fetchml_api::proxy::Failures;
use serde::Deserialize;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use zbus::proxy::MethodFlags;
use zbus::wire::DynamicDeserialize;
use zbus::{DynamicType, Fd, Variant};

/// A number of jobs to which one change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Hold,
    Release,
    Priority(i32),
    Requeue,
    Drop,
}

impl Change {
    /// The word for it in a failure.
    fn verb(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Priority(_) => "move",
            Self::Requeue => "requeue",
            Self::Drop => "drop",
        }
    }
}

/// What became of one job of several.
pub(crate) type Outcome = (u64, Result<()>);

/// Jobs of an array by state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Array {
    /// Its number, which is that of its first job.
    pub(crate) array: u64,
    /// Jobs in it.
    pub(crate) count: u64,
    /// Its jobs by state, states without one left out.
    pub(crate) states: BTreeMap<String, u64>,
    /// Why those that wait do, if one thing keeps all of them. Supervisors of before do
    /// not say.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

impl Link {
    /// Calls a method of the manager; a person may be asked for a password.
    pub(super) async fn manage<B, R>(&self, method: &'static str, body: &B) -> zbus::Result<R>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let manager = match self.supervisor().await {
            Ok(supervisor) => supervisor.manager,
            Err(failure) => return Err(zbus::Error::Handshake(failure.what().to_owned())),
        };
        if self.ask {
            let flags = MethodFlags::ALLOW_INTERACTIVE_AUTH;
            let reply = manager.inner().call_with_flags(method, flags, body).await?;
            // Only a call that wants no reply has none.
            return reply.ok_or(zbus::Error::InvalidReply);
        }
        manager.inner().call(method, body).await
    }

    /// Submits an array and returns its number and how many jobs it has.
    pub(crate) async fn submit_array(
        &self,
        spec: HashMap<&str, Variant<'_>>,
        mounts: Vec<(&str, &str, &str, Fd<'_>)>,
    ) -> Result<(u64, u64)> {
        self.supervisor().await?;
        let reply = self.manage("SubmitArray", &(spec, mounts)).await;
        reply.map_err(|e| Failure::bus("cannot submit the array", &e))
    }

    /// An array, as the supervisor sent it and as far as we understand it.
    pub(crate) async fn array(&self, array: u64) -> Result<Array> {
        let manager = self.supervisor().await?.manager;
        let text = manager
            .describe_array(array)
            .await
            .map_err(|e| Failure::bus(format_args!("cannot show array {array}"), &e))?;
        serde_json::from_str(&text).map_err(unreadable)
    }

    /// Asks for the end of every job of an array; returns how many were not over.
    pub(crate) async fn cancel_array(&self, array: u64) -> Result<u64> {
        self.supervisor().await?;
        let reply = self.manage("CancelArray", &(array,)).await;
        reply.map_err(|e| Failure::bus(format_args!("cannot cancel array {array}"), &e))
    }

    /// Changes jobs, and says of each whether it worked, in the order given.
    pub(crate) async fn change(&self, ids: &[u64], change: Change) -> Result<Vec<Outcome>> {
        self.supervisor().await?;
        let mut outcomes = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_IDS) {
            let reply: zbus::Result<Failures> = match change {
                Change::Hold => self.manage("HoldJobs", &(some,)).await,
                Change::Release => self.manage("ReleaseJobs", &(some,)).await,
                Change::Priority(priority) => self.manage("SetPriority", &(some, priority)).await,
                Change::Requeue => self.manage("RequeueDead", &(some,)).await,
                Change::Drop => self.manage("DropDead", &(some,)).await,
            };
            let step = |id: &dyn Display| format!("cannot {} job {id}", change.verb());
            let mut failed = reply.map_err(|e| {
                let ids: Vec<_> = some.iter().take(3).map(u64::to_string).collect();
                let more = if some.len() > ids.len() { ", …" } else { "" };
                Failure::bus(step(&format_args!("{}{more}", ids.join(", "))), &e)
            })?;
            outcomes.extend(some.iter().map(|id| match failed.remove(id) {
                None => (*id, Ok(())),
                Some((name, words)) => (*id, Err(Failure::named(&step(id), &name, &words))),
            }));
        }
        Ok(outcomes)
    }

    /// The attempts of a job as one JSON array.
    pub(crate) async fn attempts(&self, id: u64) -> Result<String> {
        let manager = self.supervisor().await?.manager;
        let reply = manager.list_attempts(id).await;
        reply.map_err(|e| Failure::bus(format_args!("cannot list the attempts of job {id}"), &e))
    }

    /// What the machine has for jobs, and who waits, as JSON.
    pub(crate) async fn queue(&self) -> Result<String> {
        let manager = self.supervisor().await?.manager;
        manager.describe_queue().await.map_err(|e| Failure::bus("cannot show the queue", &e))
    }

    /// Lets no job start from now on, or again.
    pub(crate) async fn drain(&self, draining: bool) -> Result<()> {
        self.supervisor().await?;
        let reply = self.manage("Drain", &(draining,)).await;
        reply.map_err(|e| Failure::bus("cannot change whether jobs start", &e))
    }

    /// A copy of the job store, opened for reading.
    pub(crate) async fn back_up(&self) -> Result<OwnedFd> {
        self.supervisor().await?;
        let reply: zbus::Result<zbus::OwnedFd> = self.manage("BackUp", &()).await;
        reply.map(OwnedFd::from).map_err(|e| Failure::bus("cannot copy the job store", &e))
    }

    /// Ends the supervisor, and before that what runs.
    pub(crate) async fn shutdown(&self, jobs: bool) -> Result<()> {
        self.supervisor().await?;
        let reply = self.manage("Shutdown", &(jobs,)).await;
        reply.map_err(|e| Failure::bus("cannot end the supervisor", &e))
    }
}
