//! Descriptors watched by the supervisor's event loop.

use rustix::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the current tokio runtime.
///
/// # Errors
/// EPERM for a descriptor that cannot be polled; outside a runtime it panics.
pub fn readiness(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always answers with the same number and stays open as
    // long as it lives, which is as long as the registration.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}
