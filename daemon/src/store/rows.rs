//! Rows and the types they become.

use super::directories;
use crate::directories::Stored;
use fetchml_api::job::{ExitReport, FailureClass, JobDescription, JobId, JobSpec, JobState, Layer};
use fetchml_api::queueing::Queueing;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job that was just accepted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Host user id of the submitter.
    pub uid: u32,
    /// Host group id of the submitter.
    pub gid: u32,
    /// What was asked for.
    pub spec: JobSpec,
    /// What its profile gives beyond what every user may have, as it was granted.
    pub privileges: Vec<String>,
    /// Why it waits.
    pub reason: String,
    /// When it was accepted, microseconds since the epoch.
    pub submitted_usec: u64,
    /// One for each of its mounts, in that order.
    pub directories: Arc<[Stored]>,
}

/// Everything the supervisor remembers of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its number.
    pub id: JobId,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Host group id of the submitter.
    pub gid: u32,
    /// What was asked for.
    pub spec: JobSpec,
    /// What its profile gave beyond what every user may have when it was submitted.
    pub privileges: Vec<String>,
    /// Current state.
    pub state: JobState,
    /// Why, in words.
    pub reason: String,
    /// Current or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Times in microseconds since the epoch.
    pub submitted_usec: u64,
    /// See `submitted_usec`.
    pub started_usec: Option<u64>,
    /// See `submitted_usec`.
    pub finished_usec: Option<u64>,
    /// Host user id the attempt runs as.
    pub host_uid: Option<u32>,
    /// Layers of the attempt's sandbox, as planned.
    pub layers: Vec<Layer>,
    /// Why it ended, or why its last attempt did.
    pub report: Option<ExitReport>,
    /// Its place in the queue; what the specification says until somebody changes it.
    pub priority: i32,
    /// Waits until somebody releases it.
    pub held: bool,
    /// Not before this time is it tried again, microseconds since the epoch.
    pub not_before_usec: Option<u64>,
    /// How often it failed, by class; begins anew when somebody puts it back.
    pub failures: BTreeMap<FailureClass, u32>,
    /// Whether it is in the dead-letter list.
    pub dead: bool,
    /// Accelerators of the current attempt.
    pub gpu_names: Vec<String>,
    /// During which run of the machine the current attempt was started.
    pub boot_id: Option<String>,
    /// Somebody asked for its end before it was over. Only [`super::Store::ask_end`]
    /// writes it.
    pub cancelled: bool,
}

impl JobRecord {
    /// What clients may know of it.
    #[must_use]
    pub fn describe(&self, user: Option<String>) -> JobDescription {
        JobDescription {
            version: 1,
            id: self.id,
            uid: self.uid,
            user,
            state: self.state,
            reason: self.reason.clone(),
            spec: JobSpec {
                queueing: Queueing { priority: self.priority, ..self.spec.queueing.clone() },
                ..self.spec.clone()
            },
            attempt: self.attempt,
            submitted_usec: self.submitted_usec,
            started_usec: self.started_usec,
            finished_usec: self.finished_usec,
            host_uid: self.host_uid.filter(|_| !self.state.is_final()),
            denied: self.report.as_ref().map(|r| r.denied.clone()).unwrap_or_default(),
            usage: None,
            report: self.report.clone(),
            held: self.held,
            not_before_usec: self.not_before_usec,
            dead: self.dead,
            gpu_names: self.gpu_names.clone(),
        }
    }
}

/// Key facts of a job, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub id: JobId,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Name for people.
    pub name: String,
    /// Experiment it belongs to.
    pub experiment: String,
    /// Sandbox profile.
    pub profile: String,
    /// Current state.
    pub state: JobState,
    /// When it was accepted, microseconds since the epoch.
    pub submitted_usec: u64,
}

/// Which jobs a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this user.
    pub uid: Option<u32>,
    /// Only those in this state.
    pub state: Option<JobState>,
    /// At most this many, the newest.
    pub limit: u32,
    /// Only those with a lower number.
    pub before: Option<JobId>,
    /// Only those in the dead-letter list.
    pub dead: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { uid: None, state: None, limit: 50, before: None, dead: false }
    }
}

