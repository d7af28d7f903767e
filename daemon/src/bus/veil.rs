//! The tree of objects as each caller on the message bus may see it.
//!
//! All of them share one connection and so one tree. What zbus answers to
//! `Introspect` and to `Properties` is the same for everybody: it would tell the numbers
//! of other users' jobs, and by its errors which of them are not over. So these two
//! interfaces are ours wherever a job shows, and a job that the caller may not see is
//! answered as an object that is not there, in the same words.

use super::audit::Audit;
use super::door::Door;
use super::error::BusError;
use super::job::Job;
use super::manager::Manager;
use super::objects::{self, Objects};
use crate::engine::{MOST_SHOWN, Shown};
use fetchml_api::job::JobId;
use fetchml_api::names::{JOB_INTERFACE, JOB_PATH_PREFIX, ROOT_PATH, job_path};
use std::collections::HashMap;
use zbus::message::Header;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{Connection, OwnedVariant, Variant, fdo, interface};

/// The interface that zbus answers by itself, at every path alike.
const PEER: &str = r#"  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg type="s" direction="out"/>
    </method>
  </interface>
"#;

/// Covers the objects above those of jobs.
pub(super) async fn cover_tree(door: &Door, connection: &Connection) -> zbus::Result<()> {
    let server = connection.object_server();
    server.at(JOB_PATH_PREFIX, Kept).await?;
    introspect(door, connection, JOB_PATH_PREFIX, Place::Jobs).await?;
    introspect(door, connection, ROOT_PATH, Place::Root).await?;
    // Each part of the path above it leads to the next.
    let mut path = ROOT_PATH;
    while let Some((above, child)) = path.rsplit_once('/') {
        path = above;
        let at = if above.is_empty() { "/" } else { above };
        introspect(door, connection, at, Place::Above(child)).await?;
    }
    Ok(())
}

/// Covers a job's object, which was just put there.
pub(super) async fn cover_job(door: &Door, connection: &Connection, id: JobId) -> zbus::Result<()> {
    let path = job_path(id);
    introspect(door, connection, &path, Place::Job(id)).await?;
    let properties = Properties { door: door.clone(), id };
    instead(connection, &path, properties).await
}

async fn introspect(
    door: &Door,
    connection: &Connection,
    path: &str,
    place: Place,
) -> zbus::Result<()> {
    instead(connection, path, Introspection { door: door.clone(), place }).await
}

/// Puts an interface in the place of the one of that name.
async fn instead<I: Interface>(connection: &Connection, path: &str, ours: I) -> zbus::Result<()> {
    let server = connection.object_server();
    match server.remove::<I, _>(path).await {
        Ok(_) | Err(zbus::Error::InterfaceNotFound) => {}
        Err(error) => return Err(error),
    }
    server.at(path, ours).await.map(drop)
}

/// Keeps the parent of the jobs' objects, which would go with the last of them.
#[derive(Debug)]
struct Kept;

#[interface(name = "org.fetchml.FetchML1.Jobs", introspection_docs = false)]
impl Kept {}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Above ours, with this one below it.
    Above(&'static str),
    Root,
    Jobs,
    Job(JobId),
}

/// What an object says of itself and of those below it.
#[derive(Debug)]
struct Introspection {
    door: Door,
    place: Place,
}

#[interface(name = "org.freedesktop.DBus.Introspectable", introspection_docs = false)]
impl Introspection {
    #[zbus(out_args("xml_data"))]
    async fn introspect(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, BusError> {
        let door = &self.door;
        Ok(match self.place {
            Place::Above(child) => self.document(&[&fdo::Properties], &[child.to_owned()]),
            Place::Root => {
                let (audit, manager) =
                    (Audit { door: door.clone() }, Manager { door: door.clone() });
                let objects = Objects { door: door.clone() };
                let own: [&dyn Interface; 4] = [&manager, &audit, &objects, &fdo::Properties];
                self.document(&own, &["job".to_owned()])
            }
            Place::Jobs => {
                let caller = door.caller(&header, connection).await?;
                let jobs = door.engine().shown(door.access().sight(&caller), MOST_SHOWN).await?;
                let jobs: Vec<_> = jobs.iter().map(|job| job.id.to_string()).collect();
                self.document(&[&fdo::Properties], &jobs)
            }
            Place::Job(id) => {
                door.shown(id, &header, connection).await?;
                let job = Job { door: door.clone(), id };
                self.document(&[&job, &Properties { door: door.clone(), id }], &[])
            }
        })
    }
}

impl Introspection {
    fn document(&self, interfaces: &[&dyn Interface], below: &[String]) -> String {
        let mut xml = String::from(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
        );
        for interface in interfaces {
            interface.introspect_to_writer(&mut xml, 2);
        }
        self.introspect_to_writer(&mut xml, 2);
        xml.push_str(PEER);
        for name in below {
            xml.push_str(&format!("  <node name=\"{name}\"/>\n"));
        }
        xml.push_str("</node>\n");
        xml
    }
}

/// The properties of a job's object.
#[derive(Debug)]
struct Properties {
    door: Door,
    id: JobId,
}

#[interface(name = "org.freedesktop.DBus.Properties", introspection_docs = false)]
impl Properties {
    #[zbus(out_args("value"))]
    async fn get(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        interface_name: &str,
        property_name: &str,
    ) -> Result<OwnedVariant, BusError> {
        let mut all = self.all(&header, connection, interface_name).await?;
        all.remove(property_name).ok_or_else(|| BusError::unknown_property(property_name))
    }

    #[zbus(out_args("properties"))]
    async fn get_all(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        interface_name: &str,
    ) -> Result<HashMap<String, OwnedVariant>, BusError> {
        self.all(&header, connection, interface_name).await
    }

    async fn set(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        interface_name: &str,
        property_name: &str,
        _value: Variant<'_>,
    ) -> Result<(), BusError> {
        self.all(&header, connection, interface_name).await?;
        Err(BusError::read_only(property_name))
    }

    // Sent by `announce`; declared here for introspection.
    #[zbus(signal)]
    async fn properties_changed(
        emitter: &SignalEmitter<'_>,
        interface_name: &str,
        changed_properties: HashMap<&str, Variant<'_>>,
        invalidated_properties: &[&str],
    ) -> zbus::Result<()>;
}

impl Properties {
    async fn all(
        &self,
        header: &Header<'_>,
        connection: &Connection,
        interface: &str,
    ) -> Result<HashMap<String, OwnedVariant>, BusError> {
        let job = self.door.shown(self.id, header, connection).await?;
        let known = objects::interfaces(&job).remove(JOB_INTERFACE);
        let known = known.filter(|_| interface == JOB_INTERFACE || interface.is_empty());
        let Some(known) = known else { return Ok(HashMap::new()) };
        let owned = |(name, value): (&str, Variant<'static>)| {
            Ok((name.to_owned(), OwnedVariant::try_from(value)?))
        };
        known.into_iter().map(owned).collect()
    }
}

impl Door {
    /// A job that is an object, if the caller may see it without asking anybody.
    pub(super) async fn shown(
        &self,
        id: JobId,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Shown, BusError> {
        let hidden = || BusError::unknown_object(&job_path(id));
        let caller = self.caller(header, connection).await.map_err(|_| hidden())?;
        let scope = self.access().sight(&caller);
        let job = self.engine().unfinished_job(scope, id).await.map_err(|_| hidden())?;
        Ok(Shown::from(&job))
    }
}
