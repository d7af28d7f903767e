//! Limits: what was asked for, what the profile says, and what the kernel keeps.

use crate::cgroup::{Cgroups, Controller, JobLimits};
use crate::supervise::Refusal;
use fetchml_api::cpus::CpuSet;
use fetchml_api::job::{Layer, LayerState, Limits};
use fetchml_policies::Profile;
use rustix::process::{Resource, Rlimit, getrlimit};

/// The limits of one job: the job's own where it gave one, else the profile's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    memory_bytes: Option<u64>,
    cpus: Option<f64>,
    cpuset: Option<CpuSet>,
    pids: u64,
    disk_bytes: Option<u64>,
    pub(super) log_bytes: u64,
    cpu_weight: u32,
    io_weight: u32,
}

/// The job's own limit, which may not be above the profile's: asking for more is
/// refused, not lowered behind the user's back.
fn within<T: PartialOrd + Copy>(
    profile: &Profile,
    flag: &str,
    asked: Option<T>,
    most: Option<T>,
    words: impl Fn(T) -> String,
) -> Result<Option<T>, Refusal> {
    match (asked, most) {
        (Some(asked), Some(most)) if asked > most => Err(Refusal::Invalid(format!(
            "--{flag} {} is above what profile `{}` allows ({}); ask for less or use another \
             profile",
            words(asked),
            profile.name,
            words(most)
        ))),
        _ => Ok(asked.or(most)),
    }
}

/// The CPUs that the job asked for, which must be among the profile's.
fn cpuset(asked: Option<CpuSet>, profile: &Profile) -> Result<Option<CpuSet>, Refusal> {
    let beyond = asked.zip(profile.cpuset).and_then(|(asked, most)| asked.beyond(&most));
    match (beyond, profile.cpuset) {
        (Some(beyond), Some(most)) => Err(Refusal::Invalid(format!(
            "--cpuset has CPU {beyond}, but jobs of profile `{}` run on {most} alone; ask for \
             some of these or use another profile",
            profile.name
        ))),
        _ => Ok(asked.or(profile.cpuset)),
    }
}

impl Resolved {
    /// What holds, or the refusal of the first limit that is above the profile's.
    pub(super) fn new(asked: &Limits, profile: &Profile) -> Result<Self, Refusal> {
        let usual = |flag: &str, asked: Option<u32>, most: u32| {
            // A profile that gives nothing beyond the usual takes nothing from anybody
            // either: the usual weight is its ceiling.
            within(profile, flag, asked, Some(most), |n| n.to_string())
                .map(|weight| weight.unwrap_or(most))
        };
        let pids = within(profile, "pids", asked.pids, Some(profile.pids), |n| n.to_string())?;
        let (log, most) = (asked.log_bytes, Some(profile.log_bytes));
        let log = within(profile, "log-limit", log, most, crate::size)?;
        Ok(Self {
            memory_bytes: within(
                profile,
                "memory",
                asked.memory_bytes,
                profile.memory_bytes,
                crate::size,
            )?,
            cpus: within(profile, "cpus", asked.cpus, profile.cpus, |n| n.to_string())?,
            cpuset: cpuset(asked.cpuset, profile)?,
            pids: pids.unwrap_or(profile.pids),
            disk_bytes: within(profile, "disk", asked.disk_bytes, profile.disk_bytes, crate::size)?,
            log_bytes: log.unwrap_or(profile.log_bytes),
            cpu_weight: usual("cpu-weight", asked.cpu_weight, profile.cpu_weight)?,
            io_weight: usual("io-weight", asked.io_weight, profile.io_weight)?,
        })
    }

    /// What the job's cgroup must keep; a refusal when it cannot.
    pub(super) fn cgroup(&self, cgroups: &Cgroups) -> Result<JobLimits, Refusal> {
        let weight = |weight: u32| (weight != Profile::USUAL_WEIGHT).then_some(weight);
        let (cpu_weight, io_weight) = (weight(self.cpu_weight), weight(self.io_weight));
        for (asked, controller, flag) in [
            (self.memory_bytes.is_some(), Controller::Memory, "memory"),
            (self.cpus.is_some(), Controller::Cpu, "cpus"),
            (self.cpuset.is_some(), Controller::Cpuset, "cpuset"),
            (cpu_weight.is_some(), Controller::Cpu, "cpu-weight"),
            (io_weight.is_some(), Controller::Io, "io-weight"),
        ] {
            if asked && !cgroups.has(controller) {
                return Err(Refusal::BarrierUnavailable(format!(
                    "a {flag} limit cannot be kept on this machine: {}; leave out --{flag}, or {}",
                    cgroups.why_not(controller),
                    cgroups.remedy()
                )));
            }
        }
        if io_weight.is_some() && !cgroups.weighs_io() {
            return Err(Refusal::BarrierUnavailable(
                "an io-weight cannot be kept on this machine: its kernel weighs no groups (it has \
                 neither io.weight nor the BFQ scheduler); leave out --io-weight"
                    .to_owned(),
            ));
        }
        if let Some(set) = self.cpuset
            && let Some(most) = cgroups.cpus()
            && let Some(beyond) = set.beyond(&most)
        {
            return Err(Refusal::Invalid(format!(
                "--cpuset has CPU {beyond}, but jobs of this machine run on {most}; ask for some \
                 of these"
            )));
        }
        Ok(JobLimits {
            memory_bytes: self.memory_bytes,
            cpus: self.cpus,
            cpuset: self.cpuset,
            // RLIMIT_NPROC of an id that no other job shares keeps the number
            // everywhere; the controller does it besides where there is one.
            pids: cgroups.has(Controller::Pids).then_some(self.with_agent()),
            cpu_weight,
            io_weight,
        })
    }

