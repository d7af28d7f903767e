//! Words of the verbs for jobs that are there, and for the queue.

use crate::input;
use clap::{Args, Subcommand, ValueEnum};
use fetchml_api::job::JobState;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Jobs of every user, when you may see them
    #[arg(short, long)]
    pub(crate) all_users: bool,
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = input::state)]
    pub(crate) state: Option<JobState>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = input::whole::<u32>(1, u32::MAX.into()))]
    pub(crate) limit: u32,
    /// One line for each job of an array
    #[arg(short, long)]
    pub(crate) expand: bool,
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
    #[command(flatten)]
    pub(crate) sure: Sure,
}

/// For verbs that cannot be undone.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Sure {
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Priority {
    /// The jobs
    // The parser may meet the priority while it still reads jobs.
    #[arg(value_name = "JOB", required = true, allow_negative_numbers = true)]
    pub(crate) jobs: Vec<String>,
    /// The priority: higher goes first; above 0 needs the right to it
    #[arg(
        value_name = "N",
        required = true,
        allow_negative_numbers = true,
        value_parser = input::priority
    )]
    pub(crate) priority: i32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List the jobs that failed and used up their further tries, the newest last
    #[command(before_help = "Example: fetchmlctl dead list -o name", visible_alias = "ls")]
    List(DeadList),
    /// Show everything known of such a job, with its attempts; of another, that it is none
    #[command(before_help = "Example: fetchmlctl dead show 12")]
    Show(SomeJobs),
    /// Put jobs into the queue again, with all their tries
    #[command(before_help = "Example: fetchmlctl dead requeue 12 15-17")]
    Requeue(SomeJobs),
    /// Take jobs out of the list; their logs and outputs stay
    #[command(before_help = "Example: fetchmlctl dead drop 12")]
    Drop(Cancel),
}

#[derive(Debug, Args)]
pub(crate) struct DeadList {
    /// Jobs of every user, when you may see them
    #[arg(short, long)]
    pub(crate) all_users: bool,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = input::whole::<u32>(1, u32::MAX.into()))]
    pub(crate) limit: u32,
    /// What to print: a table, or the numbers alone
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Table)]
    pub(crate) output: Form,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Let jobs start again
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) end: bool,
    /// Do not wait for the jobs that run
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Shutdown {
    /// End the jobs that run, too; without it they go on
    #[arg(long)]
    pub(crate) jobs: bool,
    #[command(flatten)]
    pub(crate) sure: Sure,
}
