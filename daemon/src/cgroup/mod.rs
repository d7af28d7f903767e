//! Control groups, version 2: one for each job, where its limits are kept and
//! from which its use and its out-of-memory kills are read.
//!
//! On a system with the package the jobs' groups lie below the delegated unit
//! `fetchml-jobs.service`: a group of our own unit would keep systemd before 254
//! from restarting us, because a group with enabled controllers takes no
//! processes. Elsewhere (a private supervisor) they lie below the group that we
//! were started in.

mod job;
mod place;

pub(crate) use job::{GroupUse, JobCgroup};

use crate::supervise::Refusal;
use fetchml_api::cpus::CpuSet;
use fetchml_api::job::JobId;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Controllers that limits need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
    Io,
    Cpuset,
}

impl Controller {
    /// What every job's group has.
    const USUAL: [Self; 4] = [Self::Memory, Self::Cpu, Self::Pids, Self::Io];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Cpuset => "cpuset",
        }
    }
}

/// Limits that a job's group keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JobLimits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) cpuset: Option<CpuSet>,
    pub(crate) pids: Option<u64>,
    pub(crate) cpu_weight: Option<u32>,
    pub(crate) io_weight: Option<u32>,
}

/// What the groups around the jobs' leave them, whatever the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
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
        match place::parent_group(name) {
            Ok(parent) => {
                place::enable_controllers(&parent, &Controller::USUAL);
                let enabled =
                    fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
                let has = |c: &Controller| enabled.split_whitespace().any(|w| w == c.name());
                found.available = Controller::USUAL.into_iter().filter(has).collect();
                found.parent = Some(parent);
            }
            Err(problem) => found.problem = problem,
        }
        found
    }

    pub(crate) fn has(&self, controller: Controller) -> bool {
        match controller {
            Controller::Cpuset => self.cpus().is_some(),
            _ => self.available.contains(&controller),
        }
    }

    /// The CPUs that jobs may run on, where a job can have some of them alone. The
    /// controller for it is enabled by the first job that wants it, since it makes
    /// each launch dearer.
    pub(crate) fn cpus(&self) -> Option<CpuSet> {
        let file = self.parent.as_ref()?.join("cpuset.cpus.effective");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Whether a group's weight for the disks can be set: by the controller's own
    /// cost model, or by the BFQ scheduler.
    pub(crate) fn weighs_io(&self) -> bool {
        let offers = |file: &&str| self.parent.as_ref().is_some_and(|p| p.join(file).exists());
        self.has(Controller::Io) && job::IO_WEIGHTS.iter().any(offers)
    }

    /// The tightest limits above the jobs' groups.
    pub(crate) fn bounds(&self) -> Bounds {
        self.parent.as_deref().map(place::bounds).unwrap_or_default()
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
        if names.len() == Controller::USUAL.len() {
            Ok(format!("{} with {}", parent.display(), names.join(", ")))
        } else {
            let have = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(format!("{} has of memory, cpu, pids, io: {have}", parent.display()))
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
        if limits.cpuset.is_some() {
            place::enable_controllers(parent, &[Controller::Cpuset]);
        }
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
        let group = JobCgroup::open(parent, group_name(job)).map_err(|e| failed("open", e))?;
        if let Err(e) = group.set(limits) {
            group.remove();
            return Err(failed("set the limits of", e));
        }
        Ok(Some(group))
    }

    /// The group of a job of an earlier run of the supervisor.
    pub(crate) fn existing(&self, job: JobId) -> Option<JobCgroup> {
        JobCgroup::open(self.parent.as_ref()?, group_name(job)).ok()
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

/// The number alone: every user of the machine can read the names of groups.
fn group_name(job: JobId) -> String {
    format!("job-{job}")
}