const COLUMNS: &str = "id, uid, gid, state, reason, spec, attempt, submitted_usec, started_usec, \
                       finished_usec, host_uid, layers, report, priority, held, not_before_usec, \
                       failures, dead, gpu_names, privileges, boot_id, cancelled";
/// Where the specification is among them.
const SPEC: usize = 5;

pub(super) fn insert(db: &Connection, jobs: Vec<NewJob>) -> rusqlite::Result<Vec<JobRecord>> {
    let mut array = None;
    let mut records = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        if let Some(place) = &mut job.spec.queueing.array {
            // The next one, as AUTOINCREMENT gives them out within a transaction.
            place.array = match array {
                Some(array) => array,
                None => next_id(db)?,
            };
            array = Some(place.array);
        }
        records.push(insert_one(db, job)?);
    }
    Ok(records)
}

fn next_id(db: &Connection) -> rusqlite::Result<JobId> {
    let last: Option<i64> = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(JobId(u64::try_from(last.unwrap_or(0)).unwrap_or(0) + 1))
}

fn insert_one(db: &Connection, job: NewJob) -> rusqlite::Result<JobRecord> {
    let mut record = JobRecord {
        id: JobId(0),
        uid: job.uid,
        gid: job.gid,
        privileges: job.privileges,
        state: JobState::Queued,
        reason: job.reason,
        attempt: 0,
        submitted_usec: job.submitted_usec,
        started_usec: None,
        finished_usec: None,
        host_uid: None,
        layers: Vec::new(),
        report: None,
        priority: job.spec.queueing.priority,
        held: job.spec.queueing.held,
        not_before_usec: None,
        failures: BTreeMap::new(),
        dead: false,
        gpu_names: Vec::new(),
        boot_id: None,
        cancelled: false,
        spec: job.spec,
    };
    db.prepare_cached(
        "INSERT INTO jobs (uid, gid, name, experiment, profile, state, reason, spec, attempt, \
         submitted_usec, layers, priority, held, privileges) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, '[]', ?10, ?11, ?12)",
    )?
    .execute(params![
        record.uid,
        record.gid,
        record.spec.name,
        record.spec.experiment,
        record.spec.profile,
        record.state.as_str(),
        record.reason,
        json(&record.spec)?,
        time(record.submitted_usec),
        record.priority,
        record.held,
        json(&record.privileges)?,
    ])?;
    record.id = JobId(u64::try_from(db.last_insert_rowid()).unwrap_or(0));
    directories::bind(db, record.id, &job.directories)?;
    Ok(record)
}

/// What an attempt ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Which attempt of the job, from 1.
    pub number: u32,
    /// How it ended; the job itself may wait for another.
    pub state: JobState,
    /// When, microseconds since the epoch.
    pub finished_usec: Option<u64>,
}

/// One try of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// Which, from 1.
    pub number: u32,
    /// Where it is, or how it ended.
    pub state: JobState,
    /// When its command began, microseconds since the epoch.
    pub started_usec: Option<u64>,
    /// When it ended, microseconds since the epoch.
    pub finished_usec: Option<u64>,
    /// Host user id that it ran as.
    pub host_uid: Option<u32>,
    /// Layers of its sandbox.
    pub layers: Vec<Layer>,
    /// Why it ended.
    pub report: Option<ExitReport>,
}

pub(super) fn update(db: &Connection, job: &JobRecord) -> rusqlite::Result<()> {
    set(db, job)?;
    put_attempt(db, job, job.attempt, job.state, job.finished_usec)
}

pub(super) fn end_attempt(
    db: &Connection,
    job: &JobRecord,
    end: &AttemptEnd,
) -> rusqlite::Result<()> {
    put_attempt(db, job, end.number, end.state, end.finished_usec)
}

pub(super) fn set_place(
    db: &Connection,
    id: JobId,
    priority: i32,
    held: bool,
) -> rusqlite::Result<()> {
    let changed = db
        .prepare_cached("UPDATE jobs SET priority = ?2, held = ?3 WHERE id = ?1")?
        .execute(params![key(id), priority, held])?;
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// A job that is over stays as it is.
pub(super) fn ask_end(db: &Connection, id: JobId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE jobs SET cancelled = 1 \
         WHERE id = ?1 AND state IN ('queued', 'starting', 'running')",
    )?
    .execute([key(id)])?;
    Ok(())
}

