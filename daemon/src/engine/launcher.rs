//! What the engine needs of the machinery that builds sandboxes. The real one
//! is [`Host`]; tests put a simulator here and so need no privilege.

use crate::config::Config;
use crate::queue::Capacity;
use crate::supervise::Preview;
use crate::supervise::{
    Access, AdoptRequest, Adopted, Attempt, Host, Prepared, Refusal, StartRequest,
};
use fetchml_api::host::Finding;
use fetchml_api::job::{Denied, ExitReport, JobId, JobSpec, Layer, LiveUsage};
use fetchml_policies::Profile;
use futures_util::future::BoxFuture;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Builds sandboxes and finds them again.
pub trait Launcher: fmt::Debug + Send + Sync {
    /// What was found on this machine.
    fn findings(&self) -> Vec<Finding>;

    /// The configuration was read, at the start or again: what of it concerns
    /// machines is taken over, and the accelerators are looked for.
    fn configure(&self, config: &Config);

    /// What the machine has for jobs. How many at once is not its business: `slots`
    /// is 0.
    fn capacity(&self) -> Capacity;

    /// What a job of the profile would get on this machine.
    fn preview(&self, profile: &Profile) -> Preview;

    /// Everything that can be refused before the job is queued.
    ///
    /// # Errors
    /// [`Refusal`] with the words for the user.
    fn check(&self, spec: &JobSpec, profile: &Profile, dirs: &[OwnedFd]) -> Result<(), Refusal>;

    /// Opens a part of the job's directory for its owner.
    ///
    /// # Errors
    /// [`Refusal`] when the job has no directory yet or it cannot be opened.
    fn open(&self, of: &JobFiles<'_>, part: Part) -> Result<OwnedFd, Refusal>;

    /// Deletes the job's directory with all that is in it. What cannot be deleted is
    /// told to the operator and stays.
    fn delete(&self, of: &JobFiles<'_>);

    /// Turns the request into a complete plan.
    ///
    /// # Errors
    /// [`Refusal`] with the words for the user.
    fn plan(&self, request: StartRequest) -> Result<Box<dyn Planned>, Refusal>;

    /// After a restart: what became of an attempt.
    fn adopt(&self, request: AdoptRequest) -> BoxFuture<'_, Adoption>;

    /// Jobs of which something was left, a socket at least.
    fn lingering(&self) -> Vec<JobId>;

    /// Removes what jobs left that are over.
    fn sweep(&self, jobs: &[JobId]);

    /// The supervisor stops; what runs goes on.
    fn leave(&self);
}

/// Whose directory is meant.
#[derive(Clone, Copy, Debug)]
pub struct JobFiles<'a> {
    /// Host user id of the submitter.
    pub uid: u32,
    /// Experiment of the job.
    pub experiment: &'a str,
    /// Number of the job.
    pub job: JobId,
    /// Whose log is meant, from 1; outputs and work are the job's.
    pub attempt: u32,
}

/// A part of a job's directory that clients may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The log of the newest attempt.
    Log,
    /// The log of an attempt; the first is 1.
    AttemptLog(u32),
    /// What the job saw as `/outputs`.
    Outputs,
    /// What the job wrote in `/work`.
    Work,
}

/// A complete plan of one attempt.
pub trait Planned: Send {
    /// The layers that will be in force.
    fn layers(&self) -> &[Layer];
    /// The host user id the attempt will run as.
    fn host_uid(&self) -> u32;
    /// Builds the sandbox and executes the command.
    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Arc<dyn Running>, Box<ExitReport>>>;
}

/// An attempt that runs.
pub trait Running: fmt::Debug + Send + Sync {
    /// TERM, grace period, KILL; returns at once.
    fn stop(&self) -> BoxFuture<'_, ()>;
    /// System calls that its sandbox refused so far.
    fn denied(&self) -> BoxFuture<'_, Vec<Denied>>;
    /// What it uses at this moment.
    fn usage(&self) -> LiveUsage;
    /// What it did to audited data since the last call; waits for something. `None`
    /// when it is over, or has no such data.
    fn accesses(&self) -> BoxFuture<'_, Option<Vec<Access>>> {
        Box::pin(std::future::ready(None))
    }
    /// Its complete report, when it is over.
    fn finished(&self) -> BoxFuture<'_, ExitReport>;
}

