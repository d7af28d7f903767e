//! What takes the kernel long to take apart is let go of on a thread of its own.
//!
//! To close the last descriptor of a detached mount, or of a namespace with mounts,
//! waits for a grace period of the whole machine (RCU, 0.1 ms and more), and the end
//! of an overlay for one more. Neither the supervisor nor the end of a job has to, and
//! no launch is disturbed by each: they wait for a moment, or until there is
//! much. Networks that go together the kernel takes apart in one go.

use crate::plan::failed;
use crate::supervise::Refusal;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// More than this does not wait: who brings it then takes it apart himself, and so
/// nobody makes mounts faster than they go.
const MOST_WAITING: usize = 32;

/// So long after the first of them what there is goes.
const MOMENT: Duration = Duration::from_millis(10);
/// So many things go at the latest, together.
const TOGETHER: usize = 16;

/// Hands things to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Tidy {
    things: SyncSender<Box<dyn Send>>,
}

impl Tidy {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, Refusal> {
        let (things, inbox) = sync_channel::<Box<dyn Send>>(MOST_WAITING);
        std::thread::Builder::new()
            .name("tidy".into())
            .spawn(move || serve(&inbox))
            .map_err(failed("start the thread that tidies up"))?;
        Ok(Self { things })
    }

    /// Drops a thing there, soon.
    pub(crate) fn soon(&self, thing: impl Send + 'static) {
        // What cannot be sent comes back in the error and is dropped with it.
        let _ = self.things.try_send(Box::new(thing));
    }
}

fn serve(inbox: &Receiver<Box<dyn Send>>) {
    while let Ok(first) = inbox.recv() {
        let mut things = vec![first];
        let end = Instant::now() + MOMENT;
        while things.len() < TOGETHER
            && let Ok(next) = inbox.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            things.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{ThreadId, current};

    /// Says where it was dropped, when it may.
    struct Thing(Sender<ThreadId>, std::sync::mpsc::Receiver<()>);

    impl Drop for Thing {
        fn drop(&mut self) {
            let _ = self.1.recv();
            let _ = self.0.send(current().id());
        }
    }

    #[test]
    fn only_so_many_wait() {
        let tidy = Tidy::start().expect("a thread can be started");
        let (dropped, where_dropped) = channel();
        let (go, may_go) = channel();
        tidy.soon(Thing(dropped.clone(), may_go));
        let free = || {
            let (go, may_go) = channel();
            drop(go);
            Thing(dropped.clone(), may_go)
        };
        // The thread has some in hand or none yet, and the queue is full behind it.
        const BROUGHT: usize = MOST_WAITING + 2 * TOGETHER;
        for _ in 0..BROUGHT {
            tidy.soon(free());
        }
        assert_eq!(where_dropped.try_recv(), Ok(current().id()));
        drop(go);
        drop(tidy);
        let rest = where_dropped.iter().take(BROUGHT);
        let there = rest.filter(|id| *id != current().id()).count();
        assert!((MOST_WAITING..=MOST_WAITING + TOGETHER).contains(&there), "{there}");
    }
}
