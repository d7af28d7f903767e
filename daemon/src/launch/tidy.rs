//! What takes the kernel long to take apart is let go of on a thread of its own.
//!
//! To close the last descriptor of a detached mount, or of a namespace with mounts,
//! waits for a grace period of the whole machine (RCU, 0.1 ms and more), and the end
//! of an overlay for one more. Neither the supervisor nor the end of a job has to, and
//! no launch is disturbed by each: they wait for a moment, or until there is
//! much. Networks that go together the kernel takes apart in one go.

use crate::plan::failed;
use crate::supervise::Refusal;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// More than this does not wait: who brings it then takes it apart himself, and so
/// nobody makes mounts faster than they go.
const MOST_WAITING: usize = 64;

/// So long after the last of them what there is goes, and after so many such waits.
const MOMENT: Duration = Duration::from_millis(10);
const MOMENTS: usize = 5;
/// So many things go at the latest, together.
const TOGETHER: usize = 32;

type Thing = Box<dyn Send>;

/// Hands things to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Tidy(Arc<Owner>);

/// Ends the thread with the last handle.
#[derive(Debug)]
struct Owner(Arc<Place>);

#[derive(Default)]
struct Place {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    things: Vec<Thing>,
    is_last: bool,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Tidy {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, Refusal> {
        let place = Arc::new(Place::default());
        let served = Arc::clone(&place);
        std::thread::Builder::new()
            .name("tidy".into())
            .spawn(move || serve(&served))
            .map_err(failed("start the thread that tidies up"))?;
        Ok(Self(Arc::new(Owner(place))))
    }

    /// Drops a thing there, soon. The thread is woken for the first of them and when
    /// there is much, not for each: it would take the processor from the job.
    pub(crate) fn soon(&self, thing: impl Send + 'static) {
        let place = &self.0.0;
        let mut waiting = lock(&place.waiting);
        if waiting.things.len() == MOST_WAITING {
            drop(waiting);
            return drop(thing);
        }
        waiting.things.push(Box::new(thing));
        let wakes = matches!(waiting.things.len(), 1 | TOGETHER);
        drop(waiting);
        if wakes {
            place.changed.notify_one();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.0.waiting).is_last = true;
        self.0.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is dropped while it is held: what it guards is whole, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(place: &Place) {
    loop {
        let together = next(place);
        if together.is_empty() {
            return;
        }
        drop(together);
    }
}

/// What goes next, together; nothing when nothing will come any more.
fn next(place: &Place) -> Vec<Thing> {
    let idle = |w: &mut Waiting| w.things.is_empty() && !w.is_last;
    let waiting = place.changed.wait_while(lock(&place.waiting), idle);
    let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
    let few = |w: &mut Waiting| w.things.len() < TOGETHER && !w.is_last;
    for _ in 0..MOMENTS {
        let seen = waiting.things.len();
        let waited = place.changed.wait_timeout_while(waiting, MOMENT, few);
        (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.things.len() == seen || !few(&mut waiting) {
            break;
        }
    }
    let count = waiting.things.len().min(TOGETHER);
    waiting.things.drain(..count).collect()
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
