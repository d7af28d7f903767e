//! The child side of a launch: what happens between the clone and the agent's
//! first instruction, in order.
//!
//! Everything here runs as root in the initial user namespace, in a child that
//! shares the supervisor's memory while the launching thread sleeps, and its descriptors
//! until the last step but the exec. It only
//! makes system calls on complete data: on that of the [`RootPlan`] from the clone on,
//! on that of the [`Plan`](crate::plan::Plan) once it has been told to start, for which
//! it waits in the kernel: no allocation, no lock, no formatting. A failing step leaves
//! its name and `errno` in the shared memory; the parent makes a sentence of it.

mod caps;
mod channels;
mod fds;
mod ids;
mod landlock;
mod limits;
mod mounts;

pub(crate) use fds::Seats;
pub(crate) use mounts::overlay_of_detached;

use crate::launch::{LaunchTimes, Mark, Start};
use crate::plan::{HOST_NAME, RootPlan};
use fetchml_sys::{Errno, namespace, process};
use rustix::fd::{AsFd, OwnedFd};

/// Status of a child whose step failed; nobody outside this module sees it.
const FAILED: i32 = 125;

/// What the child leaves for its parent in the memory that they share.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) failure: Option<Failure>,
    pub(crate) times: LaunchTimes,
}

/// What the child begins with.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) root: &'a RootPlan,
    /// The host's directories that the prepared root shows.
    pub(crate) shown: &'a [OwnedFd],
    /// Where it hears the rest.
    pub(crate) start: &'a Start,
    pub(crate) seats: &'a mut Seats,
}

/// Locks this process in and becomes the agent. Returns only on failure.
pub(crate) fn enter(entry: &mut Entry<'_>, progress: &mut Progress) -> i32 {
    progress.times.pass(Mark::Cloned);
    let Err(failure) = lock_in(entry, &mut progress.times);
    progress.failure = Some(failure);
    FAILED
}

/// The sandbox in one screen. The order matters:
/// mounts and network need the initial user namespace's capabilities; the
/// keyring and the capability sets belong to the job's own ids; descriptors are
/// closed last, when nothing needs to be opened any more. The agent installs the
/// seccomp programs, the job's before its exec and then its own.
fn lock_in(
    Entry { root, shown, start, seats }: &mut Entry<'_>,
    times: &mut LaunchTimes,
) -> Result<std::convert::Infallible, Failure> {
    Step::Session.of(rustix::process::setsid().map(drop))?;
    Step::CgroupNamespace.of(namespace::own_cgroup_view())?;
    Step::Hostname.of(rustix::system::sethostname(HOST_NAME.as_bytes()))?;
    times.pass(Mark::Named);
    mounts::complete_root(root, times)?;
    // Nothing that the job will find or run was touched until here.
    let plan = Step::Start.of(start.wait())?;
    times.pass(Mark::Started);
    mounts::attach_directories(plan)?;
    times.pass(Mark::Directories);
    channels::enter(plan)?;
    times.pass(Mark::Channels);
    // Both in the supervisor's table, whose numbers may be above the job's limit.
    fds::take_seats(seats, plan)?;
    landlock::complete_rules(plan, shown)?;
    limits::apply(plan)?;
    times.pass(Mark::Rules);
    ids::become_unprivileged(plan)?;
    times.pass(Mark::Ids);
    caps::irrevocably_drop_all_but_planned(plan)?;
    times.pass(Mark::Capabilities);
    Step::NoNewPrivileges.of(rustix::thread::set_no_new_privs(true))?;
    landlock::restrict(plan)?;
    times.pass(Mark::Landlock);
    fds::leave_only_the_agents(seats)?;
    times.pass(Mark::Descriptors);
    let agent = process::inherited(fds::AGENT_IMAGE);
    let errno = process::execute_descriptor(agent.as_fd(), &plan.agent_argv, &plan.agent_env);
    Err(Step::Execute.failed(errno))
}

/// A step that failed in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
    /// Which of several (mounts, rules, limits), counted from 0.
    pub(crate) item: usize,
}

/// The steps, for error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Session,
    CgroupNamespace,
    Hostname,
    Start,
    Propagation,
    PrivateTmp,
    SharedMemory,
    Terminals,
    WorkDirectory,
    ProjectLayers,
    ProjectOverlay,
    Outputs,
    Mount,
    Proc,
    OomScore,
    ProcMask,
    Ipc,
    Network,
    ResourceLimit,
    LandlockRuleOfRoot,
    LandlockRule,
    Groups,
    UserNamespace,
    GroupId,
    UserId,
    Keyring,
    SecureBits,
    BoundingSet,
    AmbientSet,
    CapabilitySets,
    NoNewPrivileges,
    LandlockRestrict,
    Descriptors,
    Execute,
}

impl Step {
    pub(crate) fn failed(self, errno: Errno) -> Failure {
        Failure { step: self, errno, item: 0 }
    }

    fn of<T>(self, result: Result<T, Errno>) -> Result<T, Failure> {
        result.map_err(|errno| self.failed(errno))
    }

    fn of_item<T>(self, item: usize, result: Result<T, Errno>) -> Result<T, Failure> {
        result.map_err(|errno| Failure { step: self, errno, item })
    }

    /// What the step was about to do, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Session => "start a session",
            Self::CgroupNamespace => "make a cgroup namespace",
            Self::Hostname => "set the job's host name",
            Self::Start => "wait for the word to start",
            Self::Propagation => "stop the propagation of mounts",
            Self::PrivateTmp => "mount the private /tmp",
            Self::SharedMemory => "mount the private /dev/shm",
            Self::Terminals => "mount the private /dev/pts",
            Self::WorkDirectory => "mount /work",
            Self::ProjectLayers => "place the layers of /work",
            Self::ProjectOverlay => "mount the overlay at /work",
            Self::Outputs => "mount /outputs",
            Self::Mount => "mount a directory given with --mount",
            Self::Proc => "mount a fresh /proc",
            Self::OomScore => "set the out-of-memory score",
            Self::ProcMask => "mask an entry of /proc",
            Self::Ipc => "enter the IPC namespace",
            Self::Network => "enter the network namespace",
            Self::ResourceLimit => "set a resource limit",
            Self::LandlockRuleOfRoot => "add a Landlock rule for what the root shows",
            Self::LandlockRule => "add a Landlock rule",
            Self::Groups => "drop the supplementary groups",
            Self::UserNamespace => "enter the user namespace",
            Self::GroupId => "set the group id",
            Self::UserId => "set the user id",
            Self::Keyring => "start an empty session keyring",
            Self::SecureBits => "lock the secure bits",
            Self::BoundingSet => "empty the capability bounding set",
            Self::AmbientSet => "empty the ambient capability set",
            Self::CapabilitySets => "empty the capability sets",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::LandlockRestrict => "apply the Landlock ruleset",
            Self::Descriptors => "place the agent's descriptors",
            Self::Execute => "execute the agent",
        }
    }
}
