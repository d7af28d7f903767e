//! What a start does with the jobs that the last supervisor left behind: those
//! that ran are adopted, those that waited wait again if the directories that
//! their clients opened still exist, and everything else ends as lost, in words.

use crate::engine::{Engine, EngineError};
use crate::notify::{Notify, parse_kept_name};
use fetchml_api::job::{JobId, JobState};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Descriptors that the service manager kept for queued jobs.
#[derive(Debug, Default)]
pub struct Kept(HashMap<JobId, BTreeMap<usize, OwnedFd>>);

impl Kept {
    /// Sorts what the service manager passed; answers with what is not ours.
    pub fn sort(passed: Vec<(String, OwnedFd)>) -> (Self, Vec<(String, OwnedFd)>) {
        let mut kept = Self::default();
        let mut others = Vec::new();
        for (name, fd) in passed {
            match parse_kept_name(&name) {
                Some((job, index)) => {
                    kept.0.entry(job).or_default().insert(index, fd);
                }
                None => others.push((name, fd)),
            }
        }
        (kept, others)
    }

    /// All `count` directories of a job in their order, or none.
    fn take(&mut self, job: JobId, count: usize) -> Option<Vec<OwnedFd>> {
        let found = self.0.remove(&job).unwrap_or_default();
        let complete = found.keys().copied().eq(0..count);
        complete.then(|| found.into_values().collect())
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
    mut kept: Kept,
) -> Result<Recovered, EngineError> {
    let mut recovered = Recovered::default();
    engine.take_over_shares().await?;
    let mut waiting = Vec::new();
    for record in engine.left_behind().await? {
        if record.state != JobState::Queued {
            recovered.adopted += 1;
            engine.adopt(record).await;
            continue;
        }
        match kept.take(record.id, record.spec.mounts.len()) {
            Some(directories) => {
                recovered.requeued += 1;
                waiting.push((record, directories));
            }
            None => {
                recovered.lost += 1;
                engine.lose(record).await;
            }
        }
    }
    let ids: Vec<JobId> = waiting.iter().map(|(record, _)| record.id).collect();
    engine.record_requeued(&ids).await?;
    for (record, directories) in waiting {
        engine.requeue(record, directories).await;
    }
    for (job, rest) in kept.0 {
        notify.release(job, rest.keys().max().map_or(0, |last| last + 1));
    }
    engine.pump();
    Ok(recovered)
}
