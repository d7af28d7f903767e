//! `org.fetchml.FetchML1.Job`: one job that is not over.

use super::door::Door;
use super::error::BusError;
use super::manager::json;
use crate::engine::Shown;
use crate::engine::launcher::Part;
use fetchml_api::job::JobId;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, fdo, interface};

/// A job as one connection sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) door: Door,
    pub(super) id: JobId,
}

#[interface(name = "org.fetchml.FetchML1.Job", introspection_docs = false)]
impl Job {
    #[zbus(out_args("json"))]
    async fn describe(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, BusError> {
        self.door.shown(self.id, &header, connection).await?;
        let reached = self.door.see(self.id, "describe", &header, connection).await?;
        json(&self.door.engine().describe(reached.scope, self.id).await?)
    }

    async fn cancel(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), BusError> {
        self.door.shown(self.id, &header, connection).await?;
        let reached = self.door.change(self.id, "cancel", &header, connection).await?;
        Ok(self.door.engine().cancel(&reached.caller, self.id).await?)
    }

    #[zbus(out_args("log"))]
    async fn open_log(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd, BusError> {
        self.door.shown(self.id, &header, connection).await?;
        let reached = self.door.see(self.id, "open", &header, connection).await?;
        Ok(self.door.engine().open(reached.scope, self.id, Part::Log).await?.into())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn id(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<u64> {
        Ok(self.record(header, connection).await?.id.0)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn name(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<String> {
        Ok(self.record(header, connection).await?.name)
    }

    #[zbus(property(emits_changed_signal = "const"), name = "UID")]
    async fn uid(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<u32> {
        Ok(self.record(header, connection).await?.uid)
    }

    #[zbus(property)]
    async fn state(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<String> {
        Ok(self.record(header, connection).await?.state.as_str().to_owned())
    }
}

impl Job {
    /// The job, if the caller may see it without asking: properties are read by
    /// tools that walk the tree, so nothing is asked and nothing recorded.
    async fn record(
        &self,
        header: Option<Header<'_>>,
        connection: &Connection,
    ) -> fdo::Result<Shown> {
        let hidden = || fdo::Error::UnknownObject(format!("there is no job {}", self.id));
        // Without a header nobody asks; nothing here reads its own properties.
        let header = header.ok_or_else(hidden)?;
        self.door.shown(self.id, &header, connection).await.map_err(|_| hidden())
    }
}
