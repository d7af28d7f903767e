//! Why a job waits, in words.

use super::quota::{Exceeded, thousandths};
use super::resources::Free;
use super::{Entry, Lack, MOST_COUNTED_AHEAD, Needs, Place, Queue, Waiting};
use fetchml_api::job::JobId;
use fetchml_api::queueing::Dependency;
use std::fmt;
use std::sync::Arc;

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
    /// Nothing starts for now, as an operator wants it.
    Drained,
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
            Self::Drained => f.write_str(
                "the queue is drained: nothing starts until `drain --end` or the next supervisor",
            ),
            Self::Taken { what, ahead } => {
                write!(f, "waits for {what}; {}", before(*ahead))
            }
            Self::Turn { ahead } => write!(f, "waits for its turn; {}", before(*ahead)),
        }
    }
}

impl Why {
    /// The same where nothing starts, if it is so. A job whose turn could not come
    /// otherwise either says what it did.
    #[must_use]
    pub fn if_drained(self, drained: bool) -> Self {
        match self {
            Self::Array { .. } | Self::Quota(_) | Self::Taken { .. } | Self::Turn { .. }
                if drained =>
            {
                Self::Drained
            }
            _ => self,
        }
    }

    /// Whether one thing keeps both: their places in line and their times may differ.
    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Until(_), Self::Until(_)) | (Self::Turn { .. }, Self::Turn { .. }) => true,
            (Self::Taken { what: one, .. }, Self::Taken { what: other, .. }) => one == other,
            _ => self == other,
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
        let mut why = self.cause(job, now_usec)?;
        if let Why::Taken { ahead, .. } | Why::Turn { ahead } = &mut why {
            *ahead = self.ready.ahead_of(self.waiting(job)?.priority, job);
        }
        Some(why)
    }

    /// Why the first of these jobs that waits does, if the same keeps all of them that
    /// wait.
    #[must_use]
    pub fn why_all(&self, jobs: &[JobId], drained: bool, now_usec: u64) -> Option<Why> {
        let mut waiting = jobs.iter().filter_map(|job| Some((*job, self.waiting.get(job)?)));
        let (id, first) = waiting.next()?;
        let cause_of = |job| Some(self.cause(job, now_usec)?.if_drained(drained));
        let cause = cause_of(id)?;
        // An array may have very many, whose needs are one thing.
        let alike = |other: &Waiting| {
            (first.place, other.place) == (Place::Ready, Place::Ready)
                && first.entry.uid == other.entry.uid
                && Arc::ptr_eq(&first.entry.needs, &other.entry.needs)
        };
        let mut others = waiting.filter(|(_, other)| !alike(other));
        others
            .all(|(job, _)| cause_of(job).is_some_and(|other| other.is_as(&cause)))
            .then(|| self.why(id, now_usec))?
            .map(|why| why.if_drained(drained))
    }

    /// Why a job waits, its place in line left out: that is counted job by job.
    fn cause(&self, job: JobId, now_usec: u64) -> Option<Why> {
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
            Place::Ready => self.why_ready(entry, now_usec),
        })
    }

    fn why_ready(&self, entry: &Entry, now_usec: u64) -> Why {
        if let Some(what) = self.never(&entry.needs) {
            return Why::Never(what);
        }
        let share = self.share(entry.uid, now_usec);
        let has = self.in_use.get(&entry.uid).copied().unwrap_or_default();
        if let Some(exceeded) = self.rules.quota.exceeded(has, share, &entry.needs) {
            return Why::Quota(exceeded);
        }
        let ahead = 0;
        match self.free().lacks(&entry.needs) {
            None => Why::Turn { ahead },
            Some(Lack::Slot) => {
                let (running, most) = (self.running.len(), self.capacity.slots);
                Why::Taken { what: format!("a slot, {running} of {most} run"), ahead }
            }
            Some(lack) => Why::Taken { what: wanted(lack, &entry.needs), ahead },
        }
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
