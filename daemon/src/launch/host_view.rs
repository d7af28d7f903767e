//! A thread that stays in the supervisor's own mount namespace, for the launcher
//! thread, which has left it: only there can host paths be opened and their
//! mounts be cloned.

use crate::supervise::Refusal;
use std::sync::mpsc::{Sender, channel};

type Task = Box<dyn FnOnce() + Send>;

/// Runs functions where the host's mounts are.
#[derive(Clone, Debug)]
pub(super) struct HostView {
    tasks: Sender<Task>,
}

impl HostView {
    /// Starts the thread; it inherits the mount namespace of the caller.
    pub(super) fn start() -> Result<Self, Refusal> {
        let (tasks, inbox) = channel::<Task>();
        std::thread::Builder::new()
            .name("host-view".into())
            .spawn(move || inbox.into_iter().for_each(|task| task()))
            .map_err(crate::plan::failed("start the host-view thread"))?;
        Ok(Self { tasks })
    }

    /// Runs `f` there and waits for its answer.
    pub(super) fn run<T: Send + 'static>(
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
