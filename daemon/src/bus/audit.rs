//! `org.fetchml.FetchML1.Audit`.

use super::door::{Door, is_interactive};
use super::error::BusError;
use crate::access::Caller;
use crate::engine::{EngineError, Scope, records};
use std::sync::Arc;
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
        let caller = self.permit(&header, connection).await?;
        self.note_reader(&caller).await?;
        let segments = self.door.engine().ledger().open_segments().map_err(BusError::failed)?;
        Ok(segments.into_iter().map(|(name, segment)| (name, segment.into())).collect())
    }

    #[zbus(out_args("files"))]
    async fn open_files(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        after: &str,
    ) -> Result<Vec<(String, OwnedFd)>, BusError> {
        let caller = self.permit(&header, connection).await?;
        if after.is_empty() || !self.door.has_read(&caller) {
            self.note_reader(&caller).await?;
        }
        let files = self.door.engine().ledger().open_files(after).map_err(BusError::failed)?;
        Ok(files.into_iter().map(|(name, file)| (name, file.into())).collect())
    }

    #[zbus(out_args("note"))]
    async fn checkpoint(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, BusError> {
        self.permit(&header, connection).await?;
        let made = self.door.engine().ledger().checkpoint().await;
        made.map_err(|error| EngineError::AuditUnavailable(error).into())
    }

    /// They are public, and by them alone nobody learns anything of the log.
    #[zbus(out_args("keys"))]
    async fn public_keys(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<String>, BusError> {
        self.door.caller(&header, connection).await?;
        self.door.engine().ledger().keys().map_err(BusError::failed)
    }

    async fn report_verification(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        status: u8,
        words: &str,
    ) -> Result<(), BusError> {
        let caller = self.permit(&header, connection).await?;
        if status > 3 {
            return Err(BusError::invalid(format!("status is {status}: it must be 0, 1, 2 or 3")));
        }
        self.door.record(records::audit_verified(&caller, status, words)).await
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
    /// Who reads the log stands in it before they have read it. When it cannot be
    /// written, the operator may read it all the same: to find out why.
    async fn note_reader(&self, caller: &Arc<Caller>) -> Result<(), BusError> {
        self.door.note_reading(caller);
        match self.door.record(records::audit_read(caller)).await {
            Err(error) if self.door.access().scope(caller) == Scope::All => {
                tracing::error!(error = %error.message, "who reads the audit log could not be recorded");
                Ok(())
            }
            recorded => recorded,
        }
    }

    async fn permit(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        let caller = self.door.caller(header, connection).await?;
        let allowed = self.door.access().may_read_audit(&caller, is_interactive(header)).await;
        if let Err(denied) = allowed {
            return Err(self.door.denied(&caller, "read", "audit", denied).await);
        }
        Ok(caller)
    }
}
