//! System calls that the policy refuses: each is asked about, counted by call and
//! argument, and answered with the policy's error. Nothing is ever allowed here.
//!
//! The cost is the job's own: its thread waits some microseconds for the answer,
//! and this process lives in the job's cgroup. What is kept is bounded.

use alloc::vec::Vec;
use fetchml_api::agent::{DeniedCalls, Refusals};
use fetchml_api::denial::kept;
use fetchml_sys::Errno;
use fetchml_sys::denied::Listener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

/// Questions answered in one go, so that a flood of them does not keep the output
/// of the job or its time limit waiting.
const AT_ONCE: usize = 64;

pub(super) struct Denials {
    listener: Option<Listener>,
    refusals: Refusals,
    /// What was counted so far.
    pub(super) counted: DeniedCalls,
}

impl Denials {
    /// Answers with these errors what arrives at the listener, if there is one.
    /// `runs`: the command was executed.
    pub(super) fn new(listener: Option<Listener>, refusals: Option<Refusals>, runs: bool) -> Self {
        if let Some(listener) = &listener {
            listener.prefer_direct_switches();
        }
        // Asked for and not there: the kernel refuses alone, and nobody counts it.
        let lost = runs && listener.is_none() && refusals.is_some();
        let refusals =
            refusals.unwrap_or(Refusals { default_errno: NO_SUCH_CALL, errnos: Vec::new() });
        Self { listener, refusals, counted: DeniedCalls { lost, ..DeniedCalls::default() } }
    }

    /// What poll(2) should watch; without a listener, `other` for nothing.
    pub(super) fn poll_fd<'a>(&'a self, other: &'a OwnedFd) -> PollFd<'a> {
        match &self.listener {
            Some(listener) => PollFd::new(listener, PollFlags::IN),
            None => PollFd::new(other, PollFlags::empty()),
        }
    }

    /// Answers what is there.
    pub(super) fn answer(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(listener) = &self.listener else { return };
            match is_asked(listener) {
                Some(true) => {}
                Some(false) => return,
                None => {
                    // Nobody is left who could ask.
                    self.listener = None;
                    return;
                }
            }
            // The asker may have been killed meanwhile; then there is nobody to
            // answer and the next question counts.
            match listener.receive() {
                Ok(question) => {
                    let errno = self.refusals.errno(question.call);
                    self.counted.count(question.call, kept(question.call, &question.args));
                    let _ = listener.refuse(question, errno);
                }
                Err(Errno::NOENT | Errno::INTR) => {}
                Err(_) => self.counted.lost = true,
            }
        }
    }
}

/// `ENOSYS`: what a kernel answers that does not have the call.
const NO_SUCH_CALL: u16 = 38;

/// Whether a question waits; `None` when none can come any more.
fn is_asked(listener: &Listener) -> Option<bool> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    if poll(&mut fds, Some(&NOW)).is_err() {
        return Some(false);
    }
    let [found] = fds.map(|f| f.revents());
    if found.contains(PollFlags::IN) {
        Some(true)
    } else if found.contains(PollFlags::HUP) {
        None
    } else {
        // Also ERR: the kernel could not look just now, because this process was
        // about to be frozen while the job held the lock. To give the listener up
        // for that would let everything after it be refused uncounted.
        Some(false)
    }
}
