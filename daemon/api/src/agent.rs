//! What the supervisor tells PID 1 of a job, and the report that it leaves.
//!
//! The plan is trusted by the agent. The report is treated as hostile by the
//! supervisor: it is at most [`MAX_REPORT_BYTES`] long and holds numbers only,
//! never text that a job could have chosen.
//!
//! While the job runs the supervisor reaches the agent through a socket that only
//! root can: a byte [`STOP`] asks for an orderly end, and whoever connects learns
//! from the kernel which process listens, which is how a restarted supervisor finds
//! its agents. Signals are no way in: a job can send those, and the kernel does not
//! always say that it did.

/// Asks the agent to end its job: TERM, the grace period, KILL.
pub const STOP: u8 = b'S';

use serde::{Deserialize, Serialize};

/// Longest report body, in bytes.
pub const MAX_REPORT_BYTES: usize = 512;

/// Descriptors the agent finds open when it starts. Everything else is closed.
pub mod fd {
    /// Standard input, output and error: `/dev/null`.
    pub const NULL: [i32; 3] = [0, 1, 2];
    /// Sealed memory file with the encoded [`super::AgentPlan`].
    pub const PLAN: i32 = 3;
    /// The job's log, opened for appending.
    pub const LOG: i32 = 4;
    /// The report file, empty, opened for writing.
    pub const REPORT: i32 = 5;
    /// Bound, non-blocking unix stream socket on which the agent listens for the
    /// supervisor.
    pub const IDENTITY: i32 = 6;
    /// Lock that keeps the job's host user id taken as long as the agent lives.
    pub const ID_LOCK: i32 = 7;
    /// First number that is free.
    pub const FIRST_FREE: u32 = 8;
}

/// What the agent does, complete before the clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentPlan {
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Directories in which a program name without a slash is looked up.
    pub search_path: Vec<Vec<u8>>,
    /// Working directory of the command.
    pub cwd: Vec<u8>,
    /// Wall-clock limit in microseconds from the start of the command.
    pub time_limit_usec: Option<u64>,
    /// Time between TERM and KILL, microseconds.
    pub grace_usec: u64,
    /// seccomp programs (`struct sock_filter` arrays in native byte order) that
    /// the command installs before it executes, in this order.
    pub filters: Vec<Vec<u8>>,
    /// User id inside the job, which the agent checks it really has.
    pub uid: u32,
    /// Group id inside the job, checked likewise.
    pub gid: u32,
}

impl AgentPlan {
    /// The bytes of the plan file.
    ///
    /// # Errors
    /// None in practice: byte strings always have an encoding.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// When the bytes are not exactly one plan.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match postcard::take_from_bytes(bytes)? {
            (plan, []) => Ok(plan),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

/// What the agent saw of its own sandbox, read from its own `/proc/self/status`
/// (proc_pid_status(5)) after it was locked in and before the command began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Own process id; 1 in a process-id namespace of its own.
    pub pid: u32,
    /// Real, effective, saved and file-system user id are all this.
    pub uid: u32,
    /// The same for the group id.
    pub gid: u32,
    /// Number of supplementary groups.
    pub groups: u32,
    /// Inheritable, permitted, effective, bounding and ambient capabilities, or-ed.
    pub capabilities: u64,
    /// `NoNewPrivs`.
    pub no_new_privs: bool,
    /// `Seccomp` of the agent: 2 is filter mode.
    pub seccomp_mode: u8,
    /// `Seccomp_filters` of the agent; the command adds those of its plan.
    pub seccomp_filters: u8,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandEnd {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// It could not be executed: `errno` of execve(2).
    ExecFailed(i32),
    /// The agent failed before the command: step and `errno`.
    AgentFailed(AgentStep, i32),
}

/// Steps of the agent that can fail, for [`CommandEnd::AgentFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentStep {
    /// Read or decode the plan.
    Plan,
    /// Become undumpable, block signals, open descriptors.
    Setup,
    /// The sandbox seen from inside is not the one that was planned.
    Verify,
    /// Fork the command.
    Fork,
    /// Prepare the command: session, limits, working directory, descriptors.
    Prepare,
    /// Install the command's seccomp programs.
    Seccomp,
}

