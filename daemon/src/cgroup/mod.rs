//! Control groups, version 2: one for each job, where its limits are kept and
//! from which its use and its out-of-memory kills are read.
//!
//! On a system with the package the jobs' groups lie below the delegated unit
//! `fetchml-jobs.service`: a group of our own unit would keep systemd before 254
//! from restarting us, because a group with enabled controllers takes no
//! processes. Elsewhere (a private supervisor) they lie below the group that we
//! were started in.

use crate::supervise::Refusal;
use fetchml_api::job::JobId;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Unit whose delegated group holds the jobs' groups.
const JOBS_UNIT: &str = "fetchml-jobs.service";

/// Controllers that limits need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// Limits that a job's group keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JobLimits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) pids: Option<u64>,
}

/// The group below which the jobs' groups are made.
#[derive(Debug)]
pub(crate) struct Cgroups {
    parent: Option<PathBuf>,
    available: Vec<Controller>,
    system: bool,
    problem: String,
}

impl Cgroups {
    /// Finds or makes the parent group. `name` tells private supervisors apart;
    /// `None` is the system service.
    pub(crate) fn detect(name: Option<&str>) -> Self {
        let mut found = Self {
            parent: None,
            available: Vec::new(),
            system: name.is_none(),
            problem: String::new(),
        };
        match parent_group(name) {
            Ok(parent) => {
                enable_controllers(&parent);
                let enabled =
                    fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
                let has = |c: &Controller| enabled.split_whitespace().any(|w| w == c.name());
                found.available = Controller::ALL.into_iter().filter(has).collect();
                found.parent = Some(parent);
            }
            Err(problem) => found.problem = problem,
        }
        found
    }

    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.available.contains(&controller)
    }

    /// Why a controller is not there.
    pub(crate) fn why_not(&self, controller: Controller) -> String {
        match &self.parent {
            None => self.problem.clone(),
            Some(parent) => format!(
                "the cgroup v2 controller `{}` is not available below {}",
                controller.name(),
                parent.display()
            ),
        }
    }

    /// What to do about a missing controller.
    pub(crate) fn remedy(&self) -> &'static str {
        if self.system {
            "boot with the unified cgroup hierarchy (systemd.unified_cgroup_hierarchy=1) and \
             start fetchml-jobs.service"
        } else {
            "use the system service, or start the private supervisor with \
             `systemd-run --scope -p Delegate=yes`"
        }
    }

    /// What `doctor` says: the place and the controllers.
    pub(crate) fn describe(&self) -> Result<String, String> {
        let Some(parent) = &self.parent else { return Err(self.problem.clone()) };
        let names: Vec<_> = self.available.iter().map(|c| c.name()).collect();
        if names.len() == Controller::ALL.len() {
            Ok(format!("{} with {}", parent.display(), names.join(", ")))
        } else {
            let have = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(format!("{} has of memory, cpu, pids: {have}", parent.display()))
        }
    }

    /// Makes the group of a job with its limits; `None` on a machine without
    /// cgroup v2, where a limit that needs one was refused before.
    pub(crate) fn create(
        &self,
        job: JobId,
        limits: &JobLimits,
    ) -> Result<Option<JobCgroup>, Refusal> {
        let Some(parent) = &self.parent else { return Ok(None) };
        let path = parent.join(group_name(job));
        let failed = |what: &str, e: io::Error| {
            Refusal::Infrastructure(format!("cannot {what} cgroup {}: {e}", path.display()))
        };
        match fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Left behind by an attempt that ended while nobody looked.
                fs::remove_dir(&path).map_err(|e| failed("replace", e))?;
                fs::create_dir(&path).map_err(|e| failed("make", e))?;
            }
            other => other.map_err(|e| failed("make", e))?,
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed("open", e.into()))?;
        let group = JobCgroup { path: path.clone(), directory };
        group.set(limits).map_err(|e| failed("set the limits of", e))?;
        Ok(Some(group))
    }

    /// The group of a job of an earlier run of the supervisor.
    pub(crate) fn existing(&self, job: JobId) -> Option<JobCgroup> {
        let path = self.parent.as_ref()?.join(group_name(job));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty()).ok()?;
        Some(JobCgroup { path, directory })
    }

    /// Removes groups that a crash left without a process.
    pub(crate) fn sweep(&self) {
        let Some(parent) = &self.parent else { return };
        let is_job = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with("job-");
        for entry in fs::read_dir(parent).into_iter().flatten().flatten().filter(is_job) {
            // Fails as long as the job runs, which is what we want.
            let _ = fs::remove_dir(entry.path());
        }
    }

    /// Called when the supervisor stops: what a crash left goes, and the parent of a
    /// private supervisor that leaves no job behind.
    pub(crate) fn leave(&self) {
        self.sweep();
        if let Some(parent) = self.parent.as_ref().filter(|_| !self.system) {
            let _ = fs::remove_dir(parent);
        }
    }
}

fn group_name(job: JobId) -> String {
    format!("job-{job}")
}