    /// Processes and threads of the job and its agent.
    fn with_agent(&self) -> u64 {
        self.pids.saturating_add(1)
    }

    /// Resource limits of the agent and everything it starts.
    pub(super) fn rlimits(&self, profile: &Profile, in_pids: bool) -> Vec<(Resource, Rlimit)> {
        const MIB: u64 = 1 << 20;
        // The kernel asks this limit first. One more than the controller's leaves
        // the refusal, and the count of it that the report tells of, to that.
        let processes = self.with_agent().saturating_add(u64::from(in_pids));
        let both = |n: u64| (Some(n), Some(n));
        [
            (Resource::Core, both(core_limit(&core_pattern()))),
            (Resource::Nofile, both(profile.open_files)),
            (Resource::Nproc, both(processes)),
            (Resource::Memlock, both(64 * MIB)),
            (Resource::Msgqueue, both(0)),
            (Resource::Nice, both(0)),
            (Resource::Rtprio, both(0)),
            (Resource::Stack, (Some(8 * MIB), None)),
            (Resource::As, (None, None)),
            (Resource::Data, (None, None)),
            (Resource::Fsize, (None, None)),
            (Resource::Cpu, (None, None)),
        ]
        .into_iter()
        .map(|(resource, (current, maximum))| (resource, within_ours(resource, current, maximum)))
        .collect()
    }

    /// The layer in words.
    pub(super) fn layer(&self, in_cgroup: bool) -> Layer {
        let mut words = vec![format!("at most {} processes and threads", self.pids)];
        if let Some(bytes) = self.memory_bytes {
            words.push(format!("{bytes} bytes of memory"));
        }
        if let Some(cpus) = self.cpus {
            words.push(format!("{cpus} cpus"));
        }
        if let Some(set) = self.cpuset {
            words.push(format!("on cpus {set}"));
        }
        if let Some(bytes) = self.disk_bytes {
            words.push(format!("{bytes} bytes on the disk"));
        }
        words.push(format!("{} bytes of log", self.log_bytes));
        for (what, weight) in [("cpu", self.cpu_weight), ("io", self.io_weight)] {
            if weight != Profile::USUAL_WEIGHT {
                words.push(format!("{what} weight {weight}"));
            }
        }
        if in_cgroup {
            words.push("own cgroup".into());
        }
        Layer { name: "limits".into(), state: LayerState::Held, detail: words.join(", ") }
    }
}

/// The limit at which nothing becomes of a core dump (core(5)). At 0 there is no file.
/// A helper of the host is started all the same, as root and with the job's memory as
/// its input: only 1 keeps the kernel from that, and is too little for a file as well.
fn core_limit(pattern: &str) -> u64 {
    match pattern.chars().next() {
        Some('|' | '@') | None => 1,
        Some(_) => 0,
    }
}

/// Empty when it cannot be read.
fn core_pattern() -> String {
    std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default()
}

/// The limit, but never above the supervisor's own: raising one needs a
/// capability (CAP_SYS_RESOURCE) that a supervisor in a container may lack.
fn within_ours(resource: Resource, current: Option<u64>, maximum: Option<u64>) -> Rlimit {
    let ours = getrlimit(resource).maximum;
    let lower = |wanted: Option<u64>| match (wanted, ours) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Rlimit { current: lower(current), maximum: lower(maximum) }
}

#[cfg(test)]
mod tests {
    use super::core_limit;

    #[test]
    fn only_a_host_with_a_helper_needs_the_limit_that_stops_it() {
        assert_eq!(core_limit("core"), 0);
        assert_eq!(core_limit("/var/crash/%p"), 0);
        assert_eq!(core_limit("|/usr/lib/systemd/systemd-coredump %P"), 1);
        assert_eq!(core_limit("@/run/coredump.socket"), 1);
        assert_eq!(core_limit(""), 1);
    }
}
