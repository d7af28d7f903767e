//! Jobs: what a user asks for, what becomes of it, and why it ended.

use crate::cpus::CpuSet;
use crate::queueing::{GpuRequest, Queueing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Number of a job, unique for the life of one store and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a user asks for. Directories travel beside it as descriptors that the
/// client opened ([`MountRequest`]); no path in here is ever opened by the
/// supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Program and arguments; looked up in the job's own `PATH`.
    pub command: Vec<String>,
    /// Environment given by the user, on top of the profile's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Name for people; the first word of the command when not given.
    pub name: String,
    /// Experiment the job belongs to.
    pub experiment: String,
    /// Sandbox profile.
    pub profile: String,
    /// Network mode, when it is to differ from the profile's.
    pub network: Option<NetworkMode>,
    /// Wall-clock limit in microseconds, when it is to be lower than the profile's.
    pub time_limit_usec: Option<u64>,
    /// Resource limits; `None` leaves the profile's.
    #[serde(default)]
    pub limits: Limits,
    /// Accelerators that it needs for itself.
    #[serde(default)]
    pub gpus: GpuRequest,
    /// What it asks of the queue.
    #[serde(default)]
    pub queueing: Queueing,
    /// Directories shown to the job, in the order in which they were given.
    #[serde(default)]
    pub mounts: Vec<MountRequest>,
    /// Secrets that it gets, by name: values are never part of a specification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
}

/// A secret that a job gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretUse {
    /// Its name, and that of its file in `/run/secrets`.
    pub name: String,
    /// The variable that has its value, in place of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

impl JobSpec {
    /// What it takes in memory and in the store, about: what words its user wrote. What
    /// all jobs of an array have is counted for each, as each keeps its own.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let words = self.command.iter().map(String::len);
        let variables = self.env.iter().map(|(name, value)| name.len() + value.len());
        let mounts = self.mounts.iter().map(|mount| mount.label.len() + mount.target.len());
        words.chain(variables).chain(mounts).sum::<usize>() + self.name.len()
    }

    /// A job that asks for nothing but to run this command.
    #[must_use]
    pub fn plain(command: Vec<String>) -> Self {
        Self {
            name: command.first().cloned().unwrap_or_default(),
            command,
            env: BTreeMap::new(),
            experiment: "default".to_owned(),
            profile: "default".to_owned(),
            network: None,
            time_limit_usec: None,
            limits: Limits::default(),
            gpus: GpuRequest::default(),
            queueing: Queueing::default(),
            mounts: Vec::new(),
            secrets: Vec::new(),
        }
    }
}

/// One directory of the host that the client opened for the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// Absolute path inside the job.
    pub target: String,
    /// How the job sees it.
    pub mode: MountMode,
    /// The client's own name for the directory. For display only: never opened.
    pub label: String,
}

/// How a directory appears in the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountMode {
    /// The project: readable and writable, the original never changes (overlay).
    Project,
    /// Read-only.
    Ro,
    /// Writable in place.
    Rw,
}

/// What a job reaches over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Nothing: its own network namespace with the loopback down.
    None,
    /// Its own loopback, and nothing else.
    Loopback,
}

/// Limits of a job. Each is kept by the kernel or the job is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes (cgroup v2 `memory.max`, swap included).
    pub memory_bytes: Option<u64>,
    /// CPUs, fractions allowed (cgroup v2 `cpu.max`).
    pub cpus: Option<f64>,
    /// The CPUs that it may run on (cgroup v2 `cpuset.cpus`).
    #[serde(default)]
    pub cpuset: Option<CpuSet>,
    /// Processes and threads (`pids.max`, and `RLIMIT_NPROC` of the job's own id).
    pub pids: Option<u64>,
    /// Bytes that it may write to the disk: its outputs and what it changes in
    /// the project, together.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Bytes of its log.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// Share of processor time while others want it as well, 1 to 10,000
    /// (cgroup v2 `cpu.weight`; 100 where nothing is said).
    #[serde(default)]
    pub cpu_weight: Option<u32>,
    /// Share of the disk while others want it as well, 1 to 10,000 (cgroup v2
    /// `io.weight`; 100 where nothing is said).
    #[serde(default)]
    pub io_weight: Option<u32>,
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Accepted and waiting.
    Queued,
    /// Its sandbox is being built.
    Starting,
    /// Its command runs.
    Running,
    /// Ended with status 0.
    Succeeded,
    /// Ended otherwise; the failure class says how.
    Failed,
    /// Ended, or never begun, because somebody asked for it.
    Cancelled,
    /// Ended by its time limit.
    TimedOut,
}

