//! PID 1 of a job: starts the command, reaps whatever dies, relays the output
//! into the log, ends everything at the time limit or on request, and leaves the
//! exit report. It needs no supervisor while it does so.
//!
//! Trust: the plan is the supervisor's word. Everything else that reaches this
//! process (output, signals, children) comes from the job and may be hostile.

mod command;
mod denials;
mod observe;
mod relay;

use command::Started;
use denials::Denials;
use fetchml_api::agent::{
    AgentPlan, AgentReport, AgentStep, CommandEnd, DENIED, DeniedCalls, Observed, REPORT_MAGIC,
    STOP, STOP_OVER_DISK, WriteLimit, fd,
};
use fetchml_api::log::Stream;
use fetchml_sys::Errno;
use fetchml_sys::process::{self, ExitStatus};
use relay::{Log, Pipe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{SendFlags, SocketFlags, accept_with, send};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

/// A step that failed before the command began.
type SetupError = (AgentStep, Errno);

/// Runs the job whose descriptors the supervisor left at the numbers of [`fd`].
pub(crate) fn run() -> u8 {
    let mut observed = Observed::default();
    let mut marked = 0;
    let report = match set_up(&mut observed, &mut marked) {
        Ok(job) => job.run(),
        Err((step, errno)) => failed_before_start(step, errno, observed),
    };
    let left = leave_report(&report, marked);
    if left.is_ok() {
        // While this process ends the supervisor can look at what it left. One that
        // hears nothing looks later.
        let _ = rustix::io::write(borrowed(fd::BELL), &1u64.to_ne_bytes());
    }
    left.is_err().into()
}

struct Job {
    /// Time between TERM and KILL.
    grace_usec: u64,
    observed: Observed,
    signals: OwnedFd,
    /// The supervisor, while it has connected and not spoken yet.
    visitor: Option<OwnedFd>,
    /// Process id of the command.
    command: i32,
    /// Why it could not be executed.
    failure: Option<CommandEnd>,
    denials: Denials,
    started_usec: u64,
    deadline: Deadline,
    log: Log,
    out: Pipe,
    err: Pipe,
    end: Option<(CommandEnd, u64)>,
    usage: Usage,
    timed_out: bool,
    stopped: bool,
    over_limit: Option<WriteLimit>,
}

#[derive(Default)]
struct Usage {
    user_usec: u64,
    system_usec: u64,
    max_rss_bytes: u64,
}

/// What the clock will do next.
#[derive(Clone, Copy, PartialEq)]
enum Deadline {
    /// Nothing: there is no limit.
    Never,
    /// At this time the job is asked to end.
    TimeLimit(u64),
    /// At this time everything left is killed.
    Kill(u64),
    /// Everything was killed.
    Killed,
}

fn set_up(observed: &mut Observed, marked: &mut usize) -> Result<Job, SetupError> {
    let setup = |e| (AgentStep::Setup, e);
    // Until here the kernel may have called this process dumpable; from now on
    // the job can neither trace it nor read its /proc entries.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(setup)?;
    process::block_all_signals(true);
    // Executed from a memory file, it would be called after that.
    rustix::thread::set_name(c"fetchml-agent").map_err(setup)?;
    let plan = command::read_plan().map_err(|e| (AgentStep::Plan, e))?;
    fetchml_sys::confine::close_from_at_exec(0).map_err(setup)?;
    rustix::net::listen(borrowed(fd::IDENTITY), 8).map_err(setup)?;
    let signals = process::signal_descriptor().map_err(setup)?;
    *observed = observe::own_status().map_err(|e| (AgentStep::Verify, e))?;
    observe::verify(observed, &plan).map_err(|e| (AgentStep::Verify, e))?;
    let rules = relay::rules().map_err(|e| (AgentStep::Secrets, e))?;
    let (out, out_write) = Pipe::new(Stream::Stdout, &rules, &plan.secrets).map_err(setup)?;
    let (err, err_write) = Pipe::new(Stream::Stderr, &rules, &plan.secrets).map_err(setup)?;
    mark_beginning(marked).map_err(setup)?;
    let started_usec = now_usec();
    let Started { pid, failure, listener } = command::start(&plan, out_write, err_write)?;
    // After the start, so that the command does not inherit it: this process
    // needs less than any job, and a job has no use for a second filter.
    fetchml_sys::confine::install_filter(&plan.own_filter).map_err(|e| (AgentStep::Seccomp, e))?;
    let deadline = match plan.time_limit_usec {
        Some(limit) => Deadline::TimeLimit(elapsed_usec().saturating_add(limit)),
        None => Deadline::Never,
    };
    // The rest of the plan is not kept: the job's environment is in it.
    let AgentPlan { grace_usec, log_limit_bytes, refusals, .. } = plan;
    Ok(Job {
        denials: Denials::new(listener, refusals, failure.is_none()),
        grace_usec,
        observed: *observed,
        signals,
        visitor: None,
        command: pid,
        failure,
        started_usec,
        deadline,
        log: Log::new(borrowed(fd::LOG), log_limit_bytes, rules).map_err(setup)?,
        out,
        err,
        end: None,
        usage: Usage::default(),
        timed_out: false,
        stopped: false,
        over_limit: None,
    })
}

impl Job {
    fn run(mut self) -> AgentReport {
        process::forget_code();
        while !self.is_over() {
            self.wait_for_news();
        }
        // The last process is gone, so the pipes hold all that will ever come.
        self.out.drain(&mut self.log);
        self.err.drain(&mut self.log);
        self.log.frames.sync();
        self.report()
    }

    fn is_over(&self) -> bool {
        self.end.is_some() && self.deadline == Deadline::Killed && process_is_alone()
    }

    fn wait_for_news(&mut self) {
        let timeout = self.time_left();
        let mut fds = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.door(), PollFlags::IN),
            self.out.poll_fd(&self.signals),
            self.err.poll_fd(&self.signals),
            self.denials.poll_fd(&self.signals),
        ];
        // EINTR cannot happen (all signals are blocked); any other failure would
        // repeat for ever, so it ends the job rather than spin.
        let polled = poll(&mut fds, timeout.as_ref());
        let [signals, door, out, err, denials] = fds.map(|f| !f.revents().is_empty());
        if polled.is_err() {
            self.kill_everything();
        }
        if denials {
            self.denials.answer();
        }
        if out && self.out.is_open() {
            self.out.relay(&mut self.log);
        }
        if err && self.err.is_open() {
            self.err.relay(&mut self.log);
        }
        self.out.show_waiting(&mut self.log);
        self.err.show_waiting(&mut self.log);
        if signals {
            // They only wake this loop: what they say is the job's word.
            while let Ok(true) = process::take_signal(self.signals.as_fd()) {}
        }
        if door {
            self.answer_door();
        }
        self.reap();
        if self.log.frames.is_full && self.over_limit.is_none() {
            self.end_over(WriteLimit::Log);
        }
        self.obey_clock();
    }

    fn time_left(&self) -> Option<Timespec> {
        let deadline = match self.deadline {
            Deadline::Never => None,
            Deadline::TimeLimit(at) | Deadline::Kill(at) => Some(at),
            // After the kill the last children end without a signal to wait for
            // only if they are not ours; look again soon.
            Deadline::Killed => return Some(Timespec { tv_sec: 0, tv_nsec: 10_000_000 }),
        };
        let ends = [deadline, self.out.shows_at_usec, self.err.shows_at_usec];
        let at = ends.into_iter().flatten().min()?;
        let left = at.saturating_sub(elapsed_usec());
        Some(Timespec {
            tv_sec: i64::try_from(left / 1_000_000).unwrap_or(i64::MAX),
            // Rounded up, so that the deadline has passed when poll returns.
            tv_nsec: i64::try_from((left % 1_000_000) * 1000 + 999).unwrap_or(0),
        })
    }

    fn door(&self) -> BorrowedFd<'_> {
        self.visitor.as_ref().map_or(borrowed(fd::IDENTITY), AsFd::as_fd)
    }

    /// Lets the supervisor in, one connection at a time, and does what it asks.
    fn answer_door(&mut self) {
        let Some(visitor) = self.visitor.take() else {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            self.visitor = accept_with(borrowed(fd::IDENTITY), flags).ok();
            return;
        };
        let mut word = [0u8];
        match rustix::io::read(&visitor, &mut word) {
            Ok(1) if word == [STOP] => {
                self.stopped |= self.end.is_none();
                self.ask_to_end();
            }
            Ok(1) if word == [STOP_OVER_DISK] => self.end_over(WriteLimit::Disk),
            Ok(1) if word == [DENIED] => {
                // It fits into any socket's buffer; a supervisor that left misses it.
                let answer = self.denials.counted.encode();
                let _ = send(&visitor, &answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            }
            Err(Errno::AGAIN) => self.visitor = Some(visitor),
            // It only wanted to know who listens.
            _ => {}
        }
    }

    fn reap(&mut self) {
        while let Ok(Some(reaped)) = process::reap() {
            self.usage.user_usec += reaped.user_usec;
            self.usage.system_usec += reaped.system_usec;
            self.usage.max_rss_bytes = self.usage.max_rss_bytes.max(reaped.max_rss_bytes);
            if reaped.pid == self.command && self.end.is_none() {
                let end = match reaped.status {
                    _ if self.failure.is_some() => {
                        self.failure.unwrap_or(CommandEnd::ExecFailed(0))
                    }
                    ExitStatus::Exited(code) => CommandEnd::Exited(code),
                    ExitStatus::Signaled(signal) => CommandEnd::Signaled(signal),
                };
                self.end = Some((end, now_usec()));
                // The job is its command: what it left behind ends with it, at
                // once, or within the grace period of a stop that is under way.
                if !matches!(self.deadline, Deadline::Kill(_)) {
                    self.kill_everything();
                }
            }
        }
        if matches!(self.deadline, Deadline::Kill(_)) && self.end.is_some() && process_is_alone() {
            self.kill_everything();
        }
    }

    fn obey_clock(&mut self) {
        match self.deadline {
            Deadline::TimeLimit(at) if at <= elapsed_usec() && self.end.is_none() => {
                self.timed_out = true;
                self.ask_to_end();
            }
            Deadline::Kill(at) if at <= elapsed_usec() => self.kill_everything(),
            _ => {}
        }
    }

    /// It wrote more than it may. A command that ended by itself is not blamed, and
    /// of two reasons to end it the first counts.
    fn end_over(&mut self, limit: WriteLimit) {
        if self.end.is_none() && !self.stopped && !self.timed_out {
            self.over_limit.get_or_insert(limit);
        }
        self.ask_to_end();
    }

    fn ask_to_end(&mut self) {
        if matches!(self.deadline, Deadline::Never | Deadline::TimeLimit(_)) {
            self.deadline = Deadline::Kill(elapsed_usec().saturating_add(self.grace_usec));
            signal_everything(Signal::TERM);
            // A stopped process would sleep through its grace period.
            signal_everything(Signal::CONT);
        }
    }

    fn kill_everything(&mut self) {
        self.deadline = Deadline::Killed;
        signal_everything(Signal::KILL);
    }

    fn report(&self) -> AgentReport {
        let (end, finished_usec) = self.end.unwrap_or((CommandEnd::Signaled(9), now_usec()));
        AgentReport {
            end,
            timed_out: self.timed_out,
            stopped: self.stopped && !self.timed_out,
            over_limit: self.over_limit,
            started_usec: self.started_usec,
            finished_usec,
            stdout_bytes: self.out.bytes,
            stderr_bytes: self.err.bytes,
            lost_output_bytes: self.log.frames.lost_bytes,
            log_errno: self.log.frames.first_error.map_or(0, Errno::raw_os_error),
            user_usec: self.usage.user_usec,
            system_usec: self.usage.system_usec,
            max_rss_bytes: self.usage.max_rss_bytes,
            observed: self.observed,
            denied: self.denials.counted.clone(),
        }
    }
}