pub(super) fn set(db: &Connection, job: &JobRecord) -> rusqlite::Result<()> {
    let id = key(job.id);
    let (started, finished) = (job.started_usec.map(time), job.finished_usec.map(time));
    let changed = db
        .prepare_cached(
            "UPDATE jobs SET state = ?2, reason = ?3, attempt = ?4, started_usec = ?5, \
             finished_usec = ?6, host_uid = ?7, layers = ?8, report = ?9, priority = ?10, held = ?11, \
             not_before_usec = ?12, failures = ?13, dead = ?14, gpu_names = ?15, boot_id = ?16, \
             cancelled = cancelled AND NOT ?17 WHERE id = ?1",
        )?
        .execute(params![
            id,
            job.state.as_str(),
            job.reason,
            job.attempt,
            started,
            finished,
            job.host_uid,
            json(&job.layers)?,
            job.report.as_ref().map(json).transpose()?,
            job.priority,
            job.held,
            job.not_before_usec.map(time),
            json(&job.failures)?,
            job.dead,
            json(&job.gpu_names)?,
            job.boot_id,
            job.state.is_final(),
        ])?;
    if changed != 1 {
        return Err(rusqlite::Error::StatementChangedRows(changed));
    }
    // Whoever takes it from the dead-letter list starts it again.
    if job.state.is_final() && !job.dead {
        directories::release(db, job.id)?;
    }
    Ok(())
}

fn put_attempt(
    db: &Connection,
    job: &JobRecord,
    number: u32,
    state: JobState,
    finished_usec: Option<u64>,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO attempts (job, number, state, started_usec, finished_usec, \
         host_uid, layers, report) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        key(job.id),
        number,
        state.as_str(),
        job.started_usec.map(time),
        finished_usec.map(time),
        job.host_uid,
        json(&job.layers)?,
        job.report.as_ref().map(json).transpose()?,
    ])?;
    Ok(())
}

pub(super) fn forget_attempts_after(db: &Connection, id: JobId, last: u32) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM attempts WHERE job = ?1 AND number > ?2")?
        .execute(params![key(id), last])?;
    Ok(())
}

pub(super) fn attempts(db: &Connection, id: JobId) -> rusqlite::Result<Vec<AttemptRecord>> {
    db.prepare_cached(
        "SELECT number, state, started_usec, finished_usec, host_uid, layers, report \
         FROM attempts WHERE job = ?1 ORDER BY number",
    )?
    .query_map([key(id)], |row| {
        Ok(AttemptRecord {
            number: row.get(0)?,
            state: state(row, 1)?,
            started_usec: optional_number(row, 2)?,
            finished_usec: optional_number(row, 3)?,
            host_uid: row.get(4)?,
            layers: document(5, &row.get::<_, String>(5)?)?,
            report: row.get::<_, Option<String>>(6)?.map(|text| document(6, &text)).transpose()?,
        })
    })?
    .collect()
}

pub(super) fn forget(db: &Connection, id: JobId) -> rusqlite::Result<()> {
    directories::release(db, id)?;
    db.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([key(id)])?;
    Ok(())
}

/// A job that was forgotten; its directory is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Its number.
    pub id: JobId,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Experiment it belonged to.
    pub experiment: String,
}

pub(super) fn prune(
    db: &Connection,
    before_usec: u64,
    limit: u32,
) -> rusqlite::Result<Vec<Pruned>> {
    db.prepare_cached(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_usec < ?1 AND dead = 0 \
         AND state NOT IN ('queued', 'starting', 'running') ORDER BY finished_usec LIMIT ?2) \
         RETURNING id, uid, experiment",
    )?
    .query_map(params![time(before_usec), limit], |row| {
        Ok(Pruned { id: JobId(number(row, 0)?), uid: row.get(1)?, experiment: row.get(2)? })
    })?
    .collect()
}

pub(super) fn job(db: &Connection, id: JobId) -> rusqlite::Result<Option<JobRecord>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
        .query_row([key(id)], record)
        .optional()
}

pub(super) fn unfinished(db: &Connection) -> rusqlite::Result<Vec<JobRecord>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM jobs WHERE state IN ('queued', 'starting', 'running') ORDER BY id"
    ))?
    .query_map([], record)?
    .collect()
}

