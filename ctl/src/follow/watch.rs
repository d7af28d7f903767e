//! Sleeping until a log grows.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest sleep when the kernel tells of each write: a guard, not a rhythm.
const GUARD: Duration = Duration::from_secs(5);
/// Sleep between looks when it cannot tell.
const LOOK: Duration = Duration::from_millis(50);
/// How long a log is looked at before the kernel is asked to tell of writes. To give up
/// an inotify(7) instance takes a grace period of the kernel, 10 to 20 ms: more than the
/// whole of a short job.
const BRIEFLY: Duration = Duration::from_millis(200);
/// Sleep between those first looks.
const FIRST_LOOKS: Duration = Duration::from_millis(10);

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
    notices: Notices,
    bell: Bell,
}

#[derive(Debug)]
enum Notices {
    /// Not asked for until then.
    From(Instant),
    Inotify(OwnedFd),
    /// A caller who may not open the log by its name gets no notice of writes
    /// from the kernel, only from looking.
    Refused,
}

impl Watch {
    pub(crate) fn new(bell: Bell) -> Self {
        Self { notices: Notices::From(Instant::now() + BRIEFLY), bell }
    }

    /// It may return early: what it is for is to look again.
    pub(crate) fn sleep(&mut self, log: &File) -> io::Result<()> {
        let limit = match &self.notices {
            Notices::From(when) if Instant::now() < *when => FIRST_LOOKS,
            Notices::From(_) => {
                self.notices = notices(log).map_or(Notices::Refused, Notices::Inotify);
                // What was written before the kernel was asked, it does not tell.
                return Ok(());
            }
            Notices::Inotify(_) => GUARD,
            Notices::Refused => LOOK,
        };
        let mut fds = vec![PollFd::new(&*self.bell.0, PollFlags::IN)];
        if let Notices::Inotify(inotify) = &self.notices {
            fds.push(PollFd::new(inotify, PollFlags::IN));
        }
        let limit = Timespec::try_from(limit).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        drain(&self.bell.0);
        if let Notices::Inotify(inotify) = &self.notices {
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
        let mut watch = Watch { notices: Notices::From(Instant::now()), bell: bell.clone() };
        watch.sleep(&log).expect("no sleep");
        assert!(matches!(watch.notices, Notices::Inotify(_)), "an own file can be watched");
        log.write_all(b"x").expect("a write");
        watch.sleep(&log).expect("a sleep");
        bell.ring();
        watch.sleep(&log).expect("a sleep");
    }

    #[test]
    fn a_short_job_costs_no_inotify_instance() {
        let log = tempfile::tempfile().expect("a temporary file");
        let bell = Bell::new().expect("an eventfd");
        let later = Instant::now() + Duration::from_secs(3600);
        let mut watch = Watch { notices: Notices::From(later), bell: bell.clone() };
        bell.ring();
        watch.sleep(&log).expect("a sleep");
        assert!(matches!(watch.notices, Notices::From(_)));
    }
}
