//! The job's command: from the plan to its exec.

use super::SetupError;
use fetchml_api::agent::{AgentPlan, AgentStep, CommandEnd, fd};
use fetchml_sys::Errno;
use fetchml_sys::process::{self, CStringVector, Fork};
use fetchml_sys::{confine, process::restore_sigpipe};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;

/// A command that was forked, and what the child said if it could not execute.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) failure: Option<CommandEnd>,
}

/// Reads the plan.
pub(super) fn read_plan() -> Result<AgentPlan, Errno> {
    let file = super::borrowed(fd::PLAN);
    let size = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| Errno::FBIG)?;
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        match rustix::io::pread(file, bytes.get_mut(at..).unwrap_or_default(), at as u64)? {
            0 => return Err(Errno::IO),
            n => at += n,
        }
    }
    AgentPlan::decode(&bytes).map_err(|_| Errno::BADMSG)
}

/// Everything the child needs, made before the fork.
struct Prepared {
    candidates: Vec<CString>,
    argv: CStringVector,
    env: CStringVector,
    cwd: CString,
}

impl Prepared {
    fn new(plan: &AgentPlan) -> Result<Self, Errno> {
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::INVAL);
        let program = plan.argv.first().ok_or(Errno::NOENT)?;
        let candidates = if program.contains(&b'/') {
            vec![c_string(program.clone())?]
        } else {
            plan.search_path
                .iter()
                .map(|dir| c_string([dir.as_slice(), b"/", program].concat()))
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            candidates,
            argv: CStringVector::new(&plan.argv)?,
            env: CStringVector::new(&plan.env)?,
            cwd: c_string(plan.cwd.clone())?,
        })
    }
}

/// Forks the command and waits until it was executed or could not be.
pub(super) fn start(plan: &AgentPlan, out: OwnedFd, err: OwnedFd) -> Result<Started, SetupError> {
    let prepared = Prepared::new(plan).map_err(|e| (AgentStep::Plan, e))?;
    let (news, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| (AgentStep::Setup, e))?;
    match process::fork_single_threaded().map_err(|e| (AgentStep::Fork, e))? {
        Fork::Child => {
            let end = become_command(plan, &prepared, &out, &err);
            let _ = rustix::io::write(&say, &encode(end));
            process::exit_now(1)
        }
        Fork::Parent(pid) => {
            drop((out, err, say));
            let mut answer = [0u8; 6];
            let failure = match rustix::io::read(&news, &mut answer) {
                Ok(0) => None,
                Ok(n) if n == answer.len() => Some(decode(answer)),
                _ => Some(CommandEnd::AgentFailed(AgentStep::Prepare, 0)),
            };
            Ok(Started { pid, failure })
        }
    }
}

/// The child. Only returns when something failed.
fn become_command(plan: &AgentPlan, p: &Prepared, out: &OwnedFd, err: &OwnedFd) -> CommandEnd {
    if let Err(e) = prepare(p, out, err) {
        return CommandEnd::AgentFailed(AgentStep::Prepare, e.raw_os_error());
    }
    for filter in &plan.filters {
        if let Err(e) = confine::install_filter(filter) {
            return CommandEnd::AgentFailed(AgentStep::Seccomp, e.raw_os_error());
        }
    }
    CommandEnd::ExecFailed(execute(p).raw_os_error())
}

fn prepare(p: &Prepared, out: &OwnedFd, err: &OwnedFd) -> Result<(), Errno> {
    // A session of its own: no terminal can be injected into, and signals to the
    // command's process group never reach this agent.
    rustix::process::setsid()?;
    confine::place_descriptor(super::borrowed(fd::NULL[1]), 0)?;
    confine::place_descriptor(out.as_fd(), 1)?;
    confine::place_descriptor(err.as_fd(), 2)?;
    rustix::process::chdir(&p.cwd)?;
    restore_sigpipe();
    process::block_all_signals(false);
    Ok(())
}

/// Tries each candidate as execvp(3) does: what is not there is passed over, and
/// a file that may not be executed is only reported when no other one works.
fn execute(p: &Prepared) -> Errno {
    let mut verdict = Errno::NOENT;
    for path in &p.candidates {
        match process::execute_path(path, &p.argv, &p.env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => verdict = Errno::ACCESS,
            other => return other,
        }
    }
    verdict
}

fn encode(end: CommandEnd) -> [u8; 6] {
    let (kind, step, errno) = match end {
        CommandEnd::AgentFailed(AgentStep::Seccomp, e) => (1, 1, e),
        CommandEnd::AgentFailed(_, e) => (1, 0, e),
        CommandEnd::ExecFailed(e) => (0, 0, e),
        CommandEnd::Exited(_) | CommandEnd::Signaled(_) => (0, 0, 0),
    };
    let [a, b, c, d] = errno.to_le_bytes();
    [kind, step, a, b, c, d]
}

fn decode([kind, step, a, b, c, d]: [u8; 6]) -> CommandEnd {
    let errno = i32::from_le_bytes([a, b, c, d]);
    match (kind, step) {
        (0, _) => CommandEnd::ExecFailed(errno),
        (_, 1) => CommandEnd::AgentFailed(AgentStep::Seccomp, errno),
        _ => CommandEnd::AgentFailed(AgentStep::Prepare, errno),
    }
}
