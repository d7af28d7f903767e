//! The parent side of a launch: a thread of its own, in the mount namespace of a
//! prepared root, from which each job's child is cloned.
//!
//! The child gets its copy of that namespace by the clone itself, so the root of
//! a profile is built once and cloned for each job, and no job ever has the
//! host's mounts, not even for a moment.

mod accounts;
mod ahead;
pub(crate) mod devices;
mod host_ids;
mod host_view;
mod template;
mod tidy;
mod times;

pub(crate) use accounts::{Account, Ids};
pub(crate) use ahead::Ahead;
pub(crate) use host_ids::{HostId, HostIds};
pub(crate) use host_view::HostView;
pub(crate) use tidy::Tidy;
pub use times::{LaunchTimes, Mark};

use crate::jail::{self, Failure, Seats};
use crate::plan::{Overlay, Plan, failed};
use crate::supervise::Refusal;
use fetchml_policies::Profile;
use fetchml_sys::clone::{Child, CloneFlags, Stack, spawn};
use fetchml_sys::namespace::mounts_of;
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use template::Templates;
use tokio::sync::oneshot;

const STACK_BYTES: usize = 256 * 1024;

/// Why a launch did not come to the agent's first instruction.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The root or the descriptors could not be prepared.
    Unprepared(Refusal),
    /// clone3(2) failed.
    Clone(fetchml_sys::Errno),
    /// A step in the child failed; the child is gone.
    Step(Failure),
    /// The launcher thread is gone, which only a bug can do.
    NoLauncher,
}

enum Order {
    /// Mount it; what comes of that is with it before any later order.
    Overlay(Arc<Overlay>),
    Launch {
        plan: Box<Plan>,
        profile: Arc<Profile>,
        answer: oneshot::Sender<(Box<Plan>, Result<Launched, LaunchError>)>,
    },
}

/// A child that runs.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    /// Held, so that the job is over before its mounts are taken apart. Without it
    /// the end only comes later.
    pub(crate) mounts: Option<OwnedFd>,
}

/// Hands plans to the launcher thread.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    orders: Sender<Order>,
    view: HostView,
    ahead: Ahead,
    tidy: Tidy,
    host_ids: HostIds,
}

impl Launcher {
    /// Starts the threads.
    pub(crate) fn start(private: bool) -> Result<Self, Refusal> {
        let host_ids = HostIds::open()?;
        let ahead = Ahead::start(host_ids.clone())?;
        let tidy = Tidy::start()?;
        let mut seats = Seats::reserve()?;
        let host = HostView::start(private)?;
        let view = host.clone();
        let (orders, inbox) = channel::<Order>();
        let (ready, is_ready) = channel();
        std::thread::Builder::new()
            .name("launcher".into())
            .spawn(move || {
                let made = Templates::enter_own_namespace(host).and_then(|templates| {
                    let stack = Stack::new(STACK_BYTES).map_err(failed("map a stack"))?;
                    Ok((templates, stack))
                });
                // start() waits for this answer.
                let _ = match made {
                    Err(e) => ready.send(Err(e)),
                    Ok((templates, stack)) => {
                        let answered = ready.send(Ok(()));
                        serve(inbox, templates, stack, &mut seats);
                        answered
                    }
                };
            })
            .map_err(failed("start the launcher thread"))?;
        is_ready.recv().map_err(failed("start the launcher thread"))??;
        Ok(Self { orders, view, ahead, tidy, host_ids })
    }

    /// Namespaces that are made before a launch needs them.
    pub(crate) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Where to leave what takes long to let go of.
    pub(crate) fn tidy(&self) -> &Tidy {
        &self.tidy
    }

    /// The account of a new job.
    pub(crate) fn account(&self, ids: Ids) -> Result<Account, Refusal> {
        Account::take(&self.ahead, &self.host_ids, ids)
    }

    /// Whether nobody has an id of a job any more.
    pub(crate) fn is_free(&self, host_uid: u32) -> bool {
        self.host_ids.is_free(host_uid)
    }

    /// Where the host's mounts are.
    pub(crate) fn host_view(&self) -> &HostView {
        &self.view
    }

    /// Has an overlay mounted while the rest of its plan is made.
    pub(crate) fn mount_soon(&self, overlay: &Arc<Overlay>) {
        // Without the thread there is no launch either, which then says so.
        let _ = self.orders.send(Order::Overlay(Arc::clone(overlay)));
    }

    /// Launches a plan. The plan comes back: its descriptors are closed by
    /// whoever drops it, off the launcher's path.
    pub(crate) async fn launch(
        &self,
        plan: Plan,
        profile: Arc<Profile>,
    ) -> (Option<Box<Plan>>, Result<Launched, LaunchError>) {
        let (answer, answered) = oneshot::channel();
        let order = Order::Launch { plan: Box::new(plan), profile, answer };
        if self.orders.send(order).is_err() {
            return (None, Err(LaunchError::NoLauncher));
        }
        match answered.await {
            Ok((plan, result)) => (Some(plan), result),
            Err(_) => (None, Err(LaunchError::NoLauncher)),
        }
    }
}

fn serve(inbox: Receiver<Order>, mut templates: Templates, mut stack: Stack, seats: &mut Seats) {
    for order in inbox {
        match order {
            // Nobody else has it any more: its plan came to nothing.
            Order::Overlay(overlay) if Arc::strong_count(&overlay) == 1 => drop(overlay),
            Order::Overlay(overlay) => {
                // Where the kernel cannot, the child does it in another way, and then says
                // what is wrong.
                if let Ok(mounted) = jail::overlay_of_detached(&overlay) {
                    let _ = overlay.mounted.set(mounted);
                }
            }
            Order::Launch { mut plan, profile, answer } => {
                let result = launch(&mut plan, &profile, &mut templates, &mut stack, seats)
                    .map(|child| Launched { mounts: mounts_of(&child).ok(), child });
                // When nobody waits any more the child is still known by its report.
                let _ = answer.send((plan, result));
                seats.clear();
            }
        }
    }
}

fn launch(
    plan: &mut Plan,
    profile: &Profile,
    templates: &mut Templates,
    stack: &mut Stack,
    seats: &mut Seats,
) -> Result<Child, LaunchError> {
    let template = templates.enter(&plan.skeleton, profile).map_err(LaunchError::Unprepared)?;
    if let Some(landlock) = &plan.landlock {
        landlock.allow_shown(&template.shown).map_err(LaunchError::Unprepared)?;
    }
    seats.fill(plan).map_err(LaunchError::Unprepared)?;
    plan.times.pass(Mark::Taken);
    let mut progress = jail::Progress { failure: None, times: plan.times };
    let cgroup = plan.cgroup.as_ref().map(crate::cgroup::JobCgroup::directory);
    let flags = CloneFlags::SANDBOX.and(CloneFlags::SHARED_DESCRIPTORS);
    let mut enter = || jail::enter(plan, seats, &mut progress);
    let child = spawn(flags, cgroup, stack, &mut enter).map_err(LaunchError::Clone)?;
    progress.times.pass(Mark::Executed);
    plan.times = progress.times;
    match progress.failure {
        None => Ok(child),
        Some(f) => {
            reap(&child);
            Err(LaunchError::Step(f))
        }
    }
}

fn reap(child: &Child) {
    use rustix::fd::AsFd;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // It exits by itself; its status is not news.
    let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
}
