//! Limits: what was asked for, what the profile says, and what the kernel keeps.

use crate::cgroup::{Cgroups, Controller, JobLimits};
use crate::supervise::Refusal;
use fetchml_api::job::{Layer, LayerState, Limits};
use fetchml_policies::Profile;
use rustix::process::{Resource, Rlimit};

/// The limits of one job: the job's own where it gave one, else the profile's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    memory_bytes: Option<u64>,
    cpus: Option<f64>,
    pids: u64,
}

impl Resolved {
    pub(super) fn new(asked: &Limits, profile: &Profile) -> Self {
        // A profile's limit is a ceiling.
        let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let cpus = match (asked.cpus, profile.cpus) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            memory_bytes: lower(asked.memory_bytes, profile.memory_bytes),
            cpus,
            pids: asked.pids.map_or(profile.pids, |p| p.min(profile.pids)),
        }
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
        let both = |n: u64| Rlimit { current: Some(n), maximum: Some(n) };
        vec![
            // A core dump would put the job's memory on the disk.
            (Resource::Core, both(0)),
            (Resource::Nofile, both(profile.open_files)),
            // One more for the agent itself.
            (Resource::Nproc, both(self.pids.saturating_add(1))),
            (Resource::Memlock, both(64 * MIB)),
            (Resource::Msgqueue, both(0)),
            (Resource::Nice, both(0)),
            (Resource::Rtprio, both(0)),
            (Resource::Stack, Rlimit { current: Some(8 * MIB), maximum: None }),
            (Resource::As, Rlimit { current: None, maximum: None }),
            (Resource::Data, Rlimit { current: None, maximum: None }),
            (Resource::Fsize, Rlimit { current: None, maximum: None }),
            (Resource::Cpu, Rlimit { current: None, maximum: None }),
        ]
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

