//! Host user ids for jobs: one for each running job, shared with nobody.
//!
//! Ids from 1879048192 on are used by nobody on a Linux system by convention
//! (systemd, "Users, Groups, UIDs and GIDs on systemd Systems"). Several
//! supervisors may run on a machine, and a job outlives its supervisor, so the
//! claim is a lock on a file that the job's agent inherits: it is free again
//! exactly when supervisor and agent have both let go.

use crate::supervise::Refusal;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdir, open, openat};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 1_879_048_192;
const COUNT: u32 = 65_536;

/// The place of the locks, the same for every supervisor of a machine.
const LOCKS: &str = "/run/fetchml-ids";

/// Hands out ids.
#[derive(Clone, Debug)]
pub(crate) struct HostIds {
    directory: Arc<OwnedFd>,
    next: Arc<AtomicU32>,
}

/// An id that is ours until the lock is closed everywhere.
#[derive(Debug)]
pub(crate) struct HostId {
    number: u32,
    lock: OwnedFd,
}

impl HostId {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl HostIds {
    pub(crate) fn open() -> Result<Self, Refusal> {
        let failed = |e: rustix::io::Errno| {
            Refusal::Infrastructure(format!("cannot use {LOCKS} for the ids of jobs: {e}"))
        };
        match mkdir(LOCKS, Mode::from_raw_mode(0o700)) {
            Err(e) if e != rustix::io::Errno::EXIST => return Err(failed(e)),
            _ => {}
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = open(LOCKS, flags, Mode::empty()).map_err(failed)?;
        Ok(Self { directory: Arc::new(directory), next: Arc::default() })
    }

    /// Whether nobody has the id any more: no supervisor, no child on its way to become
    /// an agent, and no agent. `false` says nothing: somebody else may have it by now.
    pub(crate) fn is_free(&self, number: u32) -> bool {
        let Some(slot) = number.checked_sub(FIRST) else { return false };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&*self.directory, slot.to_string(), flags, Mode::empty())
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
    }

    /// Claims an id. They are taken in turn, so that nobody's job gets the id that
    /// another's has just left.
    pub(crate) fn take(&self) -> Result<HostId, Refusal> {
        for _ in 0..COUNT {
            let slot = self.next.fetch_add(1, Ordering::Relaxed) % COUNT;
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let lock =
                openat(&*self.directory, slot.to_string(), flags, Mode::from_raw_mode(0o600))
                    .map_err(crate::plan::failed("open the lock of a job's id"))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(HostId { number: FIRST + slot, lock });
            }
        }
        Err(Refusal::Infrastructure(format!("all {COUNT} ids for jobs are taken")))
    }
}
