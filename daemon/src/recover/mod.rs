//! What a start does with the jobs that the last supervisor left behind: those
//! that ran are adopted, those that waited wait again with the directories that
//! their clients opened, and what has neither end nor life left is lost, in words.

use crate::directories::{Directory, DirectoryError, DirectoryId};
use crate::engine::{Engine, EngineError};
use crate::notify::{Notify, parse_kept_name};
use fetchml_api::job::{JobId, JobState};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

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
    engine.take_over_shares().await?;
    let mut directories = Left::take(engine, notify, kept).await?;
    let mut waiting = Vec::new();
    for record in engine.left_behind().await? {
        let found = directories.of(record.id, record.spec.mounts.len());
        if record.state != JobState::Queued {
            recovered.adopted += 1;
            engine.adopt(record, found.unwrap_or_default()).await;
            continue;
        }
        match found {
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
    let ids: Vec<JobId> = waiting.iter().map(|(record, _)| record.id).collect();
    engine.record_requeued(&ids).await?;
    for (record, directories) in waiting {
        engine.requeue(record, directories).await;
    }
    engine.pump();
    Ok(recovered)
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
