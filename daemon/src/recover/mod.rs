//! What a start does with the jobs that the last supervisor left behind: those
//! that ran are adopted, those that waited wait again with the directories that
//! their clients opened, and what has neither end nor life left is lost, in words.

mod table;

pub use table::{Began, Found, Verdict};
pub(crate) use table::{Stored, decide};

use crate::directories::{Directory, DirectoryError, DirectoryId};
use crate::engine::{Engine, EngineError};
use crate::notify::{Notify, parse_kept_name};
use fetchml_api::job::{JobId, JobState};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// Descriptors of directories that the service manager kept.
#[derive(Debug, Default)]
pub struct Kept(HashMap<DirectoryId, OwnedFd>);

impl Kept {
    /// Sorts what the service manager passed; answers with what is not ours.
    pub fn sort(passed: Vec<(String, OwnedFd)>) -> (Self, Vec<(String, OwnedFd)>) {
        let mut kept = Self::default();
        let mut others = Vec::new();
        for (name, fd) in passed {
            match parse_kept_name(&name) {
                Some(directory) => {
                    kept.0.insert(directory, fd);
                }
                None => others.push((name, fd)),
            }
        }
        (kept, others)
    }
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Jobs that wait again.
    pub requeued: usize,
    /// Jobs that ran: still running, or ended meanwhile.
    pub adopted: usize,
    /// Jobs that waited and whose end had been asked for.
    pub cancelled: usize,
    /// Jobs that waited and are lost.
    pub lost: usize,
}

/// Brings every job of the store back into an engine that is new.
///
/// # Errors
/// [`EngineError`] when the store cannot be read or audit cannot be written;
/// nothing may be started then.
pub async fn recover(
    engine: &Arc<Engine>,
    notify: Notify,
    kept: Kept,
) -> Result<Recovered, EngineError> {
    let mut recovered = Recovered::default();
    engine.recovering(true);
    engine.take_over_shares().await?;
    let mut directories = Left::take(engine, notify, kept).await?;
    let mut waiting = Vec::new();
    let mut lingering: HashSet<JobId> = engine.lingering().into_iter().collect();
    for mut record in engine.left_behind().await? {
        let found = directories.of(record.id, record.spec.mounts.len());
        if lingering.remove(&record.id) || record.state != JobState::Queued {
            let have = found.as_ref().map(Arc::clone).unwrap_or_default();
            match engine.adopt(record, have).await? {
                Some(waits) => record = waits,
                None => {
                    recovered.adopted += 1;
                    continue;
                }
            }
        }
        match found {
            _ if record.cancelled => {
                recovered.cancelled += 1;
                engine.cancel_again(record).await;
            }
            Ok(directories) => {
                recovered.requeued += 1;
                waiting.push((record, directories));
            }
            Err(why) => {
                recovered.lost += 1;
                engine.lose(record, &why).await;
            }
        }
    }
    engine.sweep(&lingering.into_iter().collect::<Vec<_>>());
    let ids: Vec<JobId> = waiting.iter().map(|(record, _)| record.id).collect();
    engine.record_requeued(&ids).await?;
    for (record, directories) in waiting {
        engine.requeue(record, directories).await;
    }
    engine.recovering(false);
    Ok(recovered)
}

/// Names this run of the machine; another boot is another name (random(4)).
pub(crate) fn this_boot() -> Option<String> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned())
    };
    NAME.get_or_init(read).clone()
}

/// The directories that the last supervisor left behind.
struct Left {
    all: HashMap<DirectoryId, Result<Directory, DirectoryError>>,
    of_jobs: HashMap<JobId, Vec<DirectoryId>>,
    /// Jobs that were submitted together share their list again.
    last: (Vec<DirectoryId>, Arc<[Directory]>),
}

impl Left {
    async fn take(
        engine: &Arc<Engine>,
        notify: Notify,
        mut kept: Kept,
    ) -> Result<Self, EngineError> {
        let (waiting, pool) = engine.directories_left_behind().await?;
        let mut all = HashMap::with_capacity(waiting.directories.len());
        for stored in &waiting.directories {
            all.insert(stored.id, pool.restore(stored, kept.0.remove(&stored.id)));
        }
        for id in kept.0.into_keys() {
            notify.release(id);
        }
        Ok(Self { all, of_jobs: waiting.of_jobs, last: (Vec::new(), Arc::default()) })
    }

    /// The directories of a job for each of its mounts, or why there are none.
    fn of(&mut self, job: JobId, mounts: usize) -> Result<Arc<[Directory]>, String> {
        let ids = self.of_jobs.remove(&job).unwrap_or_default();
        if ids.len() != mounts {
            return Err(
                "the job store has not kept the directories that the client opened for it: \
                        submit it again"
                    .to_owned(),
            );
        }
        if ids != self.last.0 {
            let found = ids.iter().map(|id| match self.all.get(id) {
                Some(Ok(directory)) => Ok(directory.clone()),
                Some(Err(error)) => Err(format!("one of its directories {error}")),
                None => Err("one of its directories is not in the job store".to_owned()),
            });
            let found = found.collect::<Result<Arc<[_]>, _>>()?;
            self.last = (ids, found);
        }
        Ok(self.last.1.clone())
    }
}
