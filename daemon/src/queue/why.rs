//! Why a job waits, in words.

use super::quota::{Exceeded, thousandths};
use super::resources::Free;
use super::{Lack, MOST_COUNTED_AHEAD, Needs, Place, Queue};
use fetchml_api::job::JobId;
use fetchml_api::queueing::Dependency;
use std::fmt;

/// Why a job waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// Somebody holds it.
    Held,
    /// Other jobs must be over first.
    After(Vec<Dependency>),
    /// It is tried again at this time, microseconds since the epoch.
    Until(u64),
    /// As many of its array run as may.
    Array {
        /// How many run.
        running: usize,
        /// How many may.
        at_once: u32,
    },
    /// Its user's quota is used up.
    Quota(Exceeded),
    /// The machine has never enough for it.
    Never(String),
    /// What it needs is taken.
    Taken {
        /// What that is, in words.
        what: String,
        /// Jobs that come before it; more than [`MOST_COUNTED_AHEAD`] are not counted.
        ahead: usize,
    },
    /// It will start at once, or those before it will.
    Turn {
        /// Jobs that come before it.
        ahead: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held: release it to let it start"),
            Self::After(jobs) => {
                let words: Vec<_> = jobs.iter().take(3).map(ToString::to_string).collect();
                write!(f, "starts {}", words.join(", "))?;
                match jobs.len().checked_sub(3) {
                    None | Some(0) => Ok(()),
                    Some(more) => write!(f, " and {more} more"),
                }
            }
            Self::Until(_) => f.write_str("failed, and is tried again after a pause"),
            Self::Array { running, at_once } => {
                write!(f, "waits for its array: {running} of at most {at_once} run")
            }
            Self::Quota(exceeded) => write!(f, "waits for its user's quota of {exceeded}"),
            Self::Never(what) => write!(f, "cannot start: {what}"),
            Self::Taken { what, ahead } => {
                write!(f, "waits for {what}; {}", before(*ahead))
            }
            Self::Turn { ahead } => write!(f, "waits for its turn; {}", before(*ahead)),
        }
    }
}

fn before(ahead: usize) -> String {
    match ahead {
        0 => "no job before it".to_owned(),
        1 => "1 job before it".to_owned(),
        MOST_COUNTED_AHEAD.. => format!("{MOST_COUNTED_AHEAD} or more jobs before it"),
        _ => format!("{ahead} jobs before it"),
    }
}

impl Queue {
    /// Why a job waits; `None` when it does not.
    #[must_use]
    pub fn why(&self, job: JobId, now_usec: u64) -> Option<Why> {
        let waiting = self.waiting.get(&job)?;
        let entry = &waiting.entry;
        Some(match waiting.place {
            Place::Held => Why::Held,
            Place::Behind => Why::After(entry.after.to_vec()),
            Place::Until(at_usec) => Why::Until(at_usec),
            Place::Parked => {
                let array = entry.array?;
                Why::Array { running: self.arrays.running(&array), at_once: array.at_once }
            }
            Place::Ready => self.why_ready(job, now_usec)?,
        })
    }

    fn why_ready(&self, job: JobId, now_usec: u64) -> Option<Why> {
        let entry = self.waiting(job)?;
        if let Some(what) = self.never(&entry.needs) {
            return Some(Why::Never(what));
        }
        let share = self.share(entry.uid, now_usec);
        let has = self.in_use.get(&entry.uid).copied().unwrap_or_default();
        if let Some(exceeded) = self.rules.quota.exceeded(has, share, &entry.needs) {
            return Some(Why::Quota(exceeded));
        }
        let ahead = self.ready.ahead_of(entry.priority, job);
        Some(match self.free().lacks(&entry.needs) {
            None => Why::Turn { ahead },
            Some(Lack::Slot) => {
                let (running, most) = (self.running.len(), self.capacity.slots);
                Why::Taken { what: format!("a slot, {running} of {most} run"), ahead }
            }
            Some(lack) => Why::Taken { what: wanted(lack, &entry.needs), ahead },
        })
    }

    /// What this machine, or a quota, has too little of for such a job ever to start.
    #[must_use]
    pub fn never(&self, needs: &Needs) -> Option<String> {
        if let Some(exceeded) = self.rules.quota.never(needs) {
            return Some(format!("a user may have {exceeded}"));
        }
        let lack = Free::all(&self.capacity).lacks(needs)?;
        let has = match lack {
            Lack::Slot => "no slot".to_owned(),
            Lack::Cpus => format!("{} CPUs", thousandths(self.capacity.milli_cpus)),
            Lack::Memory => format!("{} MiB for jobs", self.capacity.memory_bytes >> 20),
            Lack::Gpus => self.gpus_in_words(),
        };
        Some(format!("it needs {}, this machine has {has}", wanted(lack, needs)))
    }

    fn gpus_in_words(&self) -> String {
        let mut kinds: Vec<&str> = self.capacity.gpus.iter().map(|gpu| gpu.kind.as_str()).collect();
        kinds.sort_unstable();
        match kinds.len() {
            0 => "no GPU".to_owned(),
            count => {
                kinds.dedup();
                format!("{count} ({})", kinds.join(", "))
            }
        }
    }
}

fn wanted(lack: Lack, needs: &Needs) -> String {
    match lack {
        Lack::Slot => "a slot".to_owned(),
        Lack::Cpus => format!("{} CPUs", thousandths(needs.milli_cpus)),
        Lack::Memory => format!("{} MiB of memory", needs.memory_bytes >> 20),
        Lack::Gpus => {
            let plural = if needs.gpus == 1 { "GPU" } else { "GPUs" };
            match &needs.gpu_kind {
                None => format!("{} {plural}", needs.gpus),
                Some(kind) => format!("{} {plural} of kind {kind}", needs.gpus),
            }
        }
    }
}
