//! The schema and its history: migration N takes `user_version` from N to N+1.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

const MIGRATIONS: &[&str] = &[
    "
    -- AUTOINCREMENT: the number of a deleted job is never given out again.
    CREATE TABLE jobs (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        uid            INTEGER NOT NULL,
        gid            INTEGER NOT NULL,
        name           TEXT    NOT NULL,
        experiment     TEXT    NOT NULL,
        profile        TEXT    NOT NULL,
        state          TEXT    NOT NULL,
        reason         TEXT    NOT NULL,
        spec           TEXT    NOT NULL,
        attempt        INTEGER NOT NULL,
        submitted_usec INTEGER NOT NULL,
        started_usec   INTEGER,
        finished_usec  INTEGER,
        host_uid       INTEGER,
        layers         TEXT    NOT NULL,
        report         TEXT
    ) STRICT;
    CREATE INDEX jobs_by_user ON jobs (uid, id);
    CREATE INDEX jobs_unfinished ON jobs (id) WHERE state IN ('queued', 'starting', 'running');
    CREATE TABLE attempts (
        job            INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number         INTEGER NOT NULL,
        state          TEXT    NOT NULL,
        started_usec   INTEGER,
        finished_usec  INTEGER,
        host_uid       INTEGER,
        layers         TEXT    NOT NULL,
        report         TEXT,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN not_before_usec INTEGER;
    ALTER TABLE jobs ADD COLUMN failures TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE jobs ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN gpu_names TEXT NOT NULL DEFAULT '[]';
    CREATE INDEX jobs_dead ON jobs (uid, id) WHERE dead = 1;
    CREATE INDEX jobs_by_state ON jobs (state, id);
    CREATE INDEX jobs_by_end ON jobs (finished_usec) WHERE finished_usec IS NOT NULL;
    -- What users have used of late, for their fair share.
    CREATE TABLE shares (
        uid            INTEGER PRIMARY KEY,
        used           REAL    NOT NULL,
        gpu_seconds    REAL    NOT NULL,
        at_usec        INTEGER NOT NULL
    ) STRICT;
",
    "
    -- What the submitter's profile gave beyond every user's, as it was granted.
    ALTER TABLE jobs ADD COLUMN privileges TEXT NOT NULL DEFAULT '[]';
",
    "
    -- Directories that clients opened for jobs that are not over. Each once, however
    -- many jobs have it.
    CREATE TABLE directories (
        id             INTEGER PRIMARY KEY,
        uid            INTEGER NOT NULL,
        form           TEXT    NOT NULL
    ) STRICT;
    CREATE TABLE job_directories (
        job            INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        position       INTEGER NOT NULL,
        directory      INTEGER NOT NULL REFERENCES directories (id),
        PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_directories_by_directory ON job_directories (directory);
    -- During which run of the machine the current attempt was started.
    ALTER TABLE jobs ADD COLUMN boot_id TEXT;
",
    "
    -- Somebody asked for its end, and it is not over.
    ALTER TABLE jobs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
",
];

/// Opens the database and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut db = Connection::open(path).map_err(failed)?;
    configure(&db).map_err(failed)?;
    let version: u32 =
        db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found: version, known });
    }
    if version > 0 {
        check(&db, path)?;
    }
    migrate(&mut db, version).map_err(failed)?;
    Ok(db)
}

/// What a disk or a hand did to the pages of the database shows before anything is
/// written to them. Reads all of it: about a tenth of a second for 50,000 jobs.
fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |what: String| StoreError::Damaged { path: path.to_owned(), what };
    let found: String = db
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if found == "ok" { Ok(()) } else { Err(damaged(found.replace('\n', "; "))) }
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    // An administrator may look with sqlite3 while the supervisor runs.
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(db: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (target, migration) in (1u32..).zip(MIGRATIONS).filter(|(target, _)| *target > from) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", target)?;
        transaction.commit()?;
    }
    Ok(())
}
