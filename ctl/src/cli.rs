//! The command line. Help, man pages and completion are made from these types,
//! so that they cannot say different things.

use crate::input;
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use fetchml_api::job::{JobState, NetworkMode};
use std::path::PathBuf;

/// Run other people's training code safely, and see what happened.
#[derive(Debug, Parser)]
#[command(
    name = "fetchmlctl",
    version,
    before_help = "Example: fetchmlctl run --time-limit 2h -- python3 train.py",
    after_help = "A JOB is a number, a range such as 3-7, a name that only one job has, or @last.",
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
    /// cannot be executed or found, and 125 when FetchML itself failed or refused.
    /// Ctrl-C stops the job and waits for its end; a second Ctrl-C returns at once.
    /// When nobody reads the output any more, the job is cancelled and the status is 141.
    #[command(
        before_help = "Example: fetchmlctl run --time-limit 2h --memory 4G -- python3 train.py",
        override_usage = "fetchmlctl run [OPTIONS] -- COMMAND..."
    )]
    Run(Job),
    /// Queue a command and print the job's number
    #[command(
        before_help = "Example: fetchmlctl submit --name night --time-limit 8h -- python3 train.py",
        override_usage = "fetchmlctl submit [OPTIONS] -- COMMAND..."
    )]
    Submit(Job),
    /// List jobs, the newest last
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
    /// is made visible; redirected, each byte is as the job wrote it.
    #[command(before_help = "Example: fetchmlctl logs -f @last")]
    Logs(Logs),
    /// Wait for the end of jobs
    ///
    /// The exit status is 0 when all succeeded, and otherwise that of the first
    /// job, in the order given, that did not; 125 when FetchML itself failed.
    #[command(before_help = "Example: fetchmlctl wait 12 13 14")]
    Wait(SomeJobs),
    /// End jobs: TERM, a grace period, KILL
    #[command(before_help = "Example: fetchmlctl cancel 12-15")]
    Cancel(Cancel),
    /// List or fetch what a job left in its output directory
    #[command(before_help = "Example: fetchmlctl outputs @last --get model.json -o model.json")]
    Outputs(Outputs),
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
    #[arg(long, value_name = "NAME", value_parser = input::label)]
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
    /// End the job after this time, such as 90s, 2h or 1h30m
    #[arg(long, value_name = "TIME", value_parser = input::duration_usec)]
    pub(crate) time_limit: Option<u64>,
    /// Most memory, such as 512M or 4G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = input::size_bytes)]
    pub(crate) memory: Option<u64>,
    /// Most CPUs, such as 2 or 0.5
    #[arg(long, value_name = "N", value_parser = input::cpus)]
    pub(crate) cpus: Option<f64>,
    /// Most processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) pids: Option<u64>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Jobs of every user, when you may see them
    #[arg(short, long)]
    pub(crate) all_users: bool,
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = input::state)]
    pub(crate) state: Option<JobState>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// What to print: a table, or the numbers alone
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Table)]
    pub(crate) output: Form,
}

