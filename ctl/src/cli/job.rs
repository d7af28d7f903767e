//! Words of `run` and `submit`.

use crate::input;
use clap::{Args, ValueHint};
use fetchml_api::cpus::CpuSet;
use fetchml_api::job::{FailureClass, NetworkMode};
use std::path::PathBuf;

const QUEUE: &str = "In the queue";

/// A job to be.
#[derive(Debug, Args)]
pub(crate) struct Job {
    /// The project, which the job sees as /work and cannot change [default: this directory]
    ///
    /// The job may write anywhere in /work; what it wrote is kept with the job
    /// and the original stays as it is.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// A name for people [default: the first word of the command]
    #[arg(long, value_name = "NAME", value_parser = input::job_name)]
    pub(crate) name: Option<String>,
    /// The experiment it belongs to
    #[arg(long, value_name = "NAME", value_parser = input::label)]
    pub(crate) experiment: Option<String>,
    /// The sandbox profile
    #[arg(long, value_name = "NAME", value_parser = input::label)]
    pub(crate) profile: Option<String>,
    /// What it reaches over the network
    #[arg(long, value_name = "MODE", value_parser = input::network)]
    pub(crate) network: Option<NetworkMode>,
    /// Show a directory of this machine at a path of the job; read-only unless :rw
    #[arg(long = "mount", value_name = "HOST:JOB[:ro|rw]", value_parser = input::mount)]
    pub(crate) mounts: Vec<input::Mount>,
    /// Set a variable; without a value, copy it from here
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = input::variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Give the job a secret as the file /run/secrets/NAME
    #[arg(long = "secret", value_name = "NAME", value_parser = input::label)]
    pub(crate) secrets: Vec<String>,
    /// Give the job a secret as a variable [default: the name in capitals]
    #[arg(long, value_name = "NAME[=VARIABLE]", value_parser = input::secret_variable)]
    pub(crate) secret_env: Vec<(String, String)>,
    /// End the job after this time, such as 90s, 2h or 1h30m
    #[arg(long, value_name = "TIME", value_parser = input::duration_usec)]
    pub(crate) time_limit: Option<u64>,
    /// Most memory, such as 512M or 4G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = input::size_bytes)]
    pub(crate) memory: Option<u64>,
    /// Most CPUs, such as 2 or 0.5
    #[arg(long, value_name = "N", value_parser = input::cpus)]
    pub(crate) cpus: Option<f64>,
    /// The CPUs to run on, such as 0-3,8
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset: Option<CpuSet>,
    /// Most processes and threads
    #[arg(long, value_name = "N", value_parser = input::whole::<u64>(1, u64::MAX))]
    pub(crate) pids: Option<u64>,
    /// Most bytes that it may write to the disk, such as 20G
    #[arg(long, value_name = "SIZE", value_parser = input::size_bytes)]
    pub(crate) disk: Option<u64>,
    /// Most bytes of its log, such as 100M
    #[arg(long, value_name = "SIZE", value_parser = input::size_bytes)]
    pub(crate) log_limit: Option<u64>,
    /// Share of the CPUs while others want them too [default: 100]
    #[arg(long, value_name = "N", value_parser = input::whole::<u32>(1, 10_000))]
    pub(crate) cpu_weight: Option<u32>,
    /// Share of the disk while others want it too [default: 100]
    #[arg(long, value_name = "N", value_parser = input::whole::<u32>(1, 10_000))]
    pub(crate) io_weight: Option<u32>,
    /// GPUs that it has for itself
    #[arg(long, value_name = "N", value_parser = input::whole::<u32>(0, 1024))]
    pub(crate) gpus: Option<u32>,
    /// Part of the model's name that these must have, such as H100
    #[arg(long, value_name = "NAME", requires = "gpus", value_parser = input::label)]
    pub(crate) gpu_type: Option<String>,
    /// Its place in the queue: higher goes first; above 0 needs the right to it [default: 0]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = input::priority,
        help_heading = QUEUE
    )]
    pub(crate) priority: Option<i32>,
    /// Do not start it before somebody releases it
    #[arg(long, help_heading = QUEUE)]
    pub(crate) hold: bool,
    /// Start it when these jobs are over, however they end
    #[arg(long, value_name = "JOB", value_delimiter = ',', help_heading = QUEUE)]
    pub(crate) after: Vec<String>,
    /// Start it when these jobs have succeeded; it fails when one of them does not
    #[arg(long, value_name = "JOB", value_delimiter = ',', help_heading = QUEUE)]
    pub(crate) after_ok: Vec<String>,
    /// Try it N times more after a failure of this class, such as lost=3
    ///
    /// Without it the supervisor's configuration decides for `submit`, and `run` tries once.
    #[arg(long, value_name = "CLASS=N", value_parser = input::retry, help_heading = QUEUE)]
    pub(crate) retry: Vec<(FailureClass, u32)>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}

/// A job to be, or many.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) job: Job,
    /// Make a job for each index: 1-100, 1-100:2 or 3,7,9-12
    ///
    /// With %4 behind it at most four of them run at once. {index} in the command is
    /// replaced by the job's index, and {{ by a brace; the job also finds it in
    /// FETCHML_ARRAY_INDEX. Beside --sweep, %4 alone is the limit.
    #[arg(long, value_name = "INDICES", help_heading = MANY)]
    pub(crate) array: Option<String>,
    /// Make a job for each value: lr=0.1,0.01 or seed=1..5
    ///
    /// Given several times, one for each combination. {lr} in the command is replaced
    /// by the value, which the job also finds in the variable of that name. A range
    /// may have a step: 0..100:10.
    #[arg(long = "sweep", value_name = "NAME=VALUES", value_parser = input::sweep, help_heading = MANY)]
    pub(crate) sweeps: Vec<(String, input::Values)>,
    /// Print the jobs that would be made, and make none
    ///
    /// A supervisor that runs is asked for the profile, the jobs to wait for and what the
    /// machine has, and what was not asked is said. None is started.
    #[arg(long, help_heading = MANY)]
    pub(crate) dry_run: bool,
}

const MANY: &str = "Many jobs at once";