impl JobState {
    /// Whether nothing will happen to the job any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Starting | Self::Running)
    }

    /// The word used on the bus, in the store and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
        }
    }

    /// Reads [`JobState::as_str`] back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
    ];
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an attempt failed, as far as a retry policy must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The supervisor, the agent or the machine failed.
    Infrastructure,
    /// The command itself failed or could not be executed.
    UserError,
    /// The kernel's out-of-memory killer ended it at its memory limit.
    OutOfMemory,
    /// The time limit ended it.
    Timeout,
    /// It failed after it had reached the most processes and threads that it may have.
    ProcessLimit,
    /// It wrote more to the disk than it may; that ended it.
    DiskLimit,
    /// It wrote more to its log than it may; that ended it.
    LogLimit,
    /// The sandbox or the site's policy refused it.
    PolicyDenied,
    /// Somebody asked for its end.
    Cancelled,
    /// The machine or the agent went away under it; its end is unknown.
    Lost,
    /// A job that had to succeed before it did not.
    Dependency,
}

impl FailureClass {
    /// The word used on the bus, in the store and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::UserError => "user-error",
            Self::OutOfMemory => "out-of-memory",
            Self::Timeout => "timeout",
            Self::ProcessLimit => "process-limit",
            Self::DiskLimit => "disk-limit",
            Self::LogLimit => "log-limit",
            Self::PolicyDenied => "policy-denied",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Dependency => "dependency",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of one layer of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Short name: `namespaces`, `root`, `ids`, `capabilities`, `seccomp`, …
    pub name: String,
    /// Whether it held.
    pub state: LayerState,
    /// What exactly was applied, or why it was not.
    pub detail: String,
}

impl Layer {
    /// The layer of jobs that have accelerators or whose profile shows them. Its
    /// detail names those that the job sees, which is for each job to say.
    pub const DEVICES: &str = "devices";
    /// The layer of jobs to which audited data is shown: that what they open of it is
    /// recorded.
    pub const DATA_AUDIT: &str = "data-audit";
}

/// Whether a layer of the sandbox was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerState {
    /// Applied in full.
    Held,
    /// Applied as far as this kernel can; the profile allows best effort.
    Partial,
    /// Not applied, and the profile allows that.
    Missing,
}

/// Resources that an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, microseconds, all processes of the job.
    pub user_usec: u64,
    /// CPU time in the kernel, microseconds.
    pub system_usec: u64,
    /// Largest resident set of any single process, bytes.
    pub max_rss_bytes: u64,
    /// Peak memory of the whole job, bytes, where the machine has a memory controller.
    pub memory_peak_bytes: Option<u64>,
    /// Most processes and threads at once, the job's agent included, where the
    /// machine has a controller that counts them (`pids.peak`, Linux 6.1).
    #[serde(default)]
    pub processes_peak: Option<u64>,
    /// Bytes read from disks, where the machine has an io controller.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// Bytes written to disks, likewise.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// What its outputs and its changes in the project take on the disk, of a job
    /// with a limit for that.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
}

/// What a running attempt uses at this moment, as far as this machine can tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveUsage {
    /// CPU time in user mode so far, microseconds, all processes of the job.
    pub user_usec: u64,
    /// CPU time in the kernel so far, microseconds.
    pub system_usec: u64,
    /// Memory now, bytes: of the whole job where the machine has a memory
    /// controller, else the resident sets of its processes added up.
    pub memory_bytes: Option<u64>,
    /// Peak memory so far, bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Processes and threads now, the job's agent included.
    pub processes: Option<u64>,
    /// Bytes read from disks so far.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks so far.
    pub written_bytes: Option<u64>,
    /// What its outputs and its changes in the project took on the disk when that
    /// was last measured, of a job with a limit for it.
    pub disk_bytes: Option<u64>,
    /// Its accelerators, where their driver tells without a vendor's library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUse>,
}

/// What the driver says of one accelerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuUse {
    /// The machine's name for it.
    pub name: String,
    /// How busy it is, in hundredths.
    pub busy_percent: Option<u8>,
    /// Its memory in use, bytes.
    pub memory_bytes: Option<u64>,
}

/// A kind of system call that the sandbox refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The call with the argument that tells what was wanted, `socket(AF_NETLINK)`;
    /// without it for those that came when too many different ones had come before.
    /// See [`Denied::OTHERS`] and [`Denied::UNCOUNTED`].
    pub call: String,
    /// How often.
    pub count: u64,
    /// Profiles of this supervisor under which it would have passed.
    pub allowed_by: Vec<String>,
}

