//! Secrets for jobs. Values travel as descriptors.

use super::Link;
use crate::error::{Failure, Result};
use std::os::fd::{AsFd, OwnedFd};
use zbus::Fd;

impl Link {
    /// Keeps a new secret.
    pub(crate) async fn add_secret(
        &self,
        name: &str,
        holders: &[String],
        value: &OwnedFd,
    ) -> Result<()> {
        self.supervisor().await?;
        let reply = self.manage("AddSecret", &(name, holders, Fd::from(value.as_fd()))).await;
        reply.map_err(|e| Failure::bus(format_args!("cannot add secret {name}"), &e))
    }

    /// Replaces the value of a secret.
    pub(crate) async fn rotate_secret(&self, name: &str, value: &OwnedFd) -> Result<()> {
        self.supervisor().await?;
        let reply = self.manage("RotateSecret", &(name, Fd::from(value.as_fd()))).await;
        reply.map_err(|e| Failure::bus(format_args!("cannot replace secret {name}"), &e))
    }

    /// Forgets a secret.
    pub(crate) async fn remove_secret(&self, name: &str) -> Result<()> {
        self.supervisor().await?;
        let reply = self.manage("RemoveSecret", &(name,)).await;
        reply.map_err(|e| Failure::bus(format_args!("cannot remove secret {name}"), &e))
    }

    /// The secrets, without their values, as one JSON array.
    pub(crate) async fn secrets(&self) -> Result<String> {
        self.supervisor().await?;
        let reply = self.manage("ListSecrets", &()).await;
        reply.map_err(|e| Failure::bus("cannot list the secrets", &e))
    }
}
