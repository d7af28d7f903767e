//! What runs next. Pure: it sees numbers and answers with numbers.

mod capacity;

pub use capacity::{Capacity, Gpu, MilliCpus, Needs};

use fetchml_api::job::JobId;
use std::collections::BTreeSet;

/// Jobs that wait, in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeSet<JobId>,
}

impl Queue {
    /// A job was accepted.
    pub fn push(&mut self, job: JobId) {
        self.waiting.insert(job);
    }

    /// A waiting job will not run; false when it did not wait.
    pub fn remove(&mut self, job: JobId) -> bool {
        self.waiting.remove(&job)
    }

    /// Jobs that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no job waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waiting jobs that will start before this one.
    #[must_use]
    pub fn ahead_of(&self, job: JobId) -> usize {
        self.waiting.range(..job).count()
    }

    /// Takes the jobs that start now, first come, first served, when `running`
    /// of at most `max_running` slots are taken.
    pub fn take_next(&mut self, running: usize, max_running: usize) -> Vec<JobId> {
        let free = max_running.saturating_sub(running);
        (0..free).map_while(|_| self.waiting.pop_first()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_within_the_slots() {
        let mut queue = Queue::default();
        for id in [3, 1, 2, 4] {
            queue.push(JobId(id));
        }
        assert!(queue.remove(JobId(2)));
        assert!(!queue.remove(JobId(2)));
        assert_eq!(queue.take_next(1, 2), [JobId(1)]);
        assert_eq!(queue.take_next(2, 2), []);
        assert_eq!(queue.take_next(5, 2), [], "a lowered limit takes nothing back");
        assert_eq!(queue.take_next(0, 9), [JobId(3), JobId(4)]);
        assert!(queue.is_empty());
    }
}