fn failed_before_start(step: AgentStep, errno: Errno, observed: Observed) -> AgentReport {
    AgentReport {
        end: CommandEnd::AgentFailed(step, errno.raw_os_error()),
        timed_out: false,
        stopped: false,
        over_limit: None,
        started_usec: 0,
        finished_usec: now_usec(),
        stdout_bytes: 0,
        stderr_bytes: 0,
        lost_output_bytes: 0,
        log_errno: 0,
        user_usec: 0,
        system_usec: 0,
        max_rss_bytes: 0,
        observed,
        denied: DeniedCalls::default(),
    }
}

/// Writes the first bytes of the report before the command can do anything. What a
/// supervisor of the same run of the machine does not find there has not begun, so
/// this need not wait for the disk.
fn mark_beginning(marked: &mut usize) -> Result<(), Errno> {
    *marked = rustix::io::write(borrowed(fd::REPORT), &REPORT_MAGIC)?;
    if *marked == REPORT_MAGIC.len() { Ok(()) } else { Err(Errno::NOSPC) }
}

/// Writes the report behind what was `marked`, and waits for the disk: from then on
/// the end of this job is known whatever happens to the machine.
fn leave_report(report: &AgentReport, marked: usize) -> Result<(), Errno> {
    let file = borrowed(fd::REPORT);
    let bytes = report.encode();
    let mut rest = bytes.get(marked..).unwrap_or_default();
    while !rest.is_empty() {
        let n = rustix::io::write(file, rest)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    rustix::fs::fdatasync(file)
}

/// Signals every process of the namespace but this one (kill(2) with -1).
fn signal_everything(signal: Signal) {
    // ESRCH only says that nobody is left.
    let _ = fetchml_sys::process::signal_all(signal.as_raw());
}

/// Whether no other process is left in the namespace.
fn process_is_alone() -> bool {
    fetchml_sys::process::signal_all(0) == Err(Errno::SRCH)
}

/// A descriptor that the supervisor placed before this program was executed.
fn borrowed(number: i32) -> BorrowedFd<'static> {
    fetchml_sys::process::inherited(number)
}

fn now_usec() -> u64 {
    usec(clock_gettime(ClockId::Realtime))
}

/// Time that goes on while the machine sleeps and does not jump.
fn elapsed_usec() -> u64 {
    usec(clock_gettime(ClockId::Boottime))
}

fn usec(t: Timespec) -> u64 {
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1000
}
