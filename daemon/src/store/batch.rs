//! The thread that owns the database. Requests that wait at the same time share one
//! transaction and so one fdatasync.

use super::StoreError;
use rusqlite::Connection;
use std::io;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most requests in one transaction, so that the first of a flood is not kept waiting.
const MAX_BATCH: usize = 256;

/// Handle of the thread; it ends with the last one.
#[derive(Clone, Debug)]
pub(super) struct Batches(mpsc::Sender<Request>);

struct Request {
    synchronous: Synchronous,
    work: Work,
}

/// Runs inside the batch's transaction, or hears why there is none; what it returns runs
/// after the commit.
type Work = Box<dyn FnOnce(Result<&mut Connection, &str>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// What a commit survives, by the name of SQLite's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Synchronous {
    /// The end of the supervisor; that of the machine only when a later one did.
    Normal,
    /// Both.
    Full,
}

impl Batches {
    /// Starts it, with a database that was opened with full sync.
    pub(super) fn start(db: Connection) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store".to_owned());
        thread.spawn(move || serve(db, &inbox))?;
        Ok(Self(requests))
    }

    /// Answers after the commit of a transaction that the work was part of.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        synchronous: Synchronous,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |db| {
            let result = match db {
                Ok(db) => in_savepoint(db, work).map_err(|error| error.to_string()),
                Err(why) => Err(why.to_owned()),
            };
            Box::new(move |committed| {
                let result = result.and_then(|value| committed.map(|()| value));
                // A caller that went away needs no answer.
                let _ = reply.send(result.map_err(StoreError::Sql));
            })
        });
        let request = Request { synchronous, work };
        self.0.send(request).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// One request that fails must not take its neighbours in the batch with it.
fn in_savepoint<T>(
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let savepoint = db.savepoint()?;
    let value = work(&savepoint)?;
    savepoint.commit()?;
    Ok(value)
}

/// The store's thread: until the last handle is dropped.
fn serve(mut db: Connection, inbox: &mpsc::Receiver<Request>) {
    // As it was opened.
    let mut synchronous = Synchronous::Full;
    while let Ok(first) = inbox.recv() {
        let batch: Vec<_> =
            std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH - 1)).collect();
        let needed = batch.iter().map(|request| request.synchronous).max();
        let begun = begin(&db, &mut synchronous, needed.unwrap_or(Synchronous::Full));
        let answers: Vec<_> = batch
            .into_iter()
            .map(|request| match &begun {
                Ok(()) => (request.work)(Ok(&mut db)),
                Err(why) => (request.work)(Err(why)),
            })
            .collect();
        let committed = begun.and_then(|()| {
            db.execute_batch("COMMIT").map_err(|error| {
                // Already rolled back by some errors, then there is no transaction to end.
                let _ = db.execute_batch("ROLLBACK");
                error.to_string()
            })
        });
        for answer in answers {
            answer(committed.clone());
        }
    }
    // Leaves one file behind instead of three; the write-ahead log would do.
    let _ = db.pragma_update(None, "wal_checkpoint", "TRUNCATE");
    let _ = db.busy_timeout(Duration::ZERO);
    drop(db.close());
}

/// Begins a transaction whose commit survives what is needed.
fn begin(db: &Connection, now: &mut Synchronous, needed: Synchronous) -> Result<(), String> {
    if *now != needed {
        db.execute_batch(match needed {
            Synchronous::Normal => "PRAGMA synchronous = NORMAL",
            Synchronous::Full => "PRAGMA synchronous = FULL",
        })
        .map_err(|error| error.to_string())?;
        *now = needed;
    }
    db.execute_batch("BEGIN").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::tests::{insert, opened};
    use super::*;

    #[tokio::test]
    async fn each_commit_survives_what_it_must() {
        let (_dir, store) = opened();
        for (synchronous, value) in
            [(Synchronous::Full, 2), (Synchronous::Normal, 1), (Synchronous::Full, 2)]
        {
            let pragma = "synchronous";
            let set = move |db: &Connection| db.pragma_query_value(None, pragma, |row| row.get(0));
            let set: i32 = store.requests.commit(synchronous, set).await.expect("read");
            assert_eq!(set, value, "{synchronous:?}");
        }
    }

    #[tokio::test]
    async fn a_failing_request_leaves_its_neighbours_in_the_batch() {
        let (_dir, store) = opened();
        let good = insert(&store, 1, "good");
        let bad = store.call(|db| {
            db.execute("UPDATE jobs SET name = 'changed'", [])?;
            db.execute("INSERT INTO no_such_table VALUES (1)", [])
        });
        let (good, bad) = tokio::join!(good, bad);
        assert!(bad.is_err());
        let read = store.job(good.id).await.expect("read").expect("there");
        assert_eq!(read.spec.name, "good");
        let listed = store.summaries(Filter::default()).await.expect("read");
        assert_eq!(listed[0].name, "good", "half of a failed request was kept");
    }
}
