//! From the agent's numbers to an exit report in words.

use super::Refusal;
use super::disk::Taken;
use crate::cgroup::GroupUse;
use crate::jail::Failure;
use fetchml_api::agent::{AgentReport, AgentStep, CommandEnd, ReportError, WriteLimit};
use fetchml_api::job::{
    Denied, ExitReport, FailureClass, Layer, STATUS_CANNOT_EXECUTE, STATUS_NOT_FOUND,
    STATUS_REFUSED, STATUS_TIMEOUT, Usage,
};
use nix::errno::Errno;
use nix::sys::signal::Signal;

/// What the supervisor knows besides the agent's report.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) layers: &'a [Layer],
    pub(super) program: &'a str,
    pub(super) profile: &'a str,
    pub(super) denied: Vec<Denied>,
    pub(super) group: GroupUse,
    /// `None` when it is not known any more, after a restart.
    pub(super) time_limit_usec: Option<u64>,
    /// The same.
    pub(super) log_limit_bytes: Option<u64>,
    /// What it took on the disk, if that was limited.
    pub(super) disk: Option<OnDisk>,
    /// At its end the job's file system had no room left.
    pub(super) disk_full: bool,
}

/// What a job took on the disk, and what it may.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnDisk {
    pub(super) taken: Taken,
    pub(super) limit_bytes: u64,
}

/// What the end of a job means.
struct Verdict {
    summary: String,
    failure: Option<FailureClass>,
    status: i32,
}

/// The report of a job whose agent left one.
pub(super) fn of_agent(agent: &AgentReport, context: &Context<'_>) -> ExitReport {
    let verdict = judge(agent, context);
    let (user_usec, system_usec) =
        context.group.cpu_usec.unwrap_or((agent.user_usec, agent.system_usec));
    ExitReport {
        summary: with_denials(with_written(verdict.summary, agent, context), context),
        failure: verdict.failure,
        exit_code: match agent.end {
            CommandEnd::Exited(code) => Some(code.into()),
            _ => None,
        },
        signal: match agent.end {
            CommandEnd::Signaled(signal) => Some(signal.into()),
            _ => None,
        },
        exec_errno: match agent.end {
            CommandEnd::ExecFailed(errno) => Some(errno),
            _ => None,
        },
        status: verdict.status,
        started_usec: agent.started_usec,
        finished_usec: agent.finished_usec,
        stdout_bytes: agent.stdout_bytes,
        stderr_bytes: agent.stderr_bytes,
        lost_output_bytes: agent.lost_output_bytes,
        usage: Usage {
            user_usec,
            system_usec,
            max_rss_bytes: agent.max_rss_bytes,
            memory_peak_bytes: context.group.memory_peak_bytes,
            processes_peak: context.group.pids_peak,
            read_bytes: context.group.io_bytes.map(|(read, _)| read),
            written_bytes: context.group.io_bytes.map(|(_, written)| written),
            disk_bytes: context.disk.and_then(|disk| disk.taken.bytes()),
        },
        layers: context.layers.to_vec(),
        denied: context.denied.clone(),
    }
}

fn judge(agent: &AgentReport, context: &Context<'_>) -> Verdict {
    let plain = plain_status(agent.end);
    if agent.timed_out {
        return Verdict {
            summary: context.time_limit_usec.map_or_else(
                || "reached its time limit".to_owned(),
                |limit| format!("reached its time limit of {}", duration_words(limit)),
            ),
            failure: Some(FailureClass::Timeout),
            status: STATUS_TIMEOUT,
        };
    }
    let ended = |why: String, class| Verdict {
        summary: format!("{why}; {}", end_words(agent.end, context.program)),
        failure: Some(class),
        status: plain,
    };
    match agent.over_limit {
        Some(WriteLimit::Disk) => return ended(disk_words(context.disk), FailureClass::DiskLimit),
        Some(WriteLimit::Log) => {
            return ended(log_words(context.log_limit_bytes), FailureClass::LogLimit);
        }
        None => {}
    }
    if agent.stopped {
        return ended("cancelled".to_owned(), FailureClass::Cancelled);
    }
    let failure = match agent.end {
        CommandEnd::Exited(0) => None,
        CommandEnd::AgentFailed(..) => Some(FailureClass::Infrastructure),
        // Whatever it ran into then was not of its making alone.
        _ if context.disk_full => Some(FailureClass::Infrastructure),
        _ => Some(FailureClass::UserError),
    };
    let group = &context.group;
    if failure.is_some() && group.oom_kills > 0 {
        let (summary, failure) = (oom_words(group), Some(FailureClass::OutOfMemory));
        return Verdict { summary, failure, status: plain };
    }
    if failure.is_some() && group.pids_refused > 0 {
        return ended(process_words(group), FailureClass::ProcessLimit);
    }
    Verdict { summary: end_words(agent.end, context.program), failure, status: plain }
}

