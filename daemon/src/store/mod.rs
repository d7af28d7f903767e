//! What survives the supervisor: every job and attempt, in SQLite (write-ahead
//! log, full sync but for the step from `starting` to `running`, see [`Store::update_begun`]).
//! A request is answered only after the commit, which is what "commit, then tell" rests
//! on.

mod backup;
mod batch;
mod directories;
mod rows;
mod schema;
mod shares;

pub use backup::{REPLACED_NAME, restore};
pub use directories::Waiting;
pub use rows::{AttemptEnd, AttemptRecord, Filter, JobRecord, NewJob, Pruned, Summary};
pub use shares::UserShare;

use crate::directories::Stored;
use batch::{Batches, Synchronous};
use fetchml_api::job::JobId;
use rusqlite::Connection;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the database below the state directory.
pub const FILE_NAME: &str = "fetchml.db";

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened or migrated.
    #[error("cannot open the job store {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// Written by a newer version.
    #[error(
        "the job store {} has schema {found}, this version knows up to {known}: \
         install the version that wrote it", path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// What is in the database is not what was written.
    #[error(
        "the job store {} is damaged: {what}; put a backup in its place with `fetchmld \
         --restore FILE`, or move it away to begin with an empty one", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the store's thread: {0}")]
    Thread(std::io::Error),
    /// A statement or the commit failed; nothing of the request was kept.
    #[error("the job store failed: {0}")]
    Sql(String),
    /// The store is closed.
    #[error("the job store is closed")]
    Closed,
}

/// Handle of the store; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    requests: Batches,
    database: Arc<Path>,
}

