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
mod start;
mod template;
mod tidy;
mod times;

pub(crate) use accounts::{Account, Ids};
pub(crate) use ahead::Ahead;
pub(crate) use host_ids::{HostId, HostIds};
pub(crate) use host_view::HostView;
pub(crate) use start::{Created, LaunchError, Outcome, Start};
pub(crate) use tidy::Tidy;
pub use times::{LaunchTimes, Mark};

use crate::jail::{self, Seats};
use crate::plan::{RootPlan, failed};
use crate::supervise::Refusal;
use fetchml_policies::Profile;
use fetchml_sys::clone::{Child, CloneFlags, Stack, spawn};
use fetchml_sys::namespace::mounts_of;
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use template::Templates;
use tokio::sync::oneshot;

const STACK_BYTES: usize = 256 * 1024;

/// A child to be created, and where it hears the rest.
#[derive(Debug)]
struct Order {
    root: Box<RootPlan>,
    profile: Arc<Profile>,
    start: Arc<Start>,
    answer: oneshot::Sender<Outcome>,
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
    /// Whether its thread has an order.
    is_busy: Arc<AtomicBool>,
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
        let is_busy = Arc::<AtomicBool>::default();
        let busy = Arc::clone(&is_busy);
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
                        serve(inbox, &busy, templates, stack, &mut seats);
                        answered
                    }
                };
            })
            .map_err(failed("start the launcher thread"))?;
        is_ready.recv().map_err(failed("start the launcher thread"))??;
        Ok(Self { orders, is_busy, view, ahead, tidy, host_ids })
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
}

fn serve(
    inbox: Receiver<Order>,
    is_busy: &AtomicBool,
    mut templates: Templates,
    mut stack: Stack,
    seats: &mut Seats,
) {
    for Order { root, profile, start, answer } in inbox {
        is_busy.store(true, Ordering::Relaxed);
        let mut times = LaunchTimes::default();
        let result = match start.is_given_up() {
            true => Err(LaunchError::GivenUp),
            false => launch(&root, &profile, &start, &mut templates, &mut stack, seats, &mut times)
                .map(|child| Launched { mounts: mounts_of(&child).ok(), child }),
        };
        // Whoever started it takes the plan back.
        drop(start);
        let outcome = Outcome { root: Some(root), plan: None, times, result };
        // When nobody waits any more a child that runs is still known by its report.
        if let Err(unheard) = answer.send(outcome) {
            unheard.leave_no_group();
        }
        seats.clear();
        is_busy.store(false, Ordering::Relaxed);
    }
}

fn launch(
    root: &RootPlan,
    profile: &Profile,
    start: &Start,
    templates: &mut Templates,
    stack: &mut Stack,
    seats: &mut Seats,
    times: &mut LaunchTimes,
) -> Result<Child, LaunchError> {
    let template = templates.enter(&root.skeleton, profile).map_err(LaunchError::Unprepared)?;
    times.pass(Mark::Taken);
    let mut progress = jail::Progress { failure: None, times: *times };
    let cgroup = root.cgroup.as_ref().map(crate::cgroup::JobCgroup::directory);
    let flags = CloneFlags::SANDBOX.and(CloneFlags::SHARED_DESCRIPTORS);
    let mut entry = jail::Entry { root, shown: &template.shown, start, seats };
    let mut enter = || jail::enter(&mut entry, &mut progress);
    let child = spawn(flags, cgroup, stack, &mut enter).map_err(LaunchError::Clone)?;
    *times = progress.times;
    times.pass(Mark::Executed);
    match progress.failure {
        // It ended without an exec, and cannot have said why.
        None if times.at(Mark::Descriptors) == 0 => {
            reap(&child);
            Err(LaunchError::Killed)
        }
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
