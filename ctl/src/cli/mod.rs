//! The command line. Help, man pages and completion are made from these types,
//! so that they cannot say different things.

mod job;
mod queue;
mod records;
mod secret;
mod secrets;

pub(crate) use job::{Job, Submit};
pub(crate) use queue::{
    Cancel, Dead, DeadList, Drain, Form, Jobs, List, Priority, Shutdown, SomeJobs, Sure,
};
pub(crate) use records::{Audit, AuditExport, AuditShow, AuditVerify, Explain, Import, Policy};
pub(crate) use secret::{FromWhere, Secret};
pub(crate) use secrets::{Config, Kind as SecretKind, Scan, Secrets};

use crate::input;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::path::PathBuf;

/// Run other people's training code safely, and see what happened.
#[derive(Debug, Parser)]
#[command(
    name = "fetchmlctl",
    version,
    before_help = "Example: fetchmlctl run --time-limit 2h -- python3 train.py",
    after_help = "A JOB is a number, a range such as 3-7, a name that only one job has (or the newest \
                  of that name, while it alone is not over), @last, a job of an array by its index \
                  such as 12[3], or all of an array: 12[] or NAME[].",
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Global {
    /// Use a private supervisor instead of the system service
    ///
    /// Its state is kept below DIR (default: fetchml in $XDG_STATE_HOME or
    /// ~/.local/state). It is started when it does not run, and stops by itself
    /// when it is idle. Starting one needs root, because a sandbox does.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        value_hint = ValueHint::DirPath
    )]
    #[allow(clippy::option_option)]
    pub(crate) private: Option<Option<PathBuf>>,
    /// Write JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour; NO_COLOR and CLICOLOR_FORCE are honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) color: When,
    /// Say only what was asked for
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Never ask for a password to be allowed more
    #[arg(long, global = true)]
    pub(crate) no_ask_password: bool,
}