fn plain_status(end: CommandEnd) -> i32 {
    match end {
        CommandEnd::Exited(code) => code.into(),
        CommandEnd::Signaled(signal) => 128 + i32::from(signal),
        CommandEnd::ExecFailed(errno) if is_not_found(errno) => STATUS_NOT_FOUND,
        CommandEnd::ExecFailed(_) => STATUS_CANNOT_EXECUTE,
        CommandEnd::AgentFailed(..) => STATUS_REFUSED,
    }
}

fn is_not_found(errno: i32) -> bool {
    matches!(Errno::from_raw(errno), Errno::ENOENT | Errno::ENOTDIR)
}

fn end_words(end: CommandEnd, program: &str) -> String {
    match end {
        CommandEnd::Exited(0) => "exited with code 0".into(),
        CommandEnd::Exited(code) => format!("exited with code {code}"),
        CommandEnd::Signaled(number) => match Signal::try_from(i32::from(number)) {
            Ok(signal) => format!("ended by signal {number} ({})", signal.as_str()),
            Err(_) => format!("ended by signal {number}"),
        },
        CommandEnd::ExecFailed(errno) if is_not_found(errno) => {
            format!("command `{program}` was not found in the job's root")
        }
        CommandEnd::ExecFailed(errno) => {
            format!("command `{program}` cannot be executed: {}", Errno::from_raw(errno).desc())
        }
        CommandEnd::AgentFailed(step, errno) => {
            let what = match step {
                AgentStep::Plan => "read its plan",
                AgentStep::Setup => "set itself up",
                AgentStep::Verify => "find the whole sandbox around itself",
                AgentStep::Fork => "fork the command",
                AgentStep::Prepare => "prepare the command",
                AgentStep::Seccomp => "install the command's seccomp filter",
                AgentStep::Secrets => "take the rules for secrets, without which there is no log",
            };
            format!("the agent could not {what}: {}", Errno::from_raw(errno).desc())
        }
    }
}

fn oom_words(group: &GroupUse) -> String {
    let limit =
        group.memory_max_bytes.map_or_else(String::new, |b| format!(" of {}", bytes_words(b)));
    let peak =
        group.memory_peak_bytes.map_or_else(String::new, |b| format!("; peak {}", bytes_words(b)));
    format!("out of memory: reached its memory limit{limit}{peak}")
}

/// The limit and the peak are the group's, which holds the agent as well.
fn process_words(group: &GroupUse) -> String {
    let of_job = |n: u64| n.saturating_sub(1);
    let limit = group.pids_max.map_or_else(String::new, |n| format!(" of {}", of_job(n)));
    let peak = group.pids_peak.map_or_else(String::new, |n| format!(" (peak {})", of_job(n)));
    format!("reached its limit{limit} processes and threads{peak}")
}

fn disk_words(disk: Option<OnDisk>) -> String {
    let Some(disk) = disk else { return "wrote more than its disk limit".to_owned() };
    let limit = bytes_words(disk.limit_bytes);
    match disk.taken {
        Taken::Bytes(bytes) => format!("wrote {}, its disk limit is {limit}", bytes_words(bytes)),
        Taken::TooDeep => format!(
            "nested its directories so deep that what it wrote cannot be measured, and its disk \
             limit is {limit}"
        ),
    }
}

fn log_words(limit_bytes: Option<u64>) -> String {
    limit_bytes.map_or_else(
        || "filled its log".to_owned(),
        |limit| format!("filled its log, whose limit is {}", bytes_words(limit)),
    )
}

