//! What the supervisor tells PID 1 of a job, and the report that it leaves.
//!
//! The plan is trusted by the agent. The report is treated as hostile by the
//! supervisor: it is at most [`MAX_REPORT_BYTES`] long and holds numbers only,
//! never text that a job could have chosen.
//!
//! While the job runs the supervisor reaches the agent through a socket that only
//! root can: a byte [`STOP`] asks for an orderly end, a byte [`STOP_OVER_DISK`] for
//! one that the report gives a reason for, a byte [`DENIED`] for what was refused so
//! far, and whoever connects learns from the kernel which process listens, which is
//! how a restarted supervisor finds its agents. Signals are no way in: a job can send
//! those, and the kernel does not always say that it did.

/// Asks the agent to end its job: TERM, the grace period, KILL.
pub const STOP: u8 = b'S';

/// As [`STOP`], because the job wrote more to the disk than it may.
pub const STOP_OVER_DISK: u8 = b'F';

/// Asks for the system calls that were refused so far: the answer is an encoded
/// [`DeniedCalls`], then the connection ends.
pub const DENIED: u8 = b'D';

use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Longest report body, in bytes.
pub const MAX_REPORT_BYTES: usize = 8192;

/// Most refused calls that are told apart by their argument.
pub const MAX_DENIED: usize = 32;

/// Refused calls below this number are each counted, whatever else was refused: no
/// flood of one call hides another. Kernels have no more (Linux 6.18: 470).
pub const CALLS: u32 = 512;

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
    /// Sealed memory file with the rules by which secrets are told.
    pub const RULES: i32 = 8;
    /// Event counter (eventfd(2)) to which the agent adds when its report is complete.
    pub const BELL: i32 = 9;
    /// First number that is free.
    pub const FIRST_FREE: u32 = 10;
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
    /// Longest log in bytes, frames and all. The job that fills it is ended.
    pub log_limit_bytes: u64,
    /// seccomp program (`struct sock_filter` array in native byte order) that the
    /// command installs before it executes.
    pub filter: Vec<u8>,
    /// How the calls are answered that `filter` asks about. `None`: it never asks.
    pub refusals: Option<Refusals>,
    /// seccomp program of the agent itself, which it installs when the command has
    /// begun, so that the command does not inherit it.
    pub own_filter: Vec<u8>,
    /// User id inside the job, which the agent checks it really has.
    pub uid: u32,
    /// Group id inside the job, checked likewise.
    pub gid: u32,
    /// Capabilities that the job keeps in its user namespace, checked likewise.
    pub capabilities: u64,
    /// Secrets that the job was given, to be taken out of its output in every spelling.
    pub secrets: Vec<Vec<u8>>,
}

/// The error numbers of refused calls (1 to 4095).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// Of a call that is not listed.
    pub default_errno: u16,
    /// By call number, in ascending order.
    pub errnos: Vec<(u32, u16)>,
}

impl Refusals {
    /// The error number for a call.
    #[must_use]
    pub fn errno(&self, call: u32) -> u16 {
        let found = self.errnos.binary_search_by_key(&call, |(number, _)| *number);
        found.ok().and_then(|at| self.errnos.get(at)).map_or(self.default_errno, |(_, e)| *e)
    }
}

impl AgentPlan {
    /// The bytes of the plan file. No copy of them stays behind.
    ///
    /// # Errors
    /// None in practice: byte strings always have an encoding.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        // At once as long as needed: a buffer that grew would leave secrets behind.
        let mut bytes = vec![0; postcard::experimental::serialized_size(self)?];
        postcard::to_slice(self, &mut bytes)?;
        Ok(bytes)
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
}

/// System calls that the sandbox refused, by call and argument of interest. Bounded:
/// a job that tries everything is counted, not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedCalls {
    /// The first [`MAX_DENIED`] different ones, in the order in which they came.
    pub calls: Vec<DeniedCall>,
    /// When that list is full: calls by number, in ascending order, and how often
    /// each was refused.
    pub further: Vec<(u32, u32)>,
    /// How often calls were refused, when the list was full, that no kernel has.
    pub others: u64,
    /// Some could not be counted: there is no telling which.
    pub lost: bool,
}

/// How often one system call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedCall {
    /// Its number on this architecture.
    pub call: u32,
    /// What tells what was wanted ([`crate::denial::kept`]).
    pub argument: u64,
    /// How often.
    pub count: u64,
}

impl DeniedCalls {
    /// Counts one more.
    pub fn count(&mut self, call: u32, argument: u64) {
        let is_it = |d: &&mut DeniedCall| (d.call, d.argument) == (call, argument);
        if let Some(denied) = self.calls.iter_mut().find(is_it) {
            denied.count = denied.count.saturating_add(1);
        } else if self.calls.len() < MAX_DENIED {
            self.calls.push(DeniedCall { call, argument, count: 1 });
        } else if call >= CALLS {
            self.others = self.others.saturating_add(1);
        } else {
            match self.further.binary_search_by_key(&call, |(number, _)| *number) {
                Ok(at) => {
                    if let Some((_, count)) = self.further.get_mut(at) {
                        *count = count.saturating_add(1);
                    }
                }
                Err(at) => self.further.insert(at, (call, 1)),
            }
        }
    }

