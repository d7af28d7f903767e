//! A child that is created and not yet started, in the words of the OCI runtime
//! specification: it builds its root while the rest of its plan is made, and until what
//! must be durable before its command may run is so; then it is started, or given up.

use super::{LaunchTimes, Launched, Launcher, Order};
use crate::jail::{Failure, Step};
use crate::plan::{Plan, RootPlan};
use crate::supervise::Refusal;
use fetchml_policies::Profile;
use fetchml_sys::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::futex::{self, Timespec};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SendError, Sender};
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
    /// Something killed the child before it could execute the agent; it is gone.
    Killed,
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
    orders: Sender<Order>,
    profile: Arc<Profile>,
    start: Arc<Start>,
    /// Of a child that is not there before its start.
    root: Option<Box<RootPlan>>,
    answered: Option<oneshot::Receiver<Outcome>>,
}

impl Launcher {
    /// Begins a launch. A child is made at once where no other launch is under way: none
    /// waits for a child that waits, and many at once are cheaper one after the other.
    pub(crate) fn create(&self, root: RootPlan, profile: Arc<Profile>) -> Created {
        let (orders, start) = (self.orders.clone(), Arc::default());
        let root = Some(Box::new(root));
        let mut created = Created { orders, profile, start, root, answered: None };
        if !self.is_busy.load(Ordering::Relaxed) {
            created.order();
            // Where the kernel woke the launcher's thread on this processor it runs first,
            // and then sleeps while its child runs on another one.
            std::thread::yield_now();
        }
        created
    }
}

impl Created {
    /// Has the child made, if none is.
    fn order(&mut self) {
        let Some(root) = self.root.take() else { return };
        let (answer, answered) = oneshot::channel();
        let (profile, start) = (Arc::clone(&self.profile), Arc::clone(&self.start));
        self.answered = Some(answered);
        // Without the thread there is no answer, which `start` says.
        if let Err(SendError(order)) = self.orders.send(Order { root, profile, start, answer }) {
            Outcome::failed(Some(order.root), LaunchError::NoLauncher).leave_no_group();
        }
    }

    /// Lets the child go on, to the agent and its command.
    pub(crate) async fn start(mut self, plan: Plan) -> Outcome {
        self.start.give(plan);
        self.order();
        let mut outcome = self.outcome().await;
        if outcome.is_late() {
            self.start.say_at_once();
            self.root = outcome.root.take();
            self.order();
            outcome = self.outcome().await;
        }
        // The launcher let go of it before it answered.
        outcome.plan = Arc::get_mut(&mut self.start).and_then(|start| start.plan.take());
        outcome
    }

    async fn outcome(&mut self) -> Outcome {
        let answer = match &mut self.answered {
            Some(answered) => answered.await.ok(),
            None => None,
        };
        self.answered = None;
        answer.unwrap_or_else(|| Outcome::failed(None, LaunchError::NoLauncher))
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(group) = self.root.take().and_then(|root| root.cgroup) {
            group.remove();
        }
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
    fn failed(root: Option<Box<RootPlan>>, error: LaunchError) -> Self {
        Self { root, plan: None, times: LaunchTimes::default(), result: Err(error) }
    }

    /// Whether the child gave its place to others.
    fn is_late(&self) -> bool {
        let late = Step::Start.failed(Errno::TIMEDOUT);
        matches!(&self.result, Err(LaunchError::Step(failure)) if *failure == late)
    }

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
/// The child does not wait any longer.
const LATE: u32 = 3;

/// How long a child waits, as launches behind it wait for it: longer than a disk takes
/// for what is made durable meanwhile. Then it ends, and is cloned anew for its start.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What the child waits for, in the memory that it shares with the supervisor.
#[derive(Debug, Default)]
pub(crate) struct Start {
    plan: OnceLock<Box<Plan>>,
    word: AtomicU32,
}

impl Start {
    fn give(&self, plan: Plan) {
        // It is given once.
        let _ = self.plan.set(Box::new(plan));
        self.say(GO);
    }

    fn give_up(&self) {
        self.say(GIVE_UP);
    }

    /// The first word counts, whoever says it.
    fn say(&self, word: u32) {
        let (said, unsaid) = (Ordering::AcqRel, Ordering::Relaxed);
        if self.word.compare_exchange(WAIT, word, said, unsaid).is_ok() {
            // It fails for addresses that are none.
            let _ = futex::wake(&self.word, futex::Flags::PRIVATE, 1);
        }
    }

    /// For the next child, when one did not wait long enough.
    fn say_at_once(&self) {
        self.word.store(GO, Ordering::Release);
    }

    /// Whether no child is needed any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.word.load(Ordering::Acquire) == GIVE_UP
    }

    /// Waits for the rest of the plan. Child-safe.
    ///
    /// The child has the supervisor's descriptors, locks and sockets among them: it ends
    /// with the supervisor, and soon when that ended before it could ask to be told so.
    ///
    /// # Errors
    /// ECANCELED when there is nothing to start any more, ETIMEDOUT when nothing was said
    /// for long.
    pub(crate) fn wait(&self) -> Result<&Plan, Errno> {
        if self.word.load(Ordering::Acquire) == WAIT {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may return early.
            while futex::wait(&self.word, futex::Flags::PRIVATE, WAIT, Some(&PATIENCE))
                != Err(Errno::TIMEDOUT)
                && self.word.load(Ordering::Acquire) == WAIT
            {}
            self.say(LATE);
            set_parent_process_death_signal(None)?;
        }
        match self.word.load(Ordering::Acquire) {
            GO => self.plan.get().map(|plan| &**plan).ok_or(Errno::CANCELED),
            LATE => Err(Errno::TIMEDOUT),
            _ => Err(Errno::CANCELED),
        }
    }
}
