//! The directories of a job, from the client's descriptors to those of an attempt.

use super::{Engine, EngineError};
use crate::directories::{Directory, DirectoryError, Stored};
use crate::store::JobRecord;
use fetchml_api::job::{FailureClass, JobId, JobSpec};
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Engine {
    /// Takes what the client opened, one for each of the mounts.
    pub(super) fn take_directories(
        &self,
        uid: u32,
        spec: &JobSpec,
        opened: Vec<OwnedFd>,
    ) -> Result<Arc<[Directory]>, EngineError> {
        let taken = self.directories.take(uid, opened).map_err(|(at, error)| {
            let words = in_words(spec, at, &error);
            match error {
                DirectoryError::TooMany { .. } => EngineError::Denied(words),
                _ => EngineError::Failed(words),
            }
        })?;
        Ok(taken.into())
    }

    /// Those of a job that is not over.
    pub(super) fn directories_of(&self, id: JobId) -> Arc<[Directory]> {
        self.live().directories.get(&id).cloned().unwrap_or_default()
    }

    /// Those of a job in the dead-letter list, if it can be started with them again.
    pub(super) async fn directories_again(
        &self,
        record: &JobRecord,
    ) -> Result<Arc<[Directory]>, EngineError> {
        let stored = self.store.directories_of(record.id).await?;
        if stored.len() != record.spec.mounts.len() {
            return Err(EngineError::Invalid(format!(
                "the job store has not kept the directories of job {}: submit it again",
                record.id
            )));
        }
        let restored = stored.iter().enumerate().map(|(at, stored)| {
            let restored = self.directories.restore(stored, None);
            restored.map_err(|error| EngineError::Failed(in_words(&record.spec, at, &error)))
        });
        let directories = restored.collect::<Result<Arc<[_]>, _>>()?;
        open(&record.spec, &directories).map_err(|lost| EngineError::Invalid(lost.why))?;
        Ok(directories)
    }
}

/// What the store keeps of them.
pub(super) fn stored(directories: &[Directory]) -> Result<Arc<[Stored]>, EngineError> {
    let forms = directories.iter().map(Directory::stored).collect::<Result<_, _>>();
    forms.map_err(|error| EngineError::Failed(format!("a directory {error}")))
}

/// Why a directory cannot be opened for an attempt.
#[derive(Debug)]
pub(super) struct Unopened {
    pub(super) why: String,
    /// It will not be there at another time.
    pub(super) for_good: bool,
}

impl Unopened {
    pub(super) fn class(&self) -> FailureClass {
        if self.for_good { FailureClass::Lost } else { FailureClass::Infrastructure }
    }
}

/// Opens them for an attempt.
pub(super) fn open(spec: &JobSpec, directories: &[Directory]) -> Result<Vec<OwnedFd>, Unopened> {
    let opened = directories.iter().enumerate().map(|(at, directory)| {
        directory.open().map_err(|error| Unopened {
            why: in_words(spec, at, &error),
            for_good: !error.may_pass(),
        })
    });
    opened.collect()
}

/// As the client called it, and where the job would see it.
fn in_words(spec: &JobSpec, position: usize, error: &DirectoryError) -> String {
    match spec.mounts.get(position) {
        Some(mount) => format!("directory `{}` (for {}) {error}", mount.label, mount.target),
        None => format!("directory number {position} {error}"),
    }
}
