//! Words of `audit` and `policy`.

use crate::input;
use clap::{ArgAction, ArgGroup, Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print the records of the audit log
    #[command(before_help = "Example: fetchmlctl audit show --tail 20")]
    Show(AuditShow),
    /// Verify the log and name the first bad record
    ///
    /// The exit status is 0 when the log is intact, 1 when it was tampered with,
    /// 2 when it is incomplete or nothing says where it must end, and 3 when it
    /// cannot be read. Without a path, the supervisor's own log is verified with the
    /// keys that it names itself; who does not trust this machine gives --key and
    /// --anchor as they were noted elsewhere. The program fetchml-audit-verify does
    /// the same on a machine that has nothing else.
    #[command(before_help = "Example: fetchmlctl audit verify export.audit --key audit.pub")]
    Verify(AuditVerify),
    /// Print the public key of the log, to be kept elsewhere
    ///
    /// One line for each key that was in use, the one in use now last.
    #[command(before_help = "Example: fetchmlctl audit key > audit.pub")]
    Key,
    /// Print a line that says what the log is now, to be kept elsewhere
    ///
    /// Given to `audit verify --anchor` later, it shows whether the log was cut or
    /// written anew since.
    #[command(before_help = "Example: fetchmlctl audit anchor >> /mnt/elsewhere/anchors")]
    Anchor,
    /// Write some records to one file that proves itself with the public key
    #[command(before_help = "Example: fetchmlctl audit export --from 120 --to 240 export.audit")]
    Export(AuditExport),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// An export, segments in their order, or the directory of a log
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// The same as PATH
    #[arg(long = "file", value_name = "FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// A public key of the log or a file of them, as `audit key` prints them
    #[arg(long = "key", value_name = "KEY|FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    pub(crate) keys: Vec<String>,
    /// A line that `audit anchor` printed, or a file of them
    #[arg(long = "anchor", value_name = "LINE|FILE", action = ArgAction::Append, value_hint = ValueHint::FilePath)]
    pub(crate) anchors: Vec<String>,
    /// This record was written, whatever the log says: its number and hash
    #[arg(long, value_name = "NUMBER:HASH", value_parser = input::head)]
    pub(crate) head: Option<fetchml_api::audit::Head>,
    /// Also compare with the copies in this machine's journal
    ///
    /// Records that the log lost and the journal still has are tampering (1); records
    /// that the journal lacks are named, with why where that is known (2). Entries that
    /// only look like records are named too and change nothing: every user can write
    /// some. To be run as root or as a member of the group systemd-journal.
    #[arg(long)]
    pub(crate) journal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExport {
    /// First record: its number, or a time such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "NUMBER|TIME", default_value = "1")]
    pub(crate) from: String,
    /// Last record: its number or a time; without it, the last one there is
    #[arg(long, value_name = "NUMBER|TIME")]
    pub(crate) to: Option<String>,
    /// Prove that the export goes on from this anchor as well, or from those of a file
    #[arg(long = "anchor", value_name = "LINE|FILE", action = ArgAction::Append)]
    pub(crate) anchors: Vec<String>,
    /// Where to write it; a file that exists is not replaced
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
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
    /// Every fault with its line and column; names of no system call of this machine's
    /// architecture are noted and no fault. Nothing is installed and no supervisor is
    /// asked. The exit status is 0 when all are good, 1 when one has a fault, and 2 when
    /// one could not be read.
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
    #[arg(short = 'n', long, value_name = "N", value_parser = input::whole::<usize>(0, u64::MAX))]
    pub(crate) tail: Option<usize>,
    /// Only records of this job, or of these
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<String>,
    /// Only records of this event, such as job_started
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,
    /// Only records of this user, by name or number
    #[arg(long, value_name = "USER")]
    pub(crate) actor: Option<String>,
    /// Only records with this result: success, failure or denied
    #[arg(long, value_name = "RESULT", value_parser = ["success", "failure", "denied"])]
    pub(crate) result: Option<String>,
    /// Only records from this time on, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = input::time_usec)]
    pub(crate) since: Option<u64>,
    /// Only records up to this time
    #[arg(long, value_name = "TIME", value_parser = input::time_usec)]
    pub(crate) until: Option<u64>,
    /// Print new records as they are written, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// As comma-separated values with a header
    #[arg(long, conflicts_with = "follow")]
    pub(crate) csv: bool,
}