    fn is_within_bounds(&self) -> bool {
        let ascending = self.further.is_sorted_by(|one, next| one.0 < next.0);
        let known = self.further.last().is_none_or(|(call, _)| *call < CALLS);
        self.calls.len() <= MAX_DENIED && ascending && known
    }

    /// The answer to [`DENIED`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers always have an encoding.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads an answer. `None` for anything but one whole answer within its bounds.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((denied, [])) if denied.is_within_bounds() => Some(denied),
            _ => None,
        }
    }
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
    /// Install the command's seccomp program, or the agent's own.
    Seccomp,
    /// Take the rules by which secrets are told. No command without them.
    Secrets,
}

/// A limit on what a job writes, which it reached and which ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteLimit {
    /// Of its outputs and its changes in the project; the supervisor said so.
    Disk,
    /// Of its log.
    Log,
}

/// The report an agent leaves when the job is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// How the command ended.
    pub end: CommandEnd,
    /// The time limit was reached.
    pub timed_out: bool,
    /// The supervisor asked for the end before the command ended.
    pub stopped: bool,
    /// It wrote more than it may, and was ended for that before its command ended.
    pub over_limit: Option<WriteLimit>,
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
    /// System calls that were refused.
    pub denied: DeniedCalls,
}

/// First bytes of a report file; the last byte is its version.
///
/// The agent writes them before it starts the command, and the rest at the end: a
/// report file that is empty when no process of the attempt is left says that the
/// command never began.
pub const REPORT_MAGIC: [u8; 4] = *b"FMR\x02";

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
        let body = postcard::to_allocvec(self).unwrap_or_default();
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
        if bytes.is_empty() || bytes == REPORT_MAGIC {
            return Err(ReportError::Missing);
        }
        let body = bytes
            .strip_prefix(&REPORT_MAGIC)
            .and_then(|rest| rest.split_first_chunk::<2>())
            .filter(|(len, body)| body.len() == usize::from(u16::from_le_bytes(**len)))
            .filter(|(_, body)| body.len() <= MAX_REPORT_BYTES)
            .map(|(_, body)| body)
            .ok_or(ReportError::Damaged)?;
        match postcard::take_from_bytes::<Self>(body) {
            Ok((report, [])) if report.denied.is_within_bounds() => Ok(report),
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
            over_limit: Some(WriteLimit::Log),
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
            denied: everything_denied(),
        }
    }

    /// The longest list there can be, counted one by one.
    fn everything_denied() -> DeniedCalls {
        let mut denied = DeniedCalls::default();
        for call in 0..100 {
            denied.count(u32::MAX - call, u64::MAX);
        }
        for call in (0..CALLS).rev() {
            denied.count(call, u64::MAX);
        }
        for (_, count) in &mut denied.further {
            *count = u32::MAX;
        }
        for denied in &mut denied.calls {
            denied.count = u64::MAX;
        }
        denied
    }

    #[test]
    fn refused_calls_are_told_apart_up_to_a_bound_and_then_counted() {
        let mut denied = everything_denied();
        assert_eq!((denied.calls.len(), denied.others), (MAX_DENIED, 100 - MAX_DENIED as u64));
        denied.count(u32::MAX, u64::MAX);
        assert_eq!(denied.calls[0].count, u64::MAX);
        assert_eq!(denied.further.len(), CALLS as usize, "each call has its number");
        denied.count(7, 0);
        assert_eq!(denied.further[7], (7, u32::MAX));
        assert_eq!(DeniedCalls::decode(&denied.encode()), Some(denied));
    }

    #[test]
    fn an_answer_with_more_calls_than_there_can_be_is_refused() {
        let one = DeniedCall { call: 1, argument: 0, count: 1 };
        for denied in [
            DeniedCalls { calls: vec![one; MAX_DENIED + 1], ..DeniedCalls::default() },
            DeniedCalls { further: vec![(CALLS, 1)], ..DeniedCalls::default() },
            DeniedCalls { further: vec![(1, 1), (1, 1)], ..DeniedCalls::default() },
        ] {
            assert_eq!(DeniedCalls::decode(&denied.encode()), None, "{denied:?}");
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
            let error = match cut {
                4 => ReportError::Missing,
                _ => ReportError::Damaged,
            };
            assert_eq!(AgentReport::decode(&bytes[..cut]), Err(error), "{cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(AgentReport::decode(&longer), Err(ReportError::Damaged));
    }
}
