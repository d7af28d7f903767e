//! What one user may have.

use super::{MilliCpus, Needs, Share};
use std::fmt;

/// Most that one user may have; `None` for no limit of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quota {
    /// Jobs that run at once.
    pub running_jobs: Option<usize>,
    /// Processors of running jobs.
    pub milli_cpus: Option<MilliCpus>,
    /// Memory of running jobs, bytes.
    pub memory_bytes: Option<u64>,
    /// Accelerators of running jobs.
    pub gpus: Option<u32>,
    /// Accelerator-hours of late, as [`Share::gpu_seconds`] counts them.
    pub gpu_hours: Option<f64>,
}

/// What a user's running jobs take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) jobs: usize,
    milli_cpus: MilliCpus,
    memory_bytes: u64,
    gpus: u32,
}

impl InUse {
    pub(super) fn take(&mut self, needs: &Needs) {
        self.jobs += 1;
        self.milli_cpus += needs.milli_cpus;
        self.memory_bytes += needs.memory_bytes;
        self.gpus += needs.gpus;
    }

    pub(super) fn give_back(&mut self, needs: &Needs) {
        self.jobs -= 1;
        self.milli_cpus -= needs.milli_cpus;
        self.memory_bytes -= needs.memory_bytes;
        self.gpus -= needs.gpus;
    }
}

/// A quota that a job would exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exceeded {
    /// Jobs at once.
    Jobs(usize),
    /// Processors.
    Cpus(MilliCpus),
    /// Memory, bytes.
    Memory(u64),
    /// Accelerators.
    Gpus(u32),
    /// Accelerator-hours.
    GpuHours(f64),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Jobs(most) => write!(f, "{most} running jobs"),
            Self::Cpus(most) => write!(f, "{} CPUs", thousandths(most)),
            Self::Memory(most) => write!(f, "{} MiB of memory", most >> 20),
            Self::Gpus(most) => write!(f, "{most} GPUs"),
            Self::GpuHours(most) => write!(f, "{most} GPU-hours"),
        }
    }
}

/// Thousandths as people write them.
pub(super) fn thousandths(milli: MilliCpus) -> String {
    let (whole, rest) = (milli / 1000, milli % 1000);
    if rest == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{rest:03}").trim_end_matches('0').to_owned()
    }
}

impl Quota {
    /// What a job would exceed if it started now.
    pub(super) fn exceeded(&self, has: InUse, share: Share, needs: &Needs) -> Option<Exceeded> {
        // An accelerator-hour that was used is used; what else a job asks for comes on top.
        let hours = share.gpu_seconds / 3600.0;
        if let Some(most) = self.gpu_hours
            && needs.gpus > 0
            && hours >= most
        {
            return Some(Exceeded::GpuHours(most));
        }
        self.too_many(
            has.jobs + 1,
            &Needs {
                milli_cpus: has.milli_cpus + needs.milli_cpus,
                memory_bytes: has.memory_bytes + needs.memory_bytes,
                gpus: has.gpus + needs.gpus,
                gpu_kind: None,
            },
        )
    }

    /// What a job by itself exceeds, so that it could never start.
    #[must_use]
    pub fn never(&self, needs: &Needs) -> Option<Exceeded> {
        self.too_many(1, needs)
    }

    fn too_many(&self, jobs: usize, all: &Needs) -> Option<Exceeded> {
        let over = [
            self.running_jobs.filter(|most| jobs > *most).map(Exceeded::Jobs),
            self.milli_cpus.filter(|most| all.milli_cpus > *most).map(Exceeded::Cpus),
            self.memory_bytes.filter(|most| all.memory_bytes > *most).map(Exceeded::Memory),
            self.gpus.filter(|most| all.gpus > *most).map(Exceeded::Gpus),
        ];
        over.into_iter().flatten().next()
    }
}
