//! Limits: what was asked for, what the profile says, and what the kernel keeps.

use crate::cgroup::{Cgroups, Controller, JobLimits};
use crate::supervise::Refusal;
use fetchml_api::job::{Layer, LayerState, Limits};
use fetchml_policies::Profile;
use rustix::process::{Resource, Rlimit, getrlimit};

/// The limits of one job: the job's own where it gave one, else the profile's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    memory_bytes: Option<u64>,
    cpus: Option<f64>,
    pids: u64,
}

impl Resolved {
    /// A profile's limit is a ceiling: asking for more is refused, not lowered
    /// behind the user's back.
    pub(super) fn new(asked: &Limits, profile: &Profile) -> Result<Self, Refusal> {
        let above = |flag: &str, asked: String, ceiling: String| {
            Err(Refusal::Invalid(format!(
                "--{flag} {asked} is above what profile `{}` allows ({ceiling}); ask for less or \
                 use another profile",
                profile.name
            )))
        };
        match (asked.memory_bytes, profile.memory_bytes) {
            (Some(a), Some(most)) if a > most => {
                return above("memory", format!("{a} bytes"), format!("{most} bytes"));
            }
            _ => {}
        }
        match (asked.cpus, profile.cpus) {
            (Some(a), Some(most)) if a > most => {
                return above("cpus", a.to_string(), most.to_string());
            }
            _ => {}
        }
        if let Some(a) = asked.pids.filter(|a| *a > profile.pids) {
            return above("pids", a.to_string(), profile.pids.to_string());
        }
        Ok(Self {
            memory_bytes: asked.memory_bytes.or(profile.memory_bytes),
            cpus: asked.cpus.or(profile.cpus),
            pids: asked.pids.unwrap_or(profile.pids),
        })
    }

    /// What the job's cgroup must keep; a refusal when it cannot.
    pub(super) fn cgroup(&self, cgroups: &Cgroups) -> Result<JobLimits, Refusal> {
        for (asked, controller, flag) in [
            (self.memory_bytes.is_some(), Controller::Memory, "memory"),
            (self.cpus.is_some(), Controller::Cpu, "cpus"),
        ] {
            if asked && !cgroups.has(controller) {
                return Err(Refusal::BarrierUnavailable(format!(
                    "a {flag} limit cannot be kept on this machine: {}; leave out --{flag}, or {}",
                    cgroups.why_not(controller),
                    cgroups.remedy()
                )));
            }
        }
        Ok(JobLimits {
            memory_bytes: self.memory_bytes,
            cpus: self.cpus,
            // RLIMIT_NPROC of an id that no other job shares keeps the number
            // everywhere; the controller does it besides where there is one.
            pids: cgroups.has(Controller::Pids).then_some(self.pids.saturating_add(1)),
        })
    }

    /// Resource limits of the agent and everything it starts.
    pub(super) fn rlimits(&self, profile: &Profile) -> Vec<(Resource, Rlimit)> {
        const MIB: u64 = 1 << 20;
        let both = |n: u64| (Some(n), Some(n));
        [
            (Resource::Core, both(core_limit(&core_pattern()))),
            (Resource::Nofile, both(profile.open_files)),
            // One more for the agent itself.
            (Resource::Nproc, both(self.pids.saturating_add(1))),
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