/// The group of one job.
#[derive(Debug)]
pub(crate) struct JobCgroup {
    path: PathBuf,
    directory: OwnedFd,
}

/// What a group says at the end of its job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupUse {
    /// Highest memory use in bytes (`memory.peak`, Linux 5.19).
    pub(crate) memory_peak_bytes: Option<u64>,
    /// Its memory limit in bytes, when it had one.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Processes that the out-of-memory killer ended (`memory.events`).
    pub(crate) oom_kills: u64,
    /// CPU time in user mode and in the kernel, microseconds (`cpu.stat`).
    pub(crate) cpu_usec: Option<(u64, u64)>,
}

impl JobCgroup {
    /// For CLONE_INTO_CGROUP.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        use rustix::fd::AsFd;
        self.directory.as_fd()
    }

    fn set(&self, limits: &JobLimits) -> io::Result<()> {
        const PERIOD_USEC: f64 = 100_000.0;
        if let Some(bytes) = limits.memory_bytes {
            self.write("memory.max", &bytes.to_string())?;
            // Without swap the limit means what it says. A kernel without swap
            // accounting has no such file.
            match self.write("memory.swap.max", "0") {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        if let Some(cpus) = limits.cpus {
            let mut quota = String::new();
            let _ = write!(quota, "{:.0} {PERIOD_USEC:.0}", (cpus * PERIOD_USEC).max(1000.0));
            self.write("cpu.max", &quota)?;
        }
        if let Some(pids) = limits.pids {
            self.write("pids.max", &pids.to_string())?;
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.path.join(file), text)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    /// Whether no process is left in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.read("cgroup.events").is_some_and(|e| e.lines().any(|l| l == "populated 0"))
    }

    /// What the job used. Read before [`JobCgroup::remove`].
    pub(crate) fn usage(&self) -> GroupUse {
        let number = |file: &str| self.read(file)?.trim().parse().ok();
        let keyed = |file: &str, key: &str| -> Option<u64> {
            self.read(file)?
                .lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
        };
        GroupUse {
            memory_peak_bytes: number("memory.peak"),
            memory_max_bytes: number("memory.max"),
            oom_kills: keyed("memory.events", "oom_kill").unwrap_or(0),
            cpu_usec: keyed("cpu.stat", "user_usec").zip(keyed("cpu.stat", "system_usec")),
        }
    }

    /// Kills what may be left and removes the group.
    pub(crate) fn remove(&self) {
        let _ = self.write("cgroup.kill", "1");
        // EBUSY as long as a killed process is not gone; the next attempt at the
        // same name removes what is left.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Where the jobs' groups go.
fn parent_group(name: Option<&str>) -> Result<PathBuf, String> {
    let root = hierarchy().ok_or("there is no cgroup v2 hierarchy on this machine")?;
    let own = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|t| t.lines().find_map(|l| l.strip_prefix("0::/").map(str::to_owned)))
        .ok_or("this process is in no cgroup v2 group")?;
    let own = root.join(own);
    let Some(name) = name else {
        let jobs = own.parent().unwrap_or(&root).join(JOBS_UNIT);
        return if jobs.is_dir() {
            Ok(jobs)
        } else {
            Err(format!("{JOBS_UNIT} is not running, so there is no group for jobs"))
        };
    };
    if is_delegated(&own) {
        enable_controllers(&own);
    }
    let parent = own.join(name);
    match fs::create_dir(&parent) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make cgroup {}: {e}", parent.display()))
        }
        _ => Ok(parent),
    }
}

/// Whether systemd gave the group away, which it marks for `Delegate=yes`. Only then
/// are its processes ours to move into a child group, and while they are in it
/// none of its controllers can be enabled.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 2];
    rustix::fs::getxattr(group, c"trusted.delegate", &mut value)
        .is_ok_and(|len| value.get(..len) == Some(b"1"))
}

/// Mount point of the version 2 hierarchy. A mount may be hidden by a later one,
/// so the file system that answers at the place is asked.
fn hierarchy() -> Option<PathBuf> {
    // CGROUP2_SUPER_MAGIC of statfs(2).
    const CGROUP2: i64 = 0x6367_7270;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut mounts = table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    });
    let answers = |path: &PathBuf| rustix::fs::statfs(path).is_ok_and(|s| s.f_type == CGROUP2);
    mounts.find(answers)
}

/// Enables what there is for the children of a group. Processes of the group
/// itself (the unit's holder) move to a child first: a group with enabled
/// controllers holds none.
fn enable_controllers(parent: &Path) {
    let holder = parent.join("holder");
    let procs = fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
    if !procs.trim().is_empty() && fs::create_dir(&holder).is_ok() || holder.is_dir() {
        for pid in procs.lines() {
            let _ = fs::write(holder.join("cgroup.procs"), pid);
        }
    }
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for name in available.split_whitespace() {
        if Controller::ALL.iter().any(|c| c.name() == name) || name == "io" {
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}