/// What a list looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One line a job with a header.
    Table,
    /// The job's number alone.
    Name,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// The jobs
    #[arg(value_name = "JOB", default_value = "@last")]
    pub(crate) jobs: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SomeJobs {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    pub(crate) jobs: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    pub(crate) jobs: Vec<String>,
    /// Say what would be cancelled, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The job
    #[arg(value_name = "JOB", default_value = "@last")]
    pub(crate) job: String,
    /// Go on until the job is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin so many lines before the end
    #[arg(short = 'n', long, value_name = "N")]
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

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print the records of the audit log
    #[command(before_help = "Example: fetchmlctl audit show --tail 20")]
    Show(AuditShow),
    /// Verify the chain and name the first bad record
    ///
    /// The exit status is 0 when the log is intact, 1 when it was tampered with,
    /// 2 when it is incomplete or nothing says where it must end, and 3 when it
    /// cannot be read. The end is known from the supervisor, for files from the
    /// file `head` beside them, and better from a note made elsewhere with --head.
    #[command(before_help = "Example: fetchmlctl audit verify --file 000000000001.log")]
    Verify {
        /// Verify these segment files, in this order, instead of the supervisor's
        #[arg(long = "file", value_name = "FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// This record was written, whatever the log says: its number and hash
        #[arg(long, value_name = "NUMBER:HASH", value_parser = input::head)]
        head: Option<fetchml_api::audit::Head>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// List the profiles, one a line
    ///
    /// The default one and those that are weaker than what every user may use are
    /// marked.
    #[command(before_help = "Example: fetchmlctl policy list", visible_alias = "ls")]
    List,
    /// Show a profile after inheritance: root, network, limits, system calls
    #[command(before_help = "Example: fetchmlctl policy show default --plan")]
    Show {
        /// A profile, or a file such as ./mine.toml
        #[arg(value_name = "PROFILE", default_value = "default")]
        profile: String,
        /// Also what this machine makes of it: what it lacks, which layers hold
        #[arg(long)]
        plan: bool,
    },
    /// Check profile files (.toml) and seccomp files (.json)
    ///
    /// Every fault with its line and column. Nothing is installed and no supervisor
    /// is asked. The exit status is 0 when all are good, and else 1.
    #[command(before_help = "Example: fetchmlctl policy check mine.toml")]
    Check {
        /// The files
        #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Turn a seccomp profile of Docker or another OCI runtime into one of FetchML
    ///
    /// What the original leaves to the machine (capabilities, architectures, the
    /// kernel's version) is decided, and every decision is told. What cannot be said
    /// by a profile of FetchML is refused with its place, and nothing is written. The
    /// exit status is 0, or 1 when it was refused.
    #[command(before_help = "Example: fetchmlctl policy import default.json -o docker.json")]
    Import(Import),
    /// Explain whether a job may do something, and by which rule
    ///
    /// The exit status is 0 when it is allowed, 1 when it is denied, 3 when it
    /// depends (all cases are told), and 2 when it could not be found out.
    #[command(
        before_help = "Example: fetchmlctl policy explain default --call 'socket(AF_INET)'",
        override_usage = "fetchmlctl policy explain [PROFILE] --call CALL | --path PATH [--write|--execute] | --connect ADDRESS"
    )]
    Explain(Explain),
    /// Show how two profiles differ
    ///
    /// The exit status is that of diff(1): 0 when they do not differ, 1 when they
    /// do, 2 when it could not be found out.
    #[command(before_help = "Example: fetchmlctl policy diff default strict")]
    Diff {
        /// A profile, or a file such as ./mine.toml
        #[arg(value_name = "PROFILE")]
        before: String,
        /// Another one
        #[arg(value_name = "OTHER")]
        after: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The profile of Docker, Podman or another OCI runtime
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// A capability that jobs of it have, such as CAP_NET_RAW; none unless given
    #[arg(long = "cap", value_name = "CAP")]
    pub(crate) capabilities: Vec<String>,
    /// The oldest kernel that it is for
    #[arg(long, value_name = "VERSION", default_value = "6.1", value_parser = input::kernel)]
    pub(crate) kernel: (u32, u32),
    /// Where to put it; an existing file is never overwritten [default: standard output]
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("question").required(true).args(["call", "path", "connect"]))]
pub(crate) struct Explain {
    /// A profile, or a file such as ./mine.toml
    #[arg(value_name = "PROFILE", default_value = "default")]
    pub(crate) profile: String,
    /// A system call, by name or number, with arguments where they matter
    ///
    /// Such as ptrace, 'socket(AF_INET, SOCK_STREAM)' or 'ioctl(TIOCSTI)': one
    /// argument alone is the one that tells uses of the call apart. Arguments that
    /// are left out, or written as _, are unknown: where they decide, every case is
    /// told.
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// A path as the job sees it; reading it unless --write or --execute is given
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<String>,
    /// HOST:PORT, [IPv6]:PORT, unix:/PATH or unix:@NAME
    ///
    /// Such as example.org:443, [::1]:8080, or for a local socket unix:/run/x.sock,
    /// with @ for one of the abstract name space.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Option<String>,
    /// Change, make or remove the path
    #[arg(long, requires = "path", conflicts_with = "execute")]
    pub(crate) write: bool,
    /// Run the path as a program
    #[arg(long, requires = "path")]
    pub(crate) execute: bool,
}

impl Explain {
    /// The kind and the words of the question, as the supervisor takes them.
    pub(crate) fn question(&self) -> (&'static str, &str) {
        match (&self.call, &self.path, &self.connect) {
            (Some(call), ..) => ("call", call),
            (_, Some(path), _) if self.write => ("write", path),
            (_, Some(path), _) if self.execute => ("execute", path),
            (_, Some(path), _) => ("read", path),
            (.., Some(address)) => ("connect", address),
            // The group demands one of them.
            (None, None, None) => ("call", ""),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AuditShow {
    /// Only the last so many records
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only records of this job
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<u64>,
    /// Only records of this event, such as job_started
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,
}