const SUMMARY: &str = "id, uid, name, experiment, profile, state, submitted_usec";

pub(super) fn summaries(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Summary>> {
    newest_last(db, SUMMARY, filter, |row| summary(row).map(Some))
}

pub(super) fn waiting(
    db: &Connection,
    uid: Option<u32>,
    limit: u32,
) -> rusqlite::Result<Vec<Summary>> {
    let by_user = if uid.is_some() { "uid = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT {SUMMARY} FROM jobs WHERE state = 'queued' AND {by_user} ORDER BY id LIMIT ?2"
    );
    db.prepare_cached(&sql)?.query_map(params![uid, limit], summary)?.collect()
}

fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    Ok(Summary {
        id: JobId(number(row, 0)?),
        uid: row.get(1)?,
        name: row.get(2)?,
        experiment: row.get(3)?,
        profile: row.get(4)?,
        state: state(row, 5)?,
        submitted_usec: number(row, 6)?,
    })
}

/// Ends early with the job whose specification brings those so far to this many bytes.
pub(super) fn jobs(
    db: &Connection,
    filter: &Filter,
    most_bytes: usize,
) -> rusqlite::Result<Vec<JobRecord>> {
    let mut bytes = 0;
    let spec_bytes =
        |row: &Row<'_>| row.get_ref(SPEC).map(|spec| spec.as_bytes().map_or(0, <[u8]>::len));
    newest_last(db, COLUMNS, filter, |row| {
        if bytes >= most_bytes {
            return Ok(None);
        }
        bytes += spec_bytes(row)?;
        record(row).map(Some)
    })
}

fn newest_last<T>(
    db: &Connection,
    columns: &str,
    filter: &Filter,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    // The user's condition is left out rather than made optional in SQL: the
    // planner takes the index on (uid, id) only when it sees an equality.
    let by_user = if filter.uid.is_some() { "uid = ?1" } else { "?1 IS NULL" };
    let dead = if filter.dead { "AND dead = 1" } else { "" };
    let sql = format!(
        "SELECT {columns} FROM jobs WHERE {by_user} AND (?2 IS NULL OR state = ?2) AND id < ?3 \
         {dead} ORDER BY id DESC LIMIT ?4"
    );
    let before = filter.before.map_or(i64::MAX, key);
    let state = filter.state.map(JobState::as_str);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![filter.uid, state, before, filter.limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(one) = read(row)? else { break };
        found.push(one);
    }
    found.reverse();
    Ok(found)
}

fn record(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    Ok(JobRecord {
        id: JobId(number(row, 0)?),
        uid: row.get(1)?,
        gid: row.get(2)?,
        state: state(row, 3)?,
        reason: row.get(4)?,
        spec: document(SPEC, &row.get::<_, String>(SPEC)?)?,
        attempt: row.get(6)?,
        submitted_usec: number(row, 7)?,
        started_usec: optional_number(row, 8)?,
        finished_usec: optional_number(row, 9)?,
        host_uid: row.get(10)?,
        layers: document(11, &row.get::<_, String>(11)?)?,
        report: row.get::<_, Option<String>>(12)?.map(|text| document(12, &text)).transpose()?,
        priority: row.get(13)?,
        held: row.get(14)?,
        not_before_usec: optional_number(row, 15)?,
        failures: document(16, &row.get::<_, String>(16)?)?,
        dead: row.get(17)?,
        gpu_names: document(18, &row.get::<_, String>(18)?)?,
        privileges: document(19, &row.get::<_, String>(19)?)?,
        boot_id: row.get(20)?,
        cancelled: row.get(21)?,
    })
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn document<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<JobState> {
    let word: String = row.get(column)?;
    JobState::parse(&word).ok_or_else(|| {
        let unknown = format!("unknown job state {word}").into();
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, unknown)
    })
}

/// SQLite's integers are signed; numbers and times stay far below the border.
pub(super) fn key(id: JobId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

fn time(usec: u64) -> i64 {
    i64::try_from(usec).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    unsigned(column, row.get(column)?)
}

fn optional_number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    get::<Option<i64>>(row, column)?.map(|value| unsigned(column, value)).transpose()
}

fn get<T: FromSql>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get(column)
}

fn unsigned(column: usize, value: i64) -> rusqlite::Result<u64> {
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
