//! What the service manager hears of us, and what it keeps for us: readiness,
//! status, watchdog, and the descriptors of queued jobs, which so survive a
//! restart of the supervisor. Without a service manager all of it does nothing.

use fetchml_api::job::JobId;
use sd_notify::NotifyState;
use std::os::fd::{AsFd, OwnedFd};

/// Prefix of the names under which descriptors of queued jobs are kept.
const KEPT_PREFIX: &str = "job-";

/// The way to the service manager.
#[derive(Clone, Copy, Debug)]
pub struct Notify {
    enabled: bool,
}

impl Notify {
    /// Talks to the service manager that started us, if one did.
    #[must_use]
    pub fn from_environment() -> Self {
        Self { enabled: std::env::var_os("NOTIFY_SOCKET").is_some() }
    }

    /// Talks to nobody.
    #[must_use]
    pub fn off() -> Self {
        Self { enabled: false }
    }

    /// Work is taken from now on.
    pub fn ready(self) {
        self.send(&[NotifyState::Ready]);
    }

    /// What we do, for `systemctl status`.
    pub fn status(self, running: usize, queued: usize) {
        if self.enabled {
            self.send(&[NotifyState::Status(&format!("{running} running, {queued} queued"))]);
        }
    }

    /// The event loop and the audit log answered.
    pub fn alive(self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Configuration is being read again; [`Notify::ready`] ends that.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// No work is taken any more.
    pub fn stopping(self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Hands duplicates of a queued job's directories to the service manager.
    pub fn keep(self, job: JobId, directories: &[OwnedFd]) {
        if !self.enabled {
            return;
        }
        for (index, directory) in directories.iter().enumerate() {
            let name = kept_name(job, index);
            let state = [NotifyState::FdStore, NotifyState::FdName(&name)];
            report(sd_notify::notify_with_fds(&state, &[directory.as_fd()]));
        }
    }

    /// Lets go of `count` directories kept for a job.
    pub fn release(self, job: JobId, count: usize) {
        for index in 0..count {
            self.send(&[NotifyState::FdStoreRemove, NotifyState::FdName(&kept_name(job, index))]);
        }
    }

    fn send(self, state: &[NotifyState<'_>]) {
        if self.enabled {
            report(sd_notify::notify(state));
        }
    }
}

/// A service manager that does not listen changes nothing for the jobs.
fn report(sent: std::io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn kept_name(job: JobId, index: usize) -> String {
    format!("{KEPT_PREFIX}{job}-{index}")
}

/// The job and the position that a kept descriptor's name stands for.
#[must_use]
pub fn parse_kept_name(name: &str) -> Option<(JobId, usize)> {
    let (job, index) = name.strip_prefix(KEPT_PREFIX)?.split_once('-')?;
    Some((JobId(job.parse().ok()?), index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kept_descriptors_are_read_back() {
        assert_eq!(parse_kept_name(&kept_name(JobId(41), 2)), Some((JobId(41), 2)));
        for other in ["bus", "job-", "job-1", "job-x-1", "job-1-", "jobs-1-1"] {
            assert_eq!(parse_kept_name(other), None, "{other}");
        }
    }
}
