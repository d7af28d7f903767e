//! A thread that sees the host's mounts: in the mount namespace of the clients.
//!
//! The kernel clones a mount only for a caller in that mount's namespace. The
//! launcher thread has left it for one of its own, and the supervisor as a
//! system service is in one where its unit has made nearly everything read-only
//! or invisible. Profiles' paths are opened, and clients' directories cloned,
//! in this thread alone.

use crate::plan::{detached_tree, failed};
use crate::supervise::Refusal;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::fs::File;
use std::sync::mpsc::{Sender, channel};

type Task = Box<dyn FnOnce() + Send>;

/// Runs functions where the host's mounts are.
#[derive(Clone, Debug)]
pub(crate) struct HostView {
    tasks: Sender<Task>,
}

impl HostView {
    /// Starts the thread: for the system service in the mount namespace of PID 1,
    /// for a private supervisor in its user's, which is that of the caller.
    ///
    /// # Errors
    /// A refusal when that namespace cannot be entered.
    pub(crate) fn start(private: bool) -> Result<Self, Refusal> {
        let (tasks, inbox) = channel::<Task>();
        let view = Self { tasks };
        std::thread::Builder::new()
            .name("host-view".into())
            .spawn(move || inbox.into_iter().for_each(|task| task()))
            .map_err(failed("start the host-view thread"))?;
        if !private {
            view.run(enter_mounts_of_init).map_err(|e| {
                Refusal::Infrastructure(format!(
                    "cannot enter the mount namespace of PID 1: {e}; the supervisor of a machine \
                     is started by systemd (systemctl start fetchmld), one for yourself alone \
                     anywhere with --private=DIR"
                ))
            })?;
        }
        Ok(view)
    }

    /// A detached copy of the mount that a client's descriptor is on.
    pub(crate) fn clone_mount(&self, directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let cloned = directory
            .try_clone_to_owned()
            .and_then(|owned| self.run(move || Ok(detached_tree(owned.as_fd(), false)?)));
        cloned.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    /// Runs `f` there and waits for its answer.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let gone = || std::io::Error::other("the host-view thread is gone");
        let (answer, answered) = channel();
        let task = Box::new(move || {
            // The asker waits, so somebody receives it.
            let _ = answer.send(f());
        });
        self.tasks.send(task).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

fn enter_mounts_of_init() -> std::io::Result<()> {
    let namespace = File::open("/proc/1/ns/mnt")?;
    Ok(fetchml_sys::namespace::enter_mounts_for_thread(namespace.as_fd())?)
}
