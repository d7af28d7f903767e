//! `org.fetchml.FetchML1.Audit`.

use super::door::{Door, is_interactive};
use super::error::BusError;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

/// The audit log as one connection sees it.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) door: Door,
}

#[interface(name = "org.fetchml.FetchML1.Audit", introspection_docs = false)]
impl Audit {
    #[zbus(out_args("segments"))]
    async fn open_segments(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<(String, OwnedFd)>, BusError> {
        self.permit(&header, connection).await?;
        let segments = self.door.engine().ledger().open_segments().map_err(BusError::failed)?;
        Ok(segments.into_iter().map(|(name, segment)| (name, segment.into())).collect())
    }

    #[zbus(out_args("sequence", "hash"))]
    async fn head(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(u64, String), BusError> {
        self.permit(&header, connection).await?;
        Ok(self.door.engine().ledger().head())
    }
}

impl Audit {
    async fn permit(&self, header: &Header<'_>, connection: &Connection) -> Result<(), BusError> {
        let caller = self.door.caller(header, connection).await?;
        let allowed = self.door.access().may_read_audit(&caller, is_interactive(header)).await;
        if let Err(denied) = allowed {
            let words = denied.to_string();
            self.door.engine().record_denial(&caller, "read", "audit", &words).await;
            return Err(denied.into());
        }
        Ok(())
    }
}