/// Adds what became of what the job wrote: output that is not in the log, more on
/// the disk than it may though it ended by itself, no room left for anybody.
fn with_written(mut summary: String, agent: &AgentReport, context: &Context<'_>) -> String {
    if agent.lost_output_bytes > 0 {
        let why = match agent.log_errno {
            0 => "the log was full".to_owned(),
            errno => Errno::from_raw(errno).desc().to_owned(),
        };
        let lost = bytes_words(agent.lost_output_bytes);
        summary = format!("{summary}; {lost} of output lost: {why}");
    }
    let over = context.disk.filter(|disk| disk.taken.is_above(disk.limit_bytes));
    if over.is_some() && agent.over_limit != Some(WriteLimit::Disk) {
        summary = format!("{summary}; {}", disk_words(over));
    }
    let no_room = Errno::from_raw(agent.log_errno) == Errno::ENOSPC;
    if no_room || context.disk_full && agent.end != CommandEnd::Exited(0) {
        summary += "; disk full: the file system of the job's directory has no room left";
    }
    summary
}

/// Adds what the sandbox refused, and the profile that would not have: one under
/// which all of it passes, when there is one.
fn with_denials(summary: String, context: &Context<'_>) -> String {
    const SHOWN: usize = 3;
    let Some((first, rest)) = context.denied.split_first() else { return summary };
    if first.is_uncounted() {
        return format!("{summary}; what the sandbox denied could not be counted");
    }
    let is_sum = |one: &&Denied| one.is_uncounted() || one.call == Denied::OTHERS;
    let (sums, kinds): (Vec<_>, Vec<_>) = context.denied.iter().partition(is_sum);
    // What has no name always has its number.
    let named = kinds.len().min(SHOWN);
    let shown = kinds.iter().take(named).chain(&sums);
    let shown: Vec<_> = shown.map(ToString::to_string).collect();
    let more = match kinds.len() - named {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let remedy = first
        .allowed_by
        .iter()
        .find(|name| rest.iter().all(|other| other.allowed_by.contains(name)))
        .map_or_else(
            || match context.denied.iter().any(|one| one.call == Denied::OTHERS) {
                true => "too many kinds to tell apart".to_owned(),
                false => "no profile here is known to allow it all".to_owned(),
            },
            |p| format!("needs profile {p}"),
        );
    format!("{summary}; denied: {}{more} (profile {}; {remedy})", shown.join(", "), context.profile)
}

fn bytes_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut tenths = 0;
    while whole >= 1024 && unit < UNITS.len() - 1 {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 || tenths == 0 {
        format!("{whole} {name}")
    } else {
        format!("{whole}.{tenths} {name}")
    }
}

/// A span of time as people say it, from microseconds: `1 h 30 min`.
pub(crate) fn duration_words(usec: u64) -> String {
    let (seconds, millis) = (usec / 1_000_000, usec % 1_000_000 / 1000);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut words = String::new();
    for (n, unit) in [(h, "h"), (m, "min")] {
        if n > 0 {
            words += &format!("{n} {unit} ");
        }
    }
    if millis > 0 {
        words += &format!("{s}.{millis:03} s");
    } else if s > 0 || words.is_empty() {
        words += &format!("{s} s");
    }
    words.trim_end().to_owned()
}

/// The report of a job that never got to its command; no layer held anything.
pub(super) fn of_failed_launch(what: &str, class: FailureClass, now_usec: u64) -> ExitReport {
    bare(format!("could not be started: {what}"), class, &[], now_usec)
}

/// The report of an attempt that cannot be followed any more after a restart.
pub(super) fn of_failed_adoption(refusal: &Refusal, layers: &[Layer], now_usec: u64) -> ExitReport {
    bare(format!("lost at a restart: {refusal}"), FailureClass::Lost, layers, now_usec)
}

/// Whose doing it is that a step failed in the child.
pub(super) fn failure_class(failure: &Failure) -> FailureClass {
    match (failure.step, failure.errno) {
        // The mount point is not in the project, however often it is tried.
        (
            crate::jail::Step::Mount,
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP,
        ) => FailureClass::UserError,
        _ => FailureClass::Infrastructure,
    }
}

/// The sentence for a step that failed in the child.
pub(super) fn failure_words(failure: &Failure, targets: &[String]) -> String {
    let which = match failure.step {
        crate::jail::Step::Mount => targets.get(failure.item).map(|t| format!(" at {t}")),
        _ => None,
    };
    let hint = match (failure.step, failure.errno) {
        (crate::jail::Step::Mount, rustix::io::Errno::NOENT) => {
            "; the mount point must exist in the project directory"
        }
        _ => "",
    };
    format!("cannot {}{}: {}{hint}", failure.step.words(), which.unwrap_or_default(), failure.errno)
}

/// The report of a job whose agent is gone without one.
pub(super) fn of_lost(
    error: ReportError,
    group: &GroupUse,
    disk_full: bool,
    layers: &[Layer],
    denied: Vec<Denied>,
    now_usec: u64,
) -> ExitReport {
    let why = match disk_full {
        true => "disk full: the file system of the job's directory has no room left",
        false => "the machine went down or the agent was killed",
    };
    let (summary, class) = match group.oom_kills {
        0 => (format!("lost: {error}; {why}"), FailureClass::Lost),
        _ => (oom_words(group), FailureClass::OutOfMemory),
    };
    ExitReport { denied, ..bare(summary, class, layers, now_usec) }
}

fn bare(summary: String, class: FailureClass, layers: &[Layer], now_usec: u64) -> ExitReport {
    ExitReport {
        summary,
        failure: Some(class),
        exit_code: None,
        signal: None,
        exec_errno: None,
        status: match class {
            FailureClass::OutOfMemory => 128 + 9,
            _ => STATUS_REFUSED,
        },
        started_usec: 0,
        finished_usec: now_usec,
        stdout_bytes: 0,
        stderr_bytes: 0,
        lost_output_bytes: 0,
        usage: Usage::default(),
        layers: layers.to_vec(),
        denied: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::agent::{DeniedCalls, Observed};

    fn agent(end: CommandEnd) -> AgentReport {
        AgentReport {
            end,
            timed_out: false,
            stopped: false,
            over_limit: None,
            started_usec: 1,
            finished_usec: 2,
            stdout_bytes: 0,
            stderr_bytes: 0,
            lost_output_bytes: 0,
            log_errno: 0,
            user_usec: 0,
            system_usec: 0,
            max_rss_bytes: 0,
            observed: Observed::default(),
            denied: DeniedCalls::default(),
        }
    }

    fn context(group: GroupUse) -> Context<'static> {
        Context {
            layers: &[],
            program: "train",
            profile: "default",
            denied: Vec::new(),
            group,
            time_limit_usec: Some(5_400_000_000),
            log_limit_bytes: Some(1 << 30),
            disk: None,
            disk_full: false,
        }
    }

    #[test]
    fn each_end_has_its_status_class_and_words() {
        use CommandEnd::{AgentFailed, ExecFailed, Exited, Signaled};
        use FailureClass::{Infrastructure, UserError};
        for (end, status, class, words) in [
            (Exited(0), 0, None, "exited with code 0"),
            (Exited(3), 3, Some(UserError), "exited with code 3"),
            (Signaled(9), 137, Some(UserError), "ended by signal 9 (SIGKILL)"),
            (Signaled(11), 139, Some(UserError), "ended by signal 11 (SIGSEGV)"),
            (
                ExecFailed(2),
                127,
                Some(UserError),
                "command `train` was not found in the job's root",
            ),
            (
                ExecFailed(13),
                126,
                Some(UserError),
                "command `train` cannot be executed: Permission denied",
            ),
            (
                AgentFailed(AgentStep::Verify, 1),
                125,
                Some(Infrastructure),
                "the agent could not find the whole sandbox around itself: Operation not permitted",
            ),
        ] {
            let report = of_agent(&agent(end), &context(GroupUse::default()));
            assert_eq!(
                (report.status, report.failure, report.summary.as_str()),
                (status, class, words)
            );
        }
    }

    #[test]
    fn a_kill_at_the_memory_limit_says_limit_and_peak() {
        let group = GroupUse {
            memory_peak_bytes: Some(64 << 20),
            memory_max_bytes: Some(64 << 20),
            oom_kills: 1,
            ..GroupUse::default()
        };
        let report = of_agent(&agent(CommandEnd::Signaled(9)), &context(group));
        assert_eq!(report.failure, Some(FailureClass::OutOfMemory));
        assert_eq!(
            report.summary,
            "out of memory: reached its memory limit of 64 MiB; peak 64 MiB"
        );
    }

    #[test]
    fn a_job_that_survived_the_kill_of_a_child_succeeded() {
        let group = GroupUse { oom_kills: 1, ..GroupUse::default() };
        let report = of_agent(&agent(CommandEnd::Exited(0)), &context(group));
        assert_eq!((report.failure, report.status), (None, 0));
    }

    #[test]
    fn each_limit_has_its_class_and_words() {
        use FailureClass::{DiskLimit, Infrastructure, LogLimit, ProcessLimit};
        let term = CommandEnd::Signaled(15);
        let over = |limit| AgentReport { over_limit: Some(limit), ..agent(term) };
        let disk = Some(OnDisk { taken: Taken::Bytes(6 << 28), limit_bytes: 1 << 30 });
        let pids = GroupUse {
            pids_max: Some(21),
            pids_peak: Some(21),
            pids_refused: 3,
            ..GroupUse::default()
        };
        let plain = || context(GroupUse::default());
        let failed = agent(CommandEnd::Exited(1));
        let cases = [
            (
                over(WriteLimit::Disk),
                Context { disk, ..plain() },
                DiskLimit,
                "wrote 1.5 GiB, its disk limit is 1 GiB; ended by signal 15 (SIGTERM)",
            ),
            (
                AgentReport { lost_output_bytes: 2048, ..over(WriteLimit::Log) },
                plain(),
                LogLimit,
                "filled its log, whose limit is 1 GiB; ended by signal 15 (SIGTERM); 2 KiB of \
                 output lost: the log was full",
            ),
            (
                failed.clone(),
                context(pids),
                ProcessLimit,
                "reached its limit of 20 processes and threads (peak 20); exited with code 1",
            ),
            (
                failed,
                Context { disk_full: true, ..plain() },
                Infrastructure,
                "exited with code 1; disk full: the file system of the job's directory has no \
                 room left",
            ),
        ];
        for (agent, context, class, words) in cases {
            let report = of_agent(&agent, &context);
            assert_eq!((report.failure, report.summary.as_str()), (Some(class), words));
        }
        let done = of_agent(&agent(CommandEnd::Exited(0)), &Context { disk, ..context(pids) });
        assert_eq!(done.failure, None, "it did its work all the same");
        assert_eq!(done.summary, "exited with code 0; wrote 1.5 GiB, its disk limit is 1 GiB");
    }

    #[test]
    fn the_time_limit_outranks_how_the_command_ended() {
        let late = AgentReport { timed_out: true, ..agent(CommandEnd::Exited(0)) };
        let report = of_agent(&late, &context(GroupUse::default()));
        assert_eq!(report.status, 124);
        assert_eq!(report.summary, "reached its time limit of 1 h 30 min");
    }

    #[test]
    fn what_was_denied_is_said_with_the_profile_that_would_not_deny_it() {
        let denied = |call: &str, count, by: &[&str]| Denied {
            call: call.into(),
            count,
            allowed_by: by.iter().map(ToString::to_string).collect(),
        };
        let words = |denied| {
            let context = Context { denied, ..context(GroupUse::default()) };
            of_agent(&agent(CommandEnd::Exited(1)), &context).summary
        };
        let ptrace = denied("ptrace", 3, &["debug", "notebook"]);
        assert_eq!(
            words(vec![ptrace.clone()]),
            "exited with code 1; denied: ptrace ×3 (profile default; needs profile debug)"
        );
        let kcmp = denied("kcmp", 1, &["notebook"]);
        assert_eq!(
            words(vec![ptrace.clone(), kcmp.clone()]),
            "exited with code 1; denied: ptrace ×3, kcmp ×1 (profile default; needs profile notebook)"
        );
        let mount = denied("mount", 1, &[]);
        assert_eq!(
            words(vec![ptrace.clone(), kcmp, mount.clone(), mount]),
            "exited with code 1; denied: ptrace ×3, kcmp ×1, mount ×1 and 1 more (profile \
             default; no profile here is known to allow it all)"
        );
        assert_eq!(
            words(vec![ptrace, denied(Denied::OTHERS, 7, &[])]),
            "exited with code 1; denied: ptrace ×3, others ×7 (profile default; too many kinds \
             to tell apart)"
        );
    }
}