/// What became of an attempt while no supervisor looked.
#[derive(Debug)]
pub enum Adoption {
    /// It still runs.
    Running(Arc<dyn Running>),
    /// It is over.
    Ended(Box<ExitReport>),
    /// Nothing of it began and nothing is left of it.
    NeverBegan,
}

/// The launcher of a real machine.
#[derive(Debug)]
pub struct Machine(pub Host);

impl Launcher for Machine {
    fn findings(&self) -> Vec<Finding> {
        self.0.findings()
    }

    fn configure(&self, config: &Config) {
        self.0.configure(config.gpus.shared);
        self.0.audit_data(&config.audit.data);
    }

    fn capacity(&self) -> Capacity {
        self.0.capacity()
    }

    fn preview(&self, profile: &Profile) -> Preview {
        self.0.preview(profile)
    }

    fn check(&self, spec: &JobSpec, profile: &Profile, dirs: &[OwnedFd]) -> Result<(), Refusal> {
        self.0.check(spec, profile, dirs)
    }

    fn open(&self, of: &JobFiles<'_>, part: Part) -> Result<OwnedFd, Refusal> {
        let directory = self.0.job_directory(of.uid, of.experiment, of.job)?;
        let (opened, name) = match part {
            Part::Log => (directory.open_log(of.attempt), "log"),
            Part::AttemptLog(attempt) => (directory.open_log(attempt), "log"),
            Part::Outputs => (directory.open_outputs(), "outputs"),
            Part::Work => (directory.open_work(), "work"),
        };
        opened.map_err(|error| {
            Refusal::Infrastructure(format!("cannot open the {name} of job {}: {error}", of.job))
        })
    }

    fn delete(&self, of: &JobFiles<'_>) {
        self.0.delete_job(of.uid, of.experiment, of.job);
    }

    fn plan(&self, request: StartRequest) -> Result<Box<dyn Planned>, Refusal> {
        Ok(Box::new(self.0.plan(request)?))
    }

    fn lingering(&self) -> Vec<JobId> {
        self.0.lingering()
    }

    fn sweep(&self, jobs: &[JobId]) {
        self.0.sweep(jobs);
    }

    fn leave(&self) {
        self.0.leave();
    }

    fn adopt(&self, request: AdoptRequest) -> BoxFuture<'_, Adoption> {
        Box::pin(async move {
            match self.0.adopt(request).await {
                Adopted::Running(attempt) => Adoption::Running(Arc::new(Live(*attempt))),
                Adopted::Ended(report) => Adoption::Ended(report),
                Adopted::NeverBegan => Adoption::NeverBegan,
            }
        })
    }
}

impl Planned for Prepared {
    fn layers(&self) -> &[Layer] {
        &self.layers
    }

    fn host_uid(&self) -> u32 {
        self.host_uid
    }

    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Arc<dyn Running>, Box<ExitReport>>> {
        Box::pin(async move {
            let attempt = (*self).start().await.map_err(Box::new)?;
            Ok(Arc::new(Live(attempt)) as Arc<dyn Running>)
        })
    }
}

struct Live(Attempt);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("pid", &self.0.pid).finish_non_exhaustive()
    }
}

impl Running for Live {
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.stop())
    }

    fn denied(&self) -> BoxFuture<'_, Vec<Denied>> {
        Box::pin(self.0.denied())
    }

    fn usage(&self) -> LiveUsage {
        self.0.usage()
    }

    fn accesses(&self) -> BoxFuture<'_, Option<Vec<Access>>> {
        Box::pin(self.0.accesses())
    }

    fn finished(&self) -> BoxFuture<'_, ExitReport> {
        Box::pin(self.0.finished())
    }
}
