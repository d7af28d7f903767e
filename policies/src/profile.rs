//! Sandbox profiles as they are after reading, inheritance and checking.

use crate::devices;
use fetchml_api::cpus::CpuSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A resolved, checked profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Name, the stem of its file.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What a job reaches over the network unless it asks for less.
    pub network_mode: Network,
    /// What a job may ask for instead, itself included: every mode that gives no
    /// more than `network_mode`, and loopback where the filter has sockets for it.
    pub networks: Vec<Network>,
    /// The root and everything the profile binds into it is read-only. Always
    /// true: a profile that says false is refused.
    pub read_only_root: bool,
    /// Always true: a profile that says false is refused.
    pub no_new_privileges: bool,
    /// Empty all five capability sets.
    pub drop_all_caps: bool,
    /// Capabilities kept in the job's own user namespace, `CAP_…`. Empty by default.
    pub allowed_caps: Vec<String>,
    /// Enter a user namespace of the job's own, last.
    pub user_ns: bool,
    /// User id seen inside the job.
    pub run_as_uid: u32,
    /// Group id seen inside the job.
    pub run_as_gid: u32,
    /// Name of the seccomp profile (`policies/seccomp/NAME.json`).
    pub seccomp_profile: String,
    /// Calls allowed beyond it, with their reasons (`[calls.allow]`).
    pub allowed_calls: BTreeMap<String, String>,
    /// Calls that it lets through and no built-in profile does, by name; those of
    /// which a built-in one lets a part through as `NAME with more arguments`.
    #[serde(default)]
    pub weaker_calls: Vec<String>,
    /// Whether denied system calls are counted.
    pub denials: Denials,
    /// Calls whose denials are not counted, by name.
    pub quiet_calls: Vec<String>,
    /// Longest run in microseconds, from `max_runtime_hours`.
    pub max_runtime_usec: u64,
    /// Whether a kernel without (part of) Landlock refuses the job.
    pub landlock: Demand,
    /// Time between TERM and KILL, microseconds (`stop_grace_seconds`).
    pub stop_grace_usec: u64,
    /// Host paths shown read-only at the same place (`[root] show`), in order.
    pub show: Vec<Shown>,
    /// Character devices shown at the same place (`[root] devices`), in order;
    /// patterns of [`crate::devices::matches`].
    pub devices: Vec<Shown>,
    /// Whether a job has pseudo-terminals, of its own alone (`[root] terminals`).
    #[serde(default)]
    pub terminals: bool,
    /// Size of the private /tmp in bytes (`[root] tmp_size`).
    pub tmp_bytes: u64,
    /// Size of the private /dev/shm in bytes (`[root] shm_size`).
    pub shm_bytes: u64,
    /// `RLIMIT_NOFILE` (`[limits] open_files`).
    pub open_files: u64,
    /// Processes and threads (`[limits] pids`).
    pub pids: u64,
    /// Memory in bytes (`[limits] memory`), when the profile sets one.
    pub memory_bytes: Option<u64>,
    /// CPUs (`[limits] cpus`), when the profile sets them.
    pub cpus: Option<f64>,
    /// The CPUs that jobs run on (`[limits] cpuset`), when the profile names some.
    pub cpuset: Option<CpuSet>,
    /// Bytes of outputs and changes in the project (`[limits] disk`), when the
    /// profile limits them.
    pub disk_bytes: Option<u64>,
    /// Bytes of the log (`[limits] log`).
    pub log_bytes: u64,
    /// Share of processor time (`[limits] cpu_weight`); 100 where none is given.
    pub cpu_weight: u32,
    /// Share of the disks (`[limits] io_weight`); 100 where none is given.
    pub io_weight: u32,
    /// Variables every job gets (`[env]`).
    pub env: BTreeMap<String, String>,
}

/// Network modes of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Own namespace, loopback down.
    None,
    /// Own namespace, loopback up.
    Loopback,
    /// The host's own network.
    Host,
}

impl Profile {
    /// The weight of a group that was given none (cgroups(7)).
    pub const USUAL_WEIGHT: u32 = 100;

    /// In which ways this profile gives more than an ordinary user may have, in
    /// words; empty when everybody may use it. Calls that a built-in profile allows
    /// too are no privilege, debuggers' among them: they reach processes of the same
    /// job alone.
    #[must_use]
    pub fn privileges(&self) -> Vec<String> {
        let caps = self.allowed_caps.iter().map(|name| format!("keeps {name} (allowed_caps)"));
        let network = (self.network_mode == Network::Host)
            .then(|| "uses the host's network (network_mode)".to_owned());
        let devices = self.devices.iter().filter(|shown| devices::reaches_out(&shown.path));
        let devices =
            devices.map(|shown| format!("reaches other machines by {} (root.devices)", shown.path));
        let calls = self.weaker_calls.iter().map(|call| {
            let own = call.split(' ').next().is_some_and(|n| self.allowed_calls.contains_key(n));
            let key = if own { "calls.allow" } else { "seccomp_profile" };
            format!("allows {call} ({key})")
        });
        caps.chain(network).chain(devices).chain(calls).collect()
    }

    /// What of [`Profile::privileges`] is not among those that were granted once.
    #[must_use]
    pub fn privileges_beyond(&self, granted: &[String]) -> Vec<String> {
        self.privileges().into_iter().filter(|one| !granted.contains(one)).collect()
    }
}

/// Most privileges that one sentence names.
const NAMED: usize = 6;

/// Privileges in one sentence: the first of them, and how many more there are.
#[must_use]
pub fn in_words(privileges: &[String]) -> String {
    let (named, rest) = privileges.split_at(privileges.len().min(NAMED));
    match rest.len() {
        0 => named.join(" and "),
        more => format!("{} and {more} more (see `fetchmlctl policy show`)", named.join(", ")),
    }
}

/// What becomes of denied system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denials {
    /// The agent counts them and answers with the rule's error.
    Count,
    /// The kernel answers alone, and nobody learns of it.
    Silent,
}

/// What happens when a layer cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// The job is refused.
    Required,
    /// The job runs; report and audit say what was missing.
    BestEffort,
}

/// One host path shown in the job's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Absolute host path, the same inside.
    pub path: String,
    /// Left out without a word when the host has no such path.
    pub optional: bool,
}
