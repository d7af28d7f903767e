//! A child that is created and not yet started, in the words of the OCI runtime
//! specification: it builds its root while the rest of its plan is made, and until what
//! must be durable before its command may run is so; then it is started, or given up.

use super::{LaunchTimes, Launched, Launcher, Order};
use crate::jail::Failure;
use crate::plan::{Plan, RootPlan};
use crate::supervise::Refusal;
use fetchml_policies::Profile;
use fetchml_sys::Errno;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::futex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// Why a launch did not come to the agent's first instruction.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The root could not be prepared.
    Unprepared(Refusal),
    /// clone3(2) failed.
    Clone(Errno),
    /// A step in the child failed; the child is gone.
    Step(Failure),
    /// It was given up before there was a child.
    GivenUp,
    /// The launcher thread is gone, which only a bug can do.
    NoLauncher,
}

/// What came of a launch.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What it was planned with. The descriptors are closed by whoever drops it, off the
    /// launcher's path.
    pub(crate) root: Option<Box<RootPlan>>,
    pub(crate) plan: Option<Box<Plan>>,
    /// What launcher and child passed.
    pub(crate) times: LaunchTimes,
    pub(crate) result: Result<Launched, LaunchError>,
}

/// A child that waits for the rest of its plan. Dropped, it is given up: the child ends,
/// and its cgroup is removed.
#[derive(Debug)]
pub(crate) struct Created {
    start: Arc<Start>,
    answered: Option<oneshot::Receiver<Outcome>>,
}

impl Launcher {
    /// Begins a launch.
    pub(crate) fn create(&self, root: RootPlan, profile: Arc<Profile>) -> Created {
        let start = Arc::new(Start::of(&self.supervisor));
        let (answer, answered) = oneshot::channel();
        let order = Order { root: Box::new(root), profile, start: Arc::clone(&start), answer };
        // Without the thread there is no answer, which `start` says.
        let _ = self.orders.send(order);
        // Where the kernel woke the launcher's thread on this processor it runs first, and
        // then sleeps while its child runs on another one.
        std::thread::yield_now();
        Created { start, answered: Some(answered) }
    }
}

impl Created {
    /// Lets the child go on, to the agent and its command.
    pub(crate) async fn start(mut self, plan: Plan) -> Outcome {
        let answered = self.answered.take();
        self.start.give(plan);
        let answer = match answered {
            Some(answered) => answered.await.ok(),
            None => None,
        };
        let no_launcher = || Outcome {
            root: None,
            plan: None,
            times: LaunchTimes::default(),
            result: Err(LaunchError::NoLauncher),
        };
        let mut outcome = answer.unwrap_or_else(no_launcher);
        // The launcher let go of it before it answered.
        outcome.plan = Arc::get_mut(&mut self.start).and_then(|start| start.plan.take());
        outcome
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // Whoever finds that nobody waits removes the group.
        if let Some(mut answered) = self.answered.take() {
            answered.close();
            if let Ok(outcome) = answered.try_recv() {
                outcome.leave_no_group();
            }
        }
        self.start.give_up();
    }
}

impl Outcome {
    /// Removes the group of a launch that failed and that nobody waits for.
    pub(super) fn leave_no_group(self) {
        if self.result.is_err()
            && let Some(group) = self.root.and_then(|root| root.cgroup)
        {
            group.remove_unless_replaced();
        }
    }
}

/// Nothing was said yet.
const WAIT: u32 = 0;
const GO: u32 = 1;
const GIVE_UP: u32 = 2;

/// What the child waits for, in the memory that it shares with the supervisor.
#[derive(Debug)]
pub(crate) struct Start {
    plan: OnceLock<Box<Plan>>,
    word: AtomicU32,
    supervisor: Arc<OwnedFd>,
}

impl Start {
    fn of(supervisor: &Arc<OwnedFd>) -> Self {
        Self {
            plan: OnceLock::new(),
            word: AtomicU32::new(WAIT),
            supervisor: Arc::clone(supervisor),
        }
    }

    fn give(&self, plan: Plan) {
        // It is given once.
        let _ = self.plan.set(Box::new(plan));
        self.say(GO);
    }

    fn give_up(&self) {
        self.say(GIVE_UP);
    }

    fn say(&self, word: u32) {
        let order = (Ordering::Release, Ordering::Relaxed);
        if self.word.compare_exchange(WAIT, word, order.0, order.1).is_ok() {
            // It fails for addresses that are none.
            let _ = futex::wake(&self.word, futex::Flags::PRIVATE, 1);
        }
    }

    /// Whether no child is needed any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.word.load(Ordering::Acquire) == GIVE_UP
    }

    /// Waits for the rest of the plan. Child-safe.
    ///
    /// The child has the supervisor's descriptors, locks and sockets among them: it ends
    /// when the supervisor does.
    ///
    /// # Errors
    /// ECANCELED when there is nothing to start any more.
    pub(crate) fn wait(&self) -> Result<&Plan, Errno> {
        if self.word.load(Ordering::Acquire) == WAIT {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            self.sleep()?;
            set_parent_process_death_signal(None)?;
        }
        match self.word.load(Ordering::Acquire) {
            GO => self.plan.get().map(|plan| &**plan).ok_or(Errno::CANCELED),
            _ => Err(Errno::CANCELED),
        }
    }

    fn sleep(&self) -> Result<(), Errno> {
        // The supervisor may have ended before this process could ask to be told so, and
        // its process id says nothing in this namespace.
        const LOOK: futex::Timespec = futex::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        while self.word.load(Ordering::Acquire) == WAIT {
            let mut supervisor = [PollFd::new(&*self.supervisor, PollFlags::IN)];
            if poll(&mut supervisor, Some(&NO_TIME))? > 0 {
                return Err(Errno::CANCELED);
            }
            // It returns early as well, and the loop looks again.
            let _ = futex::wait(&self.word, futex::Flags::PRIVATE, WAIT, Some(&LOOK));
        }
        Ok(())
    }
}

const NO_TIME: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
