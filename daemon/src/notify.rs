//! What the service manager hears of us, and what it keeps for us: readiness,
//! status, watchdog, and the directories of queued jobs, whose descriptors so
//! survive a restart of the supervisor. Without a service manager all of it does
//! nothing.

use crate::directories::DirectoryId;
use sd_notify::NotifyState;
use std::os::fd::BorrowedFd;

/// Prefix of the names under which directories are kept.
const KEPT_PREFIX: &str = "directory-";

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

    /// Hands a duplicate of a directory to the service manager.
    pub fn keep(self, directory: DirectoryId, descriptor: BorrowedFd<'_>) {
        if self.enabled {
            let name = kept_name(directory);
            let state = [NotifyState::FdStore, NotifyState::FdName(&name)];
            report(sd_notify::notify_with_fds(&state, &[descriptor]));
        }
    }

    /// Lets go of a directory.
    pub fn release(self, directory: DirectoryId) {
        self.send(&[NotifyState::FdStoreRemove, NotifyState::FdName(&kept_name(directory))]);
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

fn kept_name(directory: DirectoryId) -> String {
    format!("{KEPT_PREFIX}{directory}")
}

/// The directory that a kept descriptor's name stands for.
#[must_use]
pub fn parse_kept_name(name: &str) -> Option<DirectoryId> {
    Some(DirectoryId(name.strip_prefix(KEPT_PREFIX)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kept_descriptors_are_read_back() {
        let directory = DirectoryId(41);
        assert_eq!(parse_kept_name(&kept_name(directory)), Some(directory));
        for other in ["bus", "directory-", "directory-x", "directory-1-1", "directories-1"] {
            assert_eq!(parse_kept_name(other), None, "{other}");
        }
    }
}
