//! Sleeping until a log grows.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Longest sleep when the kernel tells of each write: a guard, not a rhythm.
const GUARD: Duration = Duration::from_secs(5);
/// Sleep between looks when it cannot tell.
const LOOK: Duration = Duration::from_millis(50);

/// Wakes a sleeper from another thread.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    pub(crate) fn ring(&self) {
        // It fails only when it has been rung often already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// Sleeps until the log was written to or the bell rings.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Option<OwnedFd>,
    bell: Bell,
}

impl Watch {
    /// A caller who may not open the log by its name gets no notice of writes
    /// from the kernel, only from looking.
    pub(crate) fn new(log: &File, bell: Bell) -> Self {
        Self { inotify: notices(log).ok(), bell }
    }

    pub(crate) fn sleep(&self) -> io::Result<()> {
        let limit = if self.inotify.is_some() { GUARD } else { LOOK };
        let mut fds = vec![PollFd::new(&*self.bell.0, PollFlags::IN)];
        if let Some(inotify) = &self.inotify {
            fds.push(PollFd::new(inotify, PollFlags::IN));
        }
        let limit = Timespec::try_from(limit).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        drain(&self.bell.0);
        if let Some(inotify) = &self.inotify {
            drain(inotify);
        }
        Ok(())
    }
}

fn notices(log: &File) -> io::Result<OwnedFd> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&inotify, format!("/proc/self/fd/{}", log.as_raw_fd()), WatchFlags::MODIFY)?;
    Ok(inotify)
}

/// What is read does not matter, only that it is no longer there to wake us.
fn drain(fd: &OwnedFd) {
    let mut scrap = [0u8; 4096];
    while matches!(rustix::io::read(fd, &mut scrap), Ok(count) if count == scrap.len()) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_write_and_the_bell_wake() {
        let mut log = tempfile::tempfile().expect("a temporary file");
        let bell = Bell::new().expect("an eventfd");
        let watch = Watch::new(&log, bell.clone());
        assert!(watch.inotify.is_some(), "an own file can be watched");
        log.write_all(b"x").expect("a write");
        watch.sleep().expect("a sleep");
        bell.ring();
        watch.sleep().expect("a sleep");
    }
}
