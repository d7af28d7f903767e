//! The job's command: from the plan to its exec.

use super::SetupError;
use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;
use fetchml_api::agent::{AgentPlan, AgentStep, CommandEnd, fd};
use fetchml_sys::Errno;
use fetchml_sys::clone::{CloneFlags, Stack, spawn};
use fetchml_sys::denied::{Listener, install_filter_and_listen};
use fetchml_sys::process::{self, CStringVector};
use fetchml_sys::{confine, process::restore_sigpipe};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

/// Of the command's process until its exec. It calls nothing deep.
const STACK_BYTES: usize = 64 * 1024;

/// A command that was started, and what the child said if it could not execute.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) failure: Option<CommandEnd>,
    /// Where its refused calls are asked about.
    pub(super) listener: Option<Listener>,
}

/// Reads the plan, and lets go of its file: the job's secrets are in it.
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
    confine::place_descriptor(super::borrowed(fd::NULL[0]), fd::PLAN)?;
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

/// Starts the command and waits until it was executed or could not be.
///
/// The child shares this process's memory and descriptors until its exec, which is
/// how the listener of its filter gets here: whatever call could carry it might be
/// one that the filter refuses, and the question would have nobody to answer it.
pub(super) fn start(plan: &AgentPlan, out: OwnedFd, err: OwnedFd) -> Result<Started, SetupError> {
    let prepared = Prepared::new(plan).map_err(|e| (AgentStep::Plan, e))?;
    let setup = |e| (AgentStep::Setup, e);
    let null = fcntl_dupfd_cloexec(super::borrowed(fd::NULL[0]), 0).map_err(setup)?;
    let mut stack = Stack::new(STACK_BYTES).map_err(setup)?;
    let mut failure = None;
    let mut listener = None;
    let child = spawn(CloneFlags::SHARED_DESCRIPTORS, None, &mut stack, &mut || {
        failure = Some(become_command(plan, &prepared, &out, &err, &mut listener));
        1
    })
    .map_err(|e| (AgentStep::Fork, e))?;
    // The child put its own streams there.
    for number in fd::NULL {
        confine::place_descriptor(null.as_fd(), number).map_err(setup)?;
    }
    Ok(Started { pid: child.pid, failure, listener })
}

/// The child. Child-safe; only returns when something failed.
fn become_command(
    plan: &AgentPlan,
    p: &Prepared,
    out: &OwnedFd,
    err: &OwnedFd,
    listener: &mut Option<Listener>,
) -> CommandEnd {
    if let Err(e) = prepare(p, out, err) {
        return CommandEnd::AgentFailed(AgentStep::Prepare, e.raw_os_error());
    }
    // From here on a refused call would wait for this process's parent, which
    // sleeps: only exec and exit follow, which every filter must allow.
    let installed = match plan.refusals {
        Some(_) => install_filter_and_listen(&plan.filter).map(|made| *listener = Some(made)),
        None => confine::install_filter(&plan.filter),
    };
    if let Err(e) = installed {
        return CommandEnd::AgentFailed(AgentStep::Seccomp, e.raw_os_error());
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
