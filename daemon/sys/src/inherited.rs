//! Descriptors that the service manager passed at the start (sd_listen_fds(3)).

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// First descriptor of the protocol.
const FIRST: RawFd = 3;

/// Takes every passed descriptor with its name, and marks it close-on-exec. The
/// first call answers; later ones, and a process that was not meant, get none.
#[must_use]
pub fn take() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name)?.parse::<RawFd>().ok();
    let meant = number("LISTEN_PID").and_then(|pid| u32::try_from(pid).ok());
    if meant != Some(std::process::id()) || TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = Vec::new();
    for fd in FIRST..FIRST.saturating_add(count) {
        let name = names.next().unwrap_or_default().to_owned();
        // SAFETY: used for one fcntl only, which answers EBADF if it is not open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        if rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).is_ok() {
            // SAFETY: it is open. The service manager opened it for this process
            // before its first instruction, so nothing in here owns it, and the
            // flag above lets this run once.
            passed.push((name, unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    passed
}
