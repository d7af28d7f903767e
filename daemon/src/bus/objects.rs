//! Jobs as objects, and the object manager at the root. zbus's own object
//! manager shows every object to everybody and announces them to the whole bus;
//! this one knows who asks.

use super::door::Door;
use super::error::BusError;
use super::job::Job;
use super::manager::path;
use super::veil;
use crate::engine::{MOST_SHOWN, Shown};
use fetchml_api::job::JobId;
use fetchml_api::names::{JOB_INTERFACE, job_path};
use std::collections::HashMap;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, OwnedObjectPath, Variant, interface};

/// Name of the object manager's interface.
pub(super) const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

pub(super) type Interfaces = HashMap<&'static str, HashMap<&'static str, Variant<'static>>>;

/// The object manager as one connection sees it.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) door: Door,
}

#[interface(name = "org.freedesktop.DBus.ObjectManager", introspection_docs = false)]
impl Objects {
    #[zbus(out_args("objects"))]
    async fn get_managed_objects(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<HashMap<OwnedObjectPath, Interfaces>, BusError> {
        let caller = self.door.caller(&header, connection).await?;
        let scope = self.door.access().sight(&caller);
        let jobs = self.door.engine().shown(scope, MOST_SHOWN).await?;
        publish_told(&self.door, connection, jobs.iter().map(|job| job.id)).await?;
        jobs.iter().map(|job| Ok((path(job.id)?, interfaces(job)))).collect()
    }

    // Sent by `announce`; declared here for introspection.
    #[zbus(signal)]
    async fn interfaces_added(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: Interfaces,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn interfaces_removed(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: &[&str],
    ) -> zbus::Result<()>;
}

/// All properties of a job's object, as `GetAll` would give them.
pub(super) fn interfaces(job: &Shown) -> Interfaces {
    let properties = HashMap::from([
        ("Id", Variant::from(job.id.0)),
        ("Name", Variant::from(job.name.clone())),
        ("UID", Variant::from(job.uid)),
        ("State", Variant::from(job.state.as_str())),
    ]);
    HashMap::from([(JOB_INTERFACE, properties)])
}

/// Puts a job's object on a connection; does nothing when it is there.
pub(super) async fn publish(
    door: &Door,
    connection: &Connection,
    id: JobId,
) -> Result<(), BusError> {
    let job = Job { door: door.clone(), id };
    let was_there = connection.object_server().at(job_path(id), job).await?.is_some();
    if door.is_shared() && !was_there {
        veil::cover_job(door, connection, id).await?;
    }
    // The job may have ended while its object was being put there.
    if !door.engine().is_live(id) {
        withdraw(connection, id).await?;
    }
    Ok(())
}

/// The same for a job that was just accepted, unless too many wait for each to be an
/// object: then it becomes one when it starts, or when somebody asks for it.
pub(super) async fn publish_new(
    door: &Door,
    connection: &Connection,
    id: JobId,
) -> Result<(), BusError> {
    if door.engine().shows_new_jobs() { publish(door, connection, id).await } else { Ok(()) }
}

/// The same for jobs whose paths a caller is about to be told; a connection without a bus
/// began with few of them.
pub(super) async fn publish_told(
    door: &Door,
    connection: &Connection,
    jobs: impl Iterator<Item = JobId>,
) -> Result<(), BusError> {
    if !door.is_shared() {
        for id in jobs.take(MOST_SHOWN as usize) {
            publish(door, connection, id).await?;
        }
    }
    Ok(())
}

/// Takes a job's object away; does nothing when it is not there.
pub(super) async fn withdraw(connection: &Connection, id: JobId) -> Result<(), BusError> {
    match connection.object_server().remove::<Job, _>(job_path(id)).await {
        Ok(_) | Err(zbus::Error::InterfaceNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
