//! Arithmetic of what is free: now, and when jobs that run reach their limits.

use super::{Capacity, Gpu, MilliCpus, Needs};

/// What can still be given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Free<'c> {
    pub(super) slots: usize,
    pub(super) milli_cpus: MilliCpus,
    pub(super) memory_bytes: u64,
    pub(super) gpus: Vec<&'c Gpu>,
}

impl<'c> Free<'c> {
    /// All of a machine on which nothing runs.
    pub(super) fn all(capacity: &'c Capacity) -> Self {
        Self {
            slots: capacity.slots,
            milli_cpus: capacity.milli_cpus,
            memory_bytes: capacity.memory_bytes,
            gpus: capacity.gpus.iter().collect(),
        }
    }

    /// What is missing for a job; `None` when it fits.
    pub(super) fn lacks(&self, needs: &Needs) -> Option<Lack> {
        if self.slots == 0 {
            return Some(Lack::Slot);
        }
        if self.milli_cpus < needs.milli_cpus {
            return Some(Lack::Cpus);
        }
        if self.memory_bytes < needs.memory_bytes {
            return Some(Lack::Memory);
        }
        let fitting = self.fitting(needs).count();
        (fitting < usize::try_from(needs.gpus).unwrap_or(usize::MAX)).then_some(Lack::Gpus)
    }

    fn fitting(&self, needs: &Needs) -> impl Iterator<Item = &'c Gpu> {
        let kind = needs.gpu_kind.clone();
        self.gpus.iter().copied().filter(move |gpu| gpu.is_of(kind.as_deref()))
    }

    /// Gives a job what it needs, and says which accelerators. To be called for a job
    /// that fits.
    pub(super) fn take(&mut self, needs: &Needs) -> Vec<String> {
        let count = usize::try_from(needs.gpus).unwrap_or(usize::MAX);
        let names: Vec<String> =
            self.fitting(needs).take(count).map(|gpu| gpu.name.clone()).collect();
        self.take_named(needs, &names);
        names
    }

    /// Takes away what a running job has.
    pub(super) fn take_named(&mut self, needs: &Needs, names: &[String]) {
        // More may be taken than there is: the machine may have lost some since.
        self.slots = self.slots.saturating_sub(1);
        self.milli_cpus = self.milli_cpus.saturating_sub(needs.milli_cpus);
        self.memory_bytes = self.memory_bytes.saturating_sub(needs.memory_bytes);
        self.gpus.retain(|gpu| !names.contains(&gpu.name));
    }
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Jobs at once.
    Slot,
    /// Processors.
    Cpus,
    /// Memory.
    Memory,
    /// Accelerators, or such of the kind.
    Gpus,
}

/// A job that runs, as far as it matters for those that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'q> {
    pub(super) needs: &'q Needs,
    pub(super) gpus: &'q [String],
    /// When its time limit ends it at the latest.
    pub(super) ends_usec: u64,
}

/// The promise to the first job that does not fit: jobs behind it start only if it
/// starts no later for that.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// When everything it needs will be free at the latest.
    at_usec: u64,
    /// What will be left then beside it.
    spare_slots: usize,
    spare_milli_cpus: MilliCpus,
    spare_memory_bytes: u64,
    wants_gpus: bool,
}

impl Promise {
    /// For a job that lacks something now. `None` when it would not fit on the empty
    /// machine either: nothing is kept free for what cannot come.
    pub(super) fn new(capacity: &Capacity, holders: &[Holder<'_>], needs: &Needs) -> Option<Self> {
        Free::all(capacity).lacks(needs).is_none().then_some(())?;
        let mut ends: Vec<u64> = holders.iter().map(|holder| holder.ends_usec).collect();
        ends.sort_unstable();
        ends.dedup();
        let free_at = |at_usec: u64| {
            let mut free = Free::all(capacity);
            for holder in holders.iter().filter(|holder| holder.ends_usec > at_usec) {
                free.take_named(holder.needs, holder.gpus);
            }
            free
        };
        // The later, the more is free.
        let first = ends.partition_point(|at| free_at(*at).lacks(needs).is_some());
        let at_usec = *ends.get(first)?;
        let mut spare = free_at(at_usec);
        spare.take(needs);
        Some(Self {
            at_usec,
            spare_slots: spare.slots,
            spare_milli_cpus: spare.milli_cpus,
            spare_memory_bytes: spare.memory_bytes,
            wants_gpus: needs.gpus > 0,
        })
    }

    /// Whether a job that fits now may go before, and takes it into account if so.
    pub(super) fn admits(&mut self, needs: &Needs, would_end_usec: u64) -> bool {
        if would_end_usec <= self.at_usec {
            return true;
        }
        let spared = self.spare_slots > 0
            && self.spare_milli_cpus >= needs.milli_cpus
            && self.spare_memory_bytes >= needs.memory_bytes
            && !(self.wants_gpus && needs.gpus > 0);
        if spared {
            self.spare_slots -= 1;
            self.spare_milli_cpus -= needs.milli_cpus;
            self.spare_memory_bytes -= needs.memory_bytes;
        }
        spared
    }
}
