//! Where the time of one attempt goes: clock readings that planning, launcher
//! and child leave as they pass. A reading costs about 25 ns, so they
//! are always taken; only the bench reads them.

use rustix::time::{ClockId, clock_gettime};

/// A point that every attempt passes: the supervisor's in order, and beside them those of
/// launcher and child, which begin at [`Mark::Rooted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mark {
    /// The request came in.
    Asked,
    /// What its root depends on is known, and its cgroup is there: the child is ordered.
    Rooted,
    /// The launcher's thread was let to run, and the job's directory is there.
    Directory,
    /// The job has its host id and its user, network and IPC namespaces.
    Identity,
    /// The directories are cloned, their ids mapped and the overlay mounted.
    Trees,
    /// The plan is complete.
    Planned,
    /// The start was ordered.
    Ordered,
    /// The launcher thread has it, in the mount namespace of the prepared root.
    Taken,
    /// The child's first instruction.
    Cloned,
    /// Session, cgroup view and host name are set.
    Named,
    /// /proc is mounted, masked and read-only.
    Proc,
    /// The private temporary file systems are mounted.
    Temporary,
    /// The rest of the plan is there, and the word to start.
    Started,
    /// /work, /outputs and further directories are mounted.
    Directories,
    /// The network and IPC namespaces are entered.
    Channels,
    /// Resource limits are set and Landlock's rules complete.
    Rules,
    /// User namespace entered, ids and keyring changed.
    Ids,
    /// All capability sets are as planned.
    Capabilities,
    /// no_new_privs set and Landlock applied.
    Landlock,
    /// Only the agent's descriptors are left; the child executes the agent.
    Descriptors,
    /// The launcher thread runs again: the agent was executed.
    Executed,
    /// The attempt is being followed.
    Followed,
}

const MARKS: usize = Mark::Followed as usize + 1;

/// The names of the stretches that end at each mark, for tables.
const NAMES: [&str; MARKS] = [
    "request",
    "cgroup, what the root depends on",
    "order of the child, job directory",
    "host id, user, network, IPC namespaces",
    "clone the directories, map ids, overlay",
    "rest of the plan",
    "word to start",
    "launcher thread wakes",
    "clone3 to the child's first instruction",
    "session, cgroup namespace, host name",
    "/proc with masks",
    "/tmp and /dev/shm",
    "wait for the word to start",
    "/work, /outputs, further mounts",
    "enter the network, IPC namespaces",
    "resource limits, Landlock rules",
    "user namespace, ids, keyring",
    "capabilities, secure bits",
    "no_new_privs, Landlock",
    "descriptors",
    "execute the agent",
    "supervisor follows",
];

/// Readings of CLOCK_MONOTONIC in nanoseconds, 0 where a point was not passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchTimes {
    marks: [u64; MARKS],
}

impl LaunchTimes {
    /// Readings that begin now.
    #[must_use]
    pub fn begin() -> Self {
        let mut times = Self::default();
        times.pass(Mark::Asked);
        times
    }

    /// Notes that a point is passed. Child-safe: clock_gettime(2) in the vDSO.
    pub fn pass(&mut self, mark: Mark) {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(now.tv_nsec).unwrap_or(0);
        if let Some(place) = self.marks.get_mut(mark as usize) {
            *place = nanos;
        }
    }

    /// When a point was passed, nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn at(&self, mark: Mark) -> u64 {
        self.marks.get(mark as usize).copied().unwrap_or(0)
    }

    /// Takes over the points that others passed.
    pub(crate) fn join(&mut self, others: &Self) {
        for (own, other) in self.marks.iter_mut().zip(others.marks) {
            *own = (*own).max(other);
        }
    }

    /// Each stretch with its name and its length in nanoseconds.
    pub fn stretches(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let begins = |mark: usize| match mark {
            taken if taken == Mark::Taken as usize => self.at(Mark::Rooted),
            mark => self.marks.get(mark - 1).copied().unwrap_or(0),
        };
        let ends = self.marks.iter().zip(NAMES).enumerate().skip(1);
        ends.map(move |(mark, (end, name))| (name, end.saturating_sub(begins(mark))))
    }
}