/// The report an agent leaves when the job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// How the command ended.
    pub end: CommandEnd,
    /// The time limit was reached.
    pub timed_out: bool,
    /// The supervisor asked for the end before the command ended.
    pub stopped: bool,
    /// When the command began, microseconds since the epoch.
    pub started_usec: u64,
    /// When it ended.
    pub finished_usec: u64,
    /// Bytes of standard output.
    pub stdout_bytes: u64,
    /// Bytes of standard error.
    pub stderr_bytes: u64,
    /// Bytes of output that could not be written.
    pub lost_output_bytes: u64,
    /// `errno` of the first failed write to the log, 0 if none failed.
    pub log_errno: i32,
    /// CPU time in user mode, microseconds, of everything the agent reaped.
    pub user_usec: u64,
    /// CPU time in the kernel, microseconds.
    pub system_usec: u64,
    /// Largest resident set of any reaped process, bytes.
    pub max_rss_bytes: u64,
    /// The sandbox seen from inside.
    pub observed: Observed,
}

/// First bytes of a report file; the last byte is its version.
pub const REPORT_MAGIC: [u8; 4] = *b"FMR\x01";

/// Why a report cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nothing was written: the agent did not get to its end.
    #[error("the agent left no report")]
    Missing,
    /// Not a report, cut, or longer than a report can be.
    #[error("the agent's report is damaged")]
    Damaged,
}

impl AgentReport {
    /// The bytes of the report file.
    ///
    /// # Panics
    /// Never: every field has a bounded encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).unwrap_or_default();
        let mut out = REPORT_MAGIC.to_vec();
        out.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads a report file.
    ///
    /// # Errors
    /// [`ReportError`] for anything but one whole report.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.is_empty() {
            return Err(ReportError::Missing);
        }
        let body = bytes
            .strip_prefix(&REPORT_MAGIC)
            .and_then(|rest| rest.split_first_chunk::<2>())
            .filter(|(len, body)| body.len() == usize::from(u16::from_le_bytes(**len)))
            .filter(|(_, body)| body.len() <= MAX_REPORT_BYTES)
            .map(|(_, body)| body)
            .ok_or(ReportError::Damaged)?;
        match postcard::take_from_bytes(body) {
            Ok((report, [])) => Ok(report),
            _ => Err(ReportError::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> AgentReport {
        AgentReport {
            end: CommandEnd::Signaled(9),
            timed_out: true,
            stopped: false,
            started_usec: u64::MAX,
            finished_usec: u64::MAX,
            stdout_bytes: u64::MAX,
            stderr_bytes: u64::MAX,
            lost_output_bytes: u64::MAX,
            log_errno: i32::MIN,
            user_usec: u64::MAX,
            system_usec: u64::MAX,
            max_rss_bytes: u64::MAX,
            observed: Observed { capabilities: u64::MAX, ..Observed::default() },
        }
    }

    #[test]
    fn a_report_survives_the_round_trip_within_its_bound() {
        let bytes = report().encode();
        assert!(bytes.len() <= MAX_REPORT_BYTES, "{}", bytes.len());
        assert_eq!(AgentReport::decode(&bytes), Ok(report()));
    }

    #[test]
    fn a_cut_or_extended_report_is_refused() {
        let bytes = report().encode();
        assert_eq!(AgentReport::decode(&[]), Err(ReportError::Missing));
        for cut in 1..bytes.len() {
            assert_eq!(AgentReport::decode(&bytes[..cut]), Err(ReportError::Damaged), "{cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(AgentReport::decode(&longer), Err(ReportError::Damaged));
    }
}
