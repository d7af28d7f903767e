//! One attempt of one job, from its plan to its exit report.
//!
//! SEAM (being built): the engine calls only what is public here.
//! Order of the engine: `Host::plan` → commit `starting` → audit `job_started`
//! durable → `Prepared::start` → commit `running` → tell → `Attempt::finished`
//! → audit `job_completed` durable → commit the final state → tell.

use fetchml_api::job::{ExitReport, JobId, JobSpec, Layer};
use fetchml_policies::Profile;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Who submitted the job; taken from the kernel by `access`.
#[derive(Clone, Copy, Debug)]
pub struct Submitter { pub uid: u32, pub gid: u32 }

/// What start-up must know.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// `/var/lib/fetchml` or the private directory.
    pub state_dir: PathBuf,
    /// `/run/fetchml` or the private directory's `run`.
    pub runtime_dir: PathBuf,
    /// The agent's binary.
    pub agent_path: PathBuf,
}

/// One fact about the machine for `doctor`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding { pub name: String, pub state: String, pub detail: String, pub remedy: Option<String> }

/// A refusal: what, on which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")] Invalid(String),
    #[error("{0}")] BarrierUnavailable(String),
    #[error("{0}")] Infrastructure(String),
}

/// Everything prepared once at start-up: agent image, caches, what the kernel can do.
#[derive(Debug)]
pub struct Host;
impl Host {
    pub fn prepare(_config: HostConfig) -> Result<Self, Refusal> { todo!() }
    pub fn findings(&self) -> Vec<Finding> { todo!() }
    /// Called at submit: everything that can be refused before the job is queued.
    pub fn check(&self, _spec: &JobSpec, _profile: &Profile, _directories: &[OwnedFd]) -> Result<(), Refusal> { todo!() }
    /// The job's directory on disk (created by `plan`).
    pub fn job_directory(&self, _uid: u32, _experiment: &str, _job: JobId) -> Result<JobDirectory, Refusal> { todo!() }
    /// Creates the job's directory and turns the request into a complete, immutable plan.
    pub fn plan(&self, _request: StartRequest) -> Result<Prepared, Refusal> { todo!() }
    /// After a restart: what became of an attempt that was starting or running.
    pub async fn adopt(&self, _request: AdoptRequest) -> Adopted { todo!() }
}

pub struct StartRequest {
    pub job: JobId,
    pub spec: JobSpec,
    pub profile: Arc<Profile>,
    pub submitter: Submitter,
    /// One for each entry of `spec.mounts`, in that order.
    pub directories: Vec<OwnedFd>,
}
pub struct AdoptRequest { pub job: JobId, pub spec: JobSpec, pub uid: u32, pub layers: Vec<Layer>, pub host_uid: u32 }
pub enum Adopted { Running(Attempt), Ended(ExitReport) }

pub struct JobDirectory;
impl JobDirectory {
    pub fn open_log(&self) -> std::io::Result<OwnedFd> { todo!() }
    pub fn open_outputs(&self) -> std::io::Result<OwnedFd> { todo!() }
    pub fn open_work(&self) -> std::io::Result<OwnedFd> { todo!() }
}

pub struct Prepared { pub layers: Vec<Layer>, pub host_uid: u32 }
impl Prepared {
    /// Clones, builds the sandbox and executes the agent. On failure the report says which step.
    pub async fn start(self) -> Result<Attempt, ExitReport> { todo!() }
}
/// A running attempt.
pub struct Attempt { pub layers: Vec<Layer>, pub pid: i32 }
impl Attempt {
    /// TERM, grace, KILL. Returns at once; may be called while `finished` is awaited (shared reference).
    pub async fn stop(&self) { todo!() }
    /// Waits for the end; the report is complete and classified.
    pub async fn finished(&self) -> ExitReport { todo!() }
}
