//! Directories that clients opened for jobs that are not over. Jobs that were
//! submitted together share them.

use fetchml_api::job::JobId;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Directories of one submission; closed when the last job of it is over.
#[derive(Debug)]
pub(super) struct Opened {
    directories: Vec<OwnedFd>,
    counters: [Arc<AtomicUsize>; 2],
}

impl Opened {
    pub(super) fn directories(&self) -> &[OwnedFd] {
        &self.directories
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(self.directories.len(), Ordering::Relaxed);
        }
    }
}

/// What is held, and for whom.
#[derive(Debug, Default)]
pub(super) struct Held {
    jobs: HashMap<JobId, Arc<Opened>>,
    users: HashMap<u32, Arc<AtomicUsize>>,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// Counts directories that a user's client opened.
    pub(super) fn count_in(&mut self, uid: u32, directories: Vec<OwnedFd>) -> Arc<Opened> {
        self.users.retain(|_, count| count.load(Ordering::Relaxed) > 0);
        let counters = [self.users.entry(uid).or_default().clone(), self.all.clone()];
        for counter in &counters {
            counter.fetch_add(directories.len(), Ordering::Relaxed);
        }
        Arc::new(Opened { directories, counters })
    }

    pub(super) fn keep(&mut self, id: JobId, opened: Arc<Opened>) {
        self.jobs.insert(id, opened);
    }

    pub(super) fn get(&self, id: JobId) -> Option<Arc<Opened>> {
        self.jobs.get(&id).cloned()
    }

    pub(super) fn release(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }

    /// Descriptors that are held for one user, and for all.
    pub(super) fn count(&self, uid: u32) -> (usize, usize) {
        let theirs = self.users.get(&uid).map_or(0, |count| count.load(Ordering::Relaxed));
        (theirs, self.all.load(Ordering::Relaxed))
    }
}