impl Denied {
    /// Stands for a name where more kinds of calls were refused than are told apart:
    /// numbers that are no call's, since each call is counted.
    pub const OTHERS: &str = "others";
    /// Stands for a name, with the count 0, where refused calls could not be counted:
    /// the agent ended before it could say, does not answer, or was not asked. There
    /// may have been none, and there may have been many.
    pub const UNCOUNTED: &str = "uncounted";

    /// Whether it tells that refusals are not known.
    #[must_use]
    pub fn is_uncounted(&self) -> bool {
        self.call == Self::UNCOUNTED
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_uncounted() {
            true => f.write_str("calls that could not be counted"),
            false => write!(f, "{} ×{}", self.call, self.count),
        }
    }
}

/// Why a job ended, in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitReport {
    /// One sentence for people.
    pub summary: String,
    /// Failure class; `None` for success.
    pub failure: Option<FailureClass>,
    /// Exit code of the command, if it exited.
    pub exit_code: Option<i32>,
    /// Signal that ended the command, if one did.
    pub signal: Option<i32>,
    /// `errno` of the failed execution, if the command could not be executed.
    pub exec_errno: Option<i32>,
    /// Status a client returns for the job (see [`ExitReport::status`]).
    pub status: i32,
    /// When the command began, microseconds since the epoch; 0 if it did not.
    pub started_usec: u64,
    /// When it ended, microseconds since the epoch.
    pub finished_usec: u64,
    /// Bytes it wrote to standard output.
    pub stdout_bytes: u64,
    /// Bytes it wrote to standard error.
    pub stderr_bytes: u64,
    /// Bytes of output that could not be written to the log.
    pub lost_output_bytes: u64,
    /// What it used.
    pub usage: Usage,
    /// Layers of the sandbox and whether they held.
    pub layers: Vec<Layer>,
    /// System calls that the sandbox refused: those that the policy names first,
    /// each in the order in which they came.
    #[serde(default)]
    pub denied: Vec<Denied>,
}

/// Status of a client for a job that reached its time limit (as timeout(1)).
pub const STATUS_TIMEOUT: i32 = 124;
/// Status of a client when FetchML itself failed or refused.
pub const STATUS_REFUSED: i32 = 125;
/// Status of a client when the command was found and cannot be executed.
pub const STATUS_CANNOT_EXECUTE: i32 = 126;
/// Status of a client when the command was not found.
pub const STATUS_NOT_FOUND: i32 = 127;
/// Status of a client for a job cancelled before its command began (128 + SIGINT).
pub const STATUS_CANCELLED: i32 = 130;

/// Everything a client may know of a job; the JSON form is the documented,
/// versioned output of `Describe` on the bus and of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDescription {
    /// Version of this document: 1.
    pub version: u32,
    /// Its number.
    pub id: JobId,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Host user name of the submitter, when it has one.
    pub user: Option<String>,
    /// Current state.
    pub state: JobState,
    /// In words: why it waits, what it does, or why it ended.
    pub reason: String,
    /// What was asked for.
    pub spec: JobSpec,
    /// Number of the current or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// When it was accepted, microseconds since the epoch.
    pub submitted_usec: u64,
    /// When its current or last attempt began.
    pub started_usec: Option<u64>,
    /// When it reached its final state.
    pub finished_usec: Option<u64>,
    /// Host user id the attempt runs as, while it runs.
    pub host_uid: Option<u32>,
    /// System calls that the sandbox refused so far. In the description of one
    /// job that runs, and of one that is over; empty in lists of running ones.
    #[serde(default)]
    pub denied: Vec<Denied>,
    /// What it uses at this moment, in the description of one job that runs.
    #[serde(default)]
    pub usage: Option<LiveUsage>,
    /// Why it ended, or why its last attempt did when it waits for another.
    pub report: Option<ExitReport>,
    /// Whether it waits for somebody to release it.
    #[serde(default)]
    pub held: bool,
    /// Not before this time is it tried again, microseconds since the epoch.
    #[serde(default)]
    pub not_before_usec: Option<u64>,
    /// Whether it is in the dead-letter list: it failed, its tries are used up, and
    /// nobody has put it back or dropped it.
    #[serde(default)]
    pub dead: bool,
    /// Accelerators that its current attempt has for itself, as the machine names them.
    #[serde(default)]
    pub gpu_names: Vec<String>,
}