/// When something is done that suits a terminal only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command in the sandbox, follow it, and end with its status
    ///
    /// The job's output is this command's output. The exit status is the job's:
    /// 128+N for signal N, 124 for the time limit, 126 or 127 for a command that
    /// cannot be executed or found, 125 when FetchML itself failed or refused, and 130
    /// when the job was cancelled before its command began.
    /// Ctrl-C stops the job and waits for its end; a second Ctrl-C returns at once.
    /// When nobody reads the output any more, the job is cancelled and the status is 141.
    #[command(
        before_help = "Example: fetchmlctl run --time-limit 2h --memory 4G -- python3 train.py",
        override_usage = "fetchmlctl run [OPTIONS] -- COMMAND..."
    )]
    Run(Job),
    /// Queue a command and print the job's number
    #[command(
        before_help = "Example: fetchmlctl submit --sweep lr=0.1,0.01 -- python3 train.py --lr {lr}",
        override_usage = "fetchmlctl submit [OPTIONS] -- COMMAND..."
    )]
    Submit(Submit),
    /// List jobs, the newest last
    ///
    /// An array is one line, with the numbers of its jobs by state, unless --expand is
    /// given. The reason says why a job waits or how it ended.
    #[command(before_help = "Example: fetchmlctl list --state running", visible_alias = "ls")]
    List(List),
    /// Show everything known of a job, and why it waits or ended
    #[command(before_help = "Example: fetchmlctl status @last")]
    Status(Jobs),
    /// Print what a job wrote
    ///
    /// Standard output and standard error of the job go where `run` puts them:
    /// to those of this command. With --stream or --json all goes to standard
    /// output. On a terminal, everything in it that could control the terminal
    /// is made visible; redirected, each byte is as the job wrote it, but for secrets,
    /// which are not in the log.
    #[command(before_help = "Example: fetchmlctl logs -f @last")]
    Logs(Logs),
    /// Wait for the end of jobs
    ///
    /// The exit status is 0 when all succeeded, and otherwise that of the first
    /// job, in the order given, that did not; 125 when FetchML itself failed.
    #[command(before_help = "Example: fetchmlctl wait 12 13 14")]
    Wait(SomeJobs),
    /// End jobs: TERM, a grace period, KILL
    ///
    /// For more than one job it asks on a terminal, and needs --yes elsewhere.
    #[command(before_help = "Example: fetchmlctl cancel 12-15")]
    Cancel(Cancel),
    /// Keep waiting jobs from starting
    #[command(before_help = "Example: fetchmlctl hold 12[]")]
    Hold(SomeJobs),
    /// Let held jobs start when it is their turn
    #[command(before_help = "Example: fetchmlctl release 12 13")]
    Release(SomeJobs),
    /// Move waiting jobs in the queue
    ///
    /// Jobs of a higher priority go first, and of two of the same the older one, in
    /// turns with those of other users. Without a priority a job has 0.
    #[command(
        before_help = "Example: fetchmlctl priority 12 13 -10",
        visible_alias = "reprioritize"
    )]
    Priority(Priority),
    /// Handle jobs that failed and used up their further tries
    #[command(subcommand, before_help = "Example: fetchmlctl dead list")]
    Dead(Dead),
    /// Show what the machine has for jobs, what is taken, and who waits
    #[command(before_help = "Example: fetchmlctl queue")]
    Queue,
    /// Show each try of a job: when, how it ended, what it used
    #[command(before_help = "Example: fetchmlctl attempts @last")]
    Attempts(Jobs),
    /// Start no more jobs, and wait until none runs
    ///
    /// Until `drain --end`, or until there is another supervisor, jobs are accepted and
    /// wait. Ctrl-C before the end lets jobs start again.
    #[command(before_help = "Example: fetchmlctl drain && systemctl restart fetchmld")]
    Drain(Drain),
    /// End the supervisor, and with --jobs what runs
    ///
    /// Jobs that wait do so until there is a supervisor again. It asks on a terminal,
    /// and needs --yes elsewhere.
    #[command(before_help = "Example: fetchmlctl shutdown --jobs")]
    Shutdown(Shutdown),
    /// List or fetch what a job left in its output directory
    #[command(before_help = "Example: fetchmlctl outputs @last --get model.json -o model.json")]
    Outputs(Outputs),
    /// Show the metrics that a job reports
    ///
    /// A job reports by appending lines such as `step=3 loss=0.25`, or JSON objects, to
    /// the file $FETCHML_METRICS_FILE. Works while the job runs as well.
    #[command(before_help = "Example: fetchmlctl metrics @last --name loss")]
    Metrics(Metrics),
    /// Copy the job store, while it is in use, into a new file
    ///
    /// `fetchmld --restore FILE` puts it back. Needs the authorization to manage the jobs
    /// of everybody. Logs, outputs and the audit log are files of their own and not in it.
    #[command(before_help = "Example: fetchmlctl backup fetchml.db.backup")]
    Backup {
        /// Where to write it; an existing file is never overwritten
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Read and verify the audit log
    #[command(subcommand, before_help = "Example: fetchmlctl audit verify")]
    Audit(Audit),
    /// See what a sandbox profile allows, and why
    ///
    /// What is told is what the supervisor would apply. Where none answers, it is
    /// read from the profiles built into this program and those in
    /// /etc/fetchml/policies, and that is said.
    #[command(subcommand, before_help = "Example: fetchmlctl policy explain default --call ptrace")]
    Policy(Policy),
    /// Keep secrets for jobs
    ///
    /// A job gets those that it names with --secret and --secret-env, if its owner may
    /// use them. What it prints of them is taken out of its log. Needs the authorization
    /// to manage secrets.
    #[command(subcommand, before_help = "Example: fetchmlctl secret add hf-token --for alice")]
    Secret(Secret),
    /// Find secrets in files, and take them out of logs
    ///
    /// By the rules built into this program and those in /etc/fetchml/policies/secrets.
    /// Works without a supervisor.
    #[command(subcommand, before_help = "Example: fetchmlctl secrets scan train.yaml .env")]
    Secrets(Secrets),
    /// Check the configuration of the supervisor
    #[command(
        subcommand,
        before_help = "Example: fetchmlctl config check /etc/fetchml/fetchml.toml"
    )]
    Config(Config),
    /// Check whether this machine can hold a sandbox, with the remedy where it cannot
    ///
    /// Every feature of the kernel and the system that FetchML uses: its state, what
    /// that means for jobs, and what to do about it. Works without a supervisor; one
    /// that runs is asked as well, and none is started. A state is ok, absent (nobody
    /// misses it who does not ask for it), partial, missing or unknown.
    ///
    /// The exit status is 0 when every need of a job is met, 1 when something without
    /// which no job runs is missing, and 2 when such a thing could not be found out.
    ///
    /// With --json: an array of objects with the keys group (kernel, sandbox,
    /// resources, audit, devices, system), name, state, needed (whether no job runs
    /// without it), detail, consequence and remedy (text or null). Names and states
    /// are stable; new ones may be added.
    #[command(before_help = "Example: fetchmlctl doctor --json")]
    Doctor,
    /// Print the completion script of a shell
    #[command(
        before_help = "Example: fetchmlctl completion bash > /etc/bash_completion.d/fetchmlctl"
    )]
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// Where to write them
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Become the leader of a session and execute a private supervisor
    #[command(hide = true, name = "detached-supervisor")]
    DetachedSupervisor {
        /// The supervisor's program
        program: PathBuf,
        /// Its directory
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The job
    #[arg(value_name = "JOB", default_value = "@last")]
    pub(crate) job: String,
    /// Go on until the job is over
    #[arg(short, long, conflicts_with = "attempt")]
    pub(crate) follow: bool,
    /// The log of this attempt instead of the newest one's
    #[arg(long, value_name = "N", value_parser = input::whole::<u32>(1, u32::MAX.into()))]
    pub(crate) attempt: Option<u32>,
    /// Begin so many lines before the end
    #[arg(short = 'n', long, value_name = "N", value_parser = input::whole::<u64>(0, u64::MAX))]
    pub(crate) tail: Option<u64>,
    /// Only this stream
    #[arg(long, value_enum, value_name = "STREAM")]
    pub(crate) stream: Option<StreamName>,
    /// Begin each line with the time at which it was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

/// One of the job's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamName {
    Stdout,
    Stderr,
}

#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// The job
    #[arg(value_name = "JOB", default_value = "@last")]
    pub(crate) job: String,
    /// Each point of this metric instead of a line for each
    #[arg(long, value_name = "METRIC")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Outputs {
    /// The job
    #[arg(value_name = "JOB", default_value = "@last")]
    pub(crate) job: String,
    /// What it wrote in /work instead of /outputs
    #[arg(long)]
    pub(crate) work: bool,
    /// Fetch this file instead of listing
    #[arg(long, value_name = "FILE")]
    pub(crate) get: Option<PathBuf>,
    /// Where to put the file; an existing file is never overwritten [default: standard output]
    #[arg(short, long, value_name = "OUT", requires = "get", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
}
