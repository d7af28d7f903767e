//! Signals: what happened to a job, to everybody who may know of it and nobody
//! else. One task a connection, so that a client that does not read holds up
//! only itself. On the message bus signals go to each caller by name, never to
//! all: states and results of a job are its owner's business.

use super::door::Door;
use super::error::BusError;
use super::objects::{self, OBJECT_MANAGER};
use crate::access::{Caller, Transport};
use crate::engine::{Change, Event, MOST_SHOWN, Scope, Shown};
use fetchml_api::job::{JobId, JobState};
use fetchml_api::names::{JOB_INTERFACE, MANAGER_INTERFACE, ROOT_PATH, job_path};
use std::collections::HashMap;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use zbus::export::serde::Serialize;
use zbus::{Connection, DynamicType, ObjectPath, Variant};

/// Follows the engine until the connection ends.
pub(super) async fn follow(door: Door, connection: Connection, mut events: Receiver<Event>) {
    tokio::select! {
        () = door.greeted() => {}
        () = connection.closed() => return,
    }
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = connection.closed() => return,
        };
        let told = match event {
            Ok(event) => tell(&door, &connection, event).await,
            // The client was told too much to keep up: objects are put right,
            // what it missed it can ask for.
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "a client does not keep up with the signals");
                catch_up(&door, &connection).await
            }
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = told {
            tracing::debug!(%error, "a signal could not be sent");
        }
    }
}

async fn catch_up(door: &Door, connection: &Connection) -> Result<(), BusError> {
    for job in visible(door).await? {
        objects::publish(door, connection, job).await?;
    }
    Ok(())
}

/// Waiting jobs that are objects of a connection without a bus from its beginning: each
/// command makes one and pays for them, 0.2 to 0.3 ms for so many.
const FIRST_SHOWN: u32 = 100;

/// Live jobs that somebody behind this connection may know of, as far as they are shown.
pub(super) async fn visible(door: &Door) -> Result<Vec<JobId>, BusError> {
    let scopes: Vec<_> = door.callers().iter().map(|c| door.access().sight(c)).collect();
    let shown = match scopes.as_slice() {
        [own] if !door.is_shared() => door.engine().shown(*own, FIRST_SHOWN).await?,
        _ => door.engine().shown(Scope::All, MOST_SHOWN).await?,
    };
    let seen = shown.into_iter().filter(|job| scopes.iter().any(|s| s.covers(job.uid)));
    Ok(seen.map(|job| job.id).collect())
}

async fn tell(door: &Door, connection: &Connection, event: Event) -> Result<(), BusError> {
    let callers = door.callers();
    let may_know = |caller: &&std::sync::Arc<Caller>| door.access().sight(caller).covers(event.uid);
    let audience: Vec<_> = callers.iter().filter(may_know).collect();
    // A tree of objects that is one caller's alone has only what that one may see, and
    // what it asked for by a right that was granted for once.
    let removed = matches!(event.what, Change::Removed(_));
    if audience.is_empty() && !door.is_shared() && !removed {
        return Ok(());
    }
    match event.what {
        Change::New => objects::publish_new(door, connection, event.job).await?,
        Change::State(JobState::Starting) => {
            objects::publish(door, connection, event.job).await?;
        }
        Change::Removed(_) => objects::withdraw(connection, event.job).await?,
        Change::State(_) => {}
    }
    for caller in audience {
        Signals { door, connection, caller }.send(event).await?;
    }
    Ok(())
}

/// Signals to one caller.
struct Signals<'a> {
    door: &'a Door,
    connection: &'a Connection,
    caller: &'a Caller,
}

impl Signals<'_> {
    async fn send(&self, event: Event) -> Result<(), BusError> {
        let id = event.job.0;
        let path = job_path(event.job);
        let object = ObjectPath::try_from(path.as_str())?;
        match event.what {
            Change::New => {
                let scope = Scope::Own(event.uid);
                if let Ok(job) = self.door.engine().unfinished_job(scope, event.job).await {
                    let added = (&object, objects::interfaces(&Shown::from(&job)));
                    self.emit(ROOT_PATH, OBJECT_MANAGER, "InterfacesAdded", &added).await?;
                }
                self.emit(ROOT_PATH, MANAGER_INTERFACE, "JobNew", &(id, &object)).await
            }
            Change::State(state) => {
                let word = state.as_str();
                if !state.is_final() {
                    self.emit_property(&path, state).await?;
                }
                self.emit(ROOT_PATH, MANAGER_INTERFACE, "JobStateChanged", &(id, word)).await
            }
            Change::Removed(state) => {
                let removed = (&object, [JOB_INTERFACE].as_slice());
                self.emit(ROOT_PATH, OBJECT_MANAGER, "InterfacesRemoved", &removed).await?;
                let body = (id, &object, state.as_str());
                self.emit(ROOT_PATH, MANAGER_INTERFACE, "JobRemoved", &body).await
            }
        }
    }

    async fn emit_property(&self, path: &str, state: JobState) -> Result<(), BusError> {
        let changed = HashMap::from([("State", Variant::from(state.as_str()))]);
        let body = (JOB_INTERFACE, changed, [].as_slice() as &[&str]);
        self.emit(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body).await
    }

    async fn emit<B>(
        &self,
        path: &str,
        interface: &str,
        name: &str,
        body: &B,
    ) -> Result<(), BusError>
    where
        B: Serialize + DynamicType,
    {
        let destination = match self.caller.transport() {
            Transport::Peer => None,
            Transport::Bus(name) => Some(name.as_str()),
        };
        Ok(self.connection.emit_signal(destination, path, interface, name, body).await?)
    }
}
