//! What the machine has to give to jobs, and what a job takes of it.

use fetchml_api::job::JobSpec;
use fetchml_policies::Profile;
use serde::Serialize;

/// A processor's share in thousandths, so that sums are exact.
pub type MilliCpus = u64;

/// What the machine has for jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Jobs at once, whatever they ask for.
    pub slots: usize,
    /// Processors.
    pub milli_cpus: MilliCpus,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Accelerators, in the order in which they are given out.
    pub gpus: Vec<Gpu>,
}

/// One accelerator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Gpu {
    /// The machine's name for it, stable while it is there: `nvidia0`, `amd1`.
    pub name: String,
    /// What it is, for people and for `--gpu-type`: `NVIDIA H100 80GB HBM3`.
    pub kind: String,
}

/// What a job takes for itself while it runs. Nobody else is promised it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Needs {
    /// Processors.
    pub milli_cpus: MilliCpus,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Accelerators.
    pub gpus: u32,
    /// Part of the name that these must have, in lower case.
    pub gpu_kind: Option<String>,
}

impl Needs {
    /// What a job reserves: the limits that it asked for or that its profile sets.
    /// A job without a limit has a slot and no promise.
    #[must_use]
    pub fn of(spec: &JobSpec, profile: &Profile) -> Self {
        let cpus = spec.limits.cpus.or(profile.cpus).unwrap_or(0.0);
        Self {
            milli_cpus: milli(cpus),
            memory_bytes: spec.limits.memory_bytes.or(profile.memory_bytes).unwrap_or(0),
            gpus: spec.gpus.count,
            gpu_kind: spec.gpus.kind.as_ref().map(|kind| kind.to_lowercase()),
        }
    }
}

/// Processors in thousandths; a job's are checked to be between 0.01 and 4,096.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn milli(cpus: f64) -> MilliCpus {
    (cpus * 1000.0).round() as MilliCpus
}

impl Gpu {
    /// Whether it is of the kind that was asked for, in lower case.
    #[must_use]
    pub fn is_of(&self, kind: Option<&str>) -> bool {
        kind.is_none_or(|kind| self.kind.to_lowercase().contains(kind))
    }
}
