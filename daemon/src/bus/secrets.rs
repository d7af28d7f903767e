//! What administrators do with secrets for jobs. A value comes in a memory file: no
//! message has one, which a monitor of the bus could read.

use super::door::Door;
use super::error::BusError;
use crate::access::Caller;
use crate::engine::{EngineError, now_usec, records};
use crate::secrets::{Listed, Vault, VaultError, read_value};
use fetchml_api::audit::{Event, Outcome};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zbus::Connection;
use zbus::message::Header;

impl Door {
    /// Who may add, see and remove secrets.
    pub(super) async fn keeper(
        &self,
        action: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        let caller = self.caller(header, connection).await?;
        let interactive = super::door::is_interactive(header);
        match self.access().may_keep_secrets(&caller, interactive).await {
            Ok(()) => Ok(caller),
            Err(denied) => Err(self.denied(&caller, action, "secrets", denied).await),
        }
    }

    pub(super) async fn add_secret(
        &self,
        caller: &Caller,
        name: String,
        holders: Vec<String>,
        value: OwnedFd,
    ) -> Result<(), BusError> {
        let value = read_value(&value).map_err(EngineError::from)?;
        let told = Some(holders.join(","));
        self.change_secret(caller, Event::SecretAdded, name, told, move |vault, name| {
            vault.add(name, &holders, &value, now_usec())
        })
        .await
    }

    pub(super) async fn rotate_secret(
        &self,
        caller: &Caller,
        name: String,
        value: OwnedFd,
    ) -> Result<(), BusError> {
        let value = read_value(&value).map_err(EngineError::from)?;
        self.change_secret(caller, Event::SecretRotated, name, None, move |vault, name| {
            vault.rotate(name, &value, now_usec())
        })
        .await
    }

    pub(super) async fn remove_secret(
        &self,
        caller: &Caller,
        name: String,
    ) -> Result<(), BusError> {
        self.change_secret(caller, Event::SecretRemoved, name, None, Vault::remove).await
    }

    pub(super) async fn secrets(&self) -> Result<Vec<Listed>, BusError> {
        let vault = self.engine().vault().clone();
        let listed = tokio::task::spawn_blocking(move || vault.list()).await;
        Ok(listed.map_err(gone)?.map_err(EngineError::from)?)
    }

    /// Recorded first; when it then does not work, that is recorded as well.
    async fn change_secret(
        &self,
        caller: &Caller,
        event: Event,
        name: String,
        holders: Option<String>,
        change: impl FnOnce(&Vault, &str) -> Result<(), VaultError> + Send + 'static,
    ) -> Result<(), BusError> {
        crate::secrets::check_name(&name).map_err(EngineError::from)?;
        let new = records::secret(caller, event, &name);
        self.record(match holders {
            Some(holders) => new.detail("for", holders),
            None => new,
        })
        .await?;
        let vault = self.engine().vault().clone();
        let changed = name.clone();
        // systemd-creds is waited for, and the disk.
        let ended = tokio::task::spawn_blocking(move || change(&vault, &changed)).await;
        let Err(error) = ended.map_err(gone)? else { return Ok(()) };
        let failed = records::secret(caller, event, &name).result(Outcome::Failure);
        self.record(failed.detail("why", &error)).await?;
        Err(EngineError::from(error).into())
    }
}

fn gone(error: tokio::task::JoinError) -> BusError {
    BusError::failed(format!("it was broken off: {error}"))
}
