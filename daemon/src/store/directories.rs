//! Which directories the jobs that are not over wait for or use.

use super::rows::{key, number};
use crate::directories::{DirectoryId, Stored};
use fetchml_api::job::JobId;
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// All directories, and by job which ones, in the order of its mounts.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Each of them once.
    pub directories: Vec<Stored>,
    /// Jobs without any are not in here.
    pub of_jobs: HashMap<JobId, Vec<DirectoryId>>,
}

/// Binds directories to a job that was just added. A directory that is in the
/// store already, for other jobs, stays as it is.
pub(super) fn bind(db: &Connection, job: JobId, directories: &[Stored]) -> rusqlite::Result<()> {
    for (position, directory) in (0u32..).zip(directories) {
        db.prepare_cached("INSERT OR IGNORE INTO directories (id, uid, form) VALUES (?1, ?2, ?3)")?
            .execute(params![id(directory.id), directory.uid, directory.form])?;
        db.prepare_cached(
            "INSERT INTO job_directories (job, position, directory) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![key(job), position, id(directory.id)])?;
    }
    Ok(())
}

/// The job needs its directories no more; those that no other job has are
/// forgotten.
pub(super) fn release(db: &Connection, job: JobId) -> rusqlite::Result<()> {
    let released = db
        .prepare_cached("DELETE FROM job_directories WHERE job = ?1 RETURNING directory")?
        .query_map([key(job)], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for directory in released {
        db.prepare_cached(
            "DELETE FROM directories WHERE id = ?1 AND NOT EXISTS \
             (SELECT 1 FROM job_directories WHERE directory = ?1)",
        )?
        .execute([directory])?;
    }
    Ok(())
}

/// The directories of one job, in the order of its mounts.
pub(super) fn of_job(db: &Connection, job: JobId) -> rusqlite::Result<Vec<Stored>> {
    db.prepare_cached(
        "SELECT d.id, d.uid, d.form FROM job_directories j JOIN directories d ON d.id = j.directory \
         WHERE j.job = ?1 ORDER BY j.position",
    )?
    .query_map([key(job)], stored)?
    .collect()
}

pub(super) fn waiting(db: &Connection) -> rusqlite::Result<Waiting> {
    let directories = db
        .prepare_cached("SELECT id, uid, form FROM directories")?
        .query_map([], stored)?
        .collect::<rusqlite::Result<_>>()?;
    let mut of_jobs: HashMap<_, Vec<_>> = HashMap::new();
    let mut statement =
        db.prepare_cached("SELECT job, directory FROM job_directories ORDER BY job, position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        of_jobs.entry(JobId(number(row, 0)?)).or_default().push(DirectoryId(number(row, 1)?));
    }
    Ok(Waiting { directories, of_jobs })
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored { id: DirectoryId(number(row, 0)?), uid: row.get(1)?, form: row.get(2)? })
}

fn id(directory: DirectoryId) -> i64 {
    i64::try_from(directory.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::new_job;
    use crate::store::{NewJob, Store};
    use fetchml_api::job::JobState;

    fn stored(id: u64) -> Stored {
        Stored { id: DirectoryId(id), uid: 1000, form: format!("form {id}") }
    }

    #[tokio::test]
    async fn directories_live_as_long_as_a_job_that_has_them() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("open");
        let with = |ids: &[u64]| NewJob {
            directories: ids.iter().copied().map(stored).collect(),
            ..new_job(1000, "j")
        };
        let jobs = vec![with(&[1, 2]), with(&[2, 2, 3]), with(&[3])];
        let [mut first, mut second, third] =
            <[_; 3]>::try_from(store.insert(jobs).await.expect("insert")).expect("three");
        drop(store);

        let store = Store::open(dir.path()).expect("open again");
        let waiting = store.waiting_directories().await.expect("read");
        assert_eq!(waiting.directories, [1, 2, 3].map(stored));
        assert_eq!(waiting.of_jobs[&second.id], [2, 2, 3].map(DirectoryId));
        assert_eq!(store.directories_of(first.id).await.expect("read"), [1, 2].map(stored));

        let left = async || store.waiting_directories().await.expect("read").directories;
        for state in [JobState::Starting, JobState::Running, JobState::Queued] {
            (first.state, first.attempt) = (state, 1);
            store.update(first.clone()).await.expect("update");
            assert_eq!(left().await.len(), 3, "a retry needs them again");
        }
        first.state = JobState::Failed;
        store.end(first, None, None).await.expect("end");
        assert_eq!(left().await, [2, 3].map(stored));
        (second.state, second.dead) = (JobState::Failed, true);
        store.end(second.clone(), None, None).await.expect("end");
        assert_eq!(left().await, [2, 3].map(stored), "a dead job may be put back");
        second.dead = false;
        store.end(second, None, None).await.expect("end");
        assert_eq!(left().await, [3].map(stored));
        store.forget(vec![third.id]).await.expect("forget");
        assert_eq!(left().await, []);
    }
}