impl Store {
    /// Opens or creates the database in `dir` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened, migrated or was written by a newer version.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let database = dir.join(FILE_NAME);
        let connection = schema::open(&database)?;
        let requests = Batches::start(connection).map_err(StoreError::Thread)?;
        Ok(Self { requests, database: database.into() })
    }

    /// Adds queued jobs, all or none; their numbers follow each other and are never
    /// used again, whatever becomes of them. Those that say they are of an array are
    /// of the one that has the number of the first.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be committed.
    pub async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<JobRecord>, StoreError> {
        self.call(move |db| rows::insert(db, jobs)).await
    }

    /// Writes the facts of a job that starts or runs, and those of its attempt.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn update(&self, job: JobRecord) -> Result<(), StoreError> {
        self.call(move |db| rows::update(db, &job)).await
    }

    /// The same for a job that was committed as starting and now runs. It survives the
    /// end of the supervisor, but the disk is not waited for: a power cut ends the job,
    /// and what becomes of it is the same for one that starts (`recover::table`).
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn update_begun(&self, job: JobRecord) -> Result<(), StoreError> {
        self.requests.commit(Synchronous::Normal, move |db| rows::update(db, &job)).await
    }

    /// Writes what is left of a job after an attempt or without one, the end of that
    /// attempt, and what its user has used with it.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn end(
        &self,
        job: JobRecord,
        attempt: Option<AttemptEnd>,
        share: Option<UserShare>,
    ) -> Result<(), StoreError> {
        self.call(move |db| {
            rows::set(db, &job)?;
            if let Some(attempt) = attempt {
                rows::end_attempt(db, &job, &attempt)?;
            }
            share.map_or(Ok(()), |share| shares::set(db, &share))
        })
        .await
    }

    /// Writes the facts of a job that waits again after an attempt of which nothing
    /// began, and forgets that attempt.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn take_back_attempt(&self, job: JobRecord) -> Result<(), StoreError> {
        self.call(move |db| {
            rows::set(db, &job)?;
            rows::forget_attempts_after(db, job.id, job.attempt)
        })
        .await
    }

    /// Changes a waiting job's place in the queue.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn set_place(&self, id: JobId, priority: i32, held: bool) -> Result<(), StoreError> {
        self.call(move |db| rows::set_place(db, id, priority, held)).await
    }

    /// Remembers that somebody asked for the end of a job that is not over.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn ask_end(&self, id: JobId) -> Result<(), StoreError> {
        self.call(move |db| rows::ask_end(db, id)).await
    }

    /// Takes back jobs that nobody was told of.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn forget(&self, ids: Vec<JobId>) -> Result<(), StoreError> {
        self.call(move |db| ids.iter().try_for_each(|id| rows::forget(db, *id))).await
    }

    /// What users have used of late.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read.
    pub async fn shares(&self) -> Result<Vec<UserShare>, StoreError> {
        self.call(shares::all).await
    }

    /// The attempts of a job, in order.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>, StoreError> {
        self.call(move |db| rows::attempts(db, id)).await
    }

    /// Key facts of jobs that wait, oldest first: of one user, or of all.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn waiting(&self, uid: Option<u32>, limit: u32) -> Result<Vec<Summary>, StoreError> {
        self.call(move |db| rows::waiting(db, uid, limit)).await
    }

    /// One job.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.call(move |db| rows::job(db, id)).await
    }

    /// Jobs that are not over, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn unfinished(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.call(rows::unfinished).await
    }

    /// The directories of all jobs that are not over, and of dead ones.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn waiting_directories(&self) -> Result<Waiting, StoreError> {
        self.call(directories::waiting).await
    }

    /// The directories of a job that is not over or in the dead-letter list.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn directories_of(&self, id: JobId) -> Result<Vec<Stored>, StoreError> {
        self.call(move |db| directories::of_job(db, id)).await
    }

    /// Key facts of the newest jobs that match, newest last.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn summaries(&self, filter: Filter) -> Result<Vec<Summary>, StoreError> {
        self.call(move |db| rows::summaries(db, &filter)).await
    }

    /// The newest jobs that match in full, newest last. Ends early with the job whose
    /// specification brings those so far to `most_bytes`.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be read.
    pub async fn jobs(
        &self,
        filter: Filter,
        most_bytes: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        self.call(move |db| rows::jobs(db, &filter, most_bytes)).await
    }

    /// A copy of everything as it is now, opened for reading. The store goes on
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written, for which there must be as much room
    /// as the store takes.
    pub async fn backup(&self) -> Result<OwnedFd, StoreError> {
        let database = self.database.clone();
        let copied = tokio::task::spawn_blocking(move || backup::copy(&database)).await;
        copied.map_err(|_| StoreError::Closed)?
    }

    /// Forgets jobs that were over before this time (microseconds since the epoch)
    /// and are not in the dead-letter list, at most `limit` of them, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be committed.
    pub async fn prune(&self, before_usec: u64, limit: u32) -> Result<Vec<Pruned>, StoreError> {
        self.call(move |db| rows::prune(db, before_usec, limit)).await
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call(|_| Ok(())).await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.requests.commit(Synchronous::Full, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::job::{JobSpec, JobState};
    use std::time::Duration;

    pub(super) fn new_job(uid: u32, name: &str) -> NewJob {
        NewJob {
            uid,
            gid: uid,
            spec: JobSpec { name: name.to_owned(), ..JobSpec::plain(vec!["true".to_owned()]) },
            privileges: vec!["keeps CAP_X".to_owned()],
            reason: "waiting".to_owned(),
            submitted_usec: 7,
            directories: std::sync::Arc::default(),
        }
    }

    pub(super) async fn insert(store: &Store, uid: u32, name: &str) -> JobRecord {
        store.insert(vec![new_job(uid, name)]).await.expect("insert").remove(0)
    }

    pub(super) fn opened() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("open");
        (dir, store)
    }

    #[tokio::test]
    async fn jobs_survive_closing_and_keep_their_numbers() {
        let (dir, store) = opened();
        let first = insert(&store, 1000, "a").await;
        let mut second = insert(&store, 1000, "b").await;
        second.state = JobState::Running;
        second.attempt = 1;
        second.host_uid = Some(1_000_000);
        store.update(second.clone()).await.expect("update");
        store.forget(vec![first.id]).await.expect("forget");
        drop(store);

        let store = Store::open(dir.path()).expect("open again");
        assert_eq!(store.job(first.id).await.expect("read"), None);
        assert_eq!(store.unfinished().await.expect("read"), [second.clone()]);
        store.forget(vec![second.id]).await.expect("forget");
        let third = insert(&store, 1000, "c").await;
        assert!(third.id > second.id, "a number was used twice");
    }

    #[tokio::test]
    async fn listing_filters_and_keeps_the_newest_last() {
        let (_dir, store) = opened();
        for n in 0..6 {
            insert(&store, n % 2, &n.to_string()).await;
        }
        let names =
            |list: Vec<Summary>| -> Vec<String> { list.into_iter().map(|s| s.name).collect() };
        let filter = Filter { uid: Some(1), limit: 2, ..Filter::default() };
        assert_eq!(names(store.summaries(filter).await.expect("list")), ["3", "5"]);
        let filter = Filter { before: Some(JobId(3)), ..Filter::default() };
        assert_eq!(names(store.summaries(filter).await.expect("list")), ["0", "1"]);
        let filter = Filter { state: Some(JobState::Failed), ..Filter::default() };
        assert!(store.summaries(filter).await.expect("list").is_empty());
    }

    #[tokio::test]
    async fn a_store_of_a_newer_version_is_left_alone() {
        let (dir, store) = opened();
        drop(store);
        let db = Connection::open(dir.path().join(FILE_NAME)).expect("open");
        db.pragma_update(None, "user_version", 99).expect("pragma");
        drop(db);
        let error = Store::open(dir.path()).expect_err("too new").to_string();
        assert!(error.contains("has schema 99"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_store_is_left_alone_and_no_copy_of_one_is_taken() {
        let (dir, store) = opened();
        for n in 0..200 {
            insert(&store, 1, &n.to_string()).await;
        }
        drop(store);
        // The last handle's thread closes the database.
        let database = dir.path().join(FILE_NAME);
        let whole = loop {
            let bytes = std::fs::read(&database).expect("read");
            if bytes.len() > 5 * 4096 && !dir.path().join("fetchml.db-wal").exists() {
                break bytes;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let mut bytes = whole.clone();
        let at = bytes.len() - 4096;
        bytes[at..at + 2048].fill(0xAA);
        std::fs::write(&database, &bytes).expect("write");
        let error = Store::open(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains("is damaged") && error.contains("--restore"), "{error}");
        assert_eq!(std::fs::read(&database).expect("read"), bytes, "it was touched");
        let copy = dir.path().join("copy");
        std::fs::write(&copy, &bytes).expect("write");
        std::fs::write(&database, &whole).expect("write");
        let error = restore(&copy, dir.path()).expect_err("damaged").to_string();
        assert!(error.contains("copy is damaged"), "{error}");
        assert_eq!(std::fs::read(&database).expect("read"), whole, "it was replaced");
        std::fs::write(&copy, "no database at all").expect("write");
        assert!(restore(&copy, dir.path()).is_err());
    }

    #[tokio::test]
    async fn only_old_jobs_that_are_over_are_forgotten() {
        let (_dir, store) = opened();
        for (name, state, at, dead) in [
            ("old", JobState::Succeeded, Some(10), false),
            ("dead", JobState::Failed, Some(10), true),
            ("new", JobState::Succeeded, Some(99), false),
            ("waits", JobState::Queued, None, false),
        ] {
            let mut job = insert(&store, 1, name).await;
            (job.state, job.finished_usec, job.dead) = (state, at, dead);
            store.end(job, None, None).await.expect("ended");
        }
        let pruned = store.prune(50, 10).await.expect("pruned");
        assert_eq!(pruned.len(), 1);
        assert_eq!(pruned[0].experiment, "default");
        let left = store.summaries(Filter::default()).await.expect("read");
        let names: Vec<_> = left.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["dead", "new", "waits"]);
    }
}
