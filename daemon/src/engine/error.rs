//! Why the engine says no.

use crate::secrets::VaultError;
use crate::store::StoreError;
use crate::supervise::Refusal;
use fetchml_api::job::JobId;

/// A request that was not carried out; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such job, or the caller may not know of it.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job is over and is no object on the bus any more.
    #[error("job {0} is over: ask Manager.DescribeJob for it")]
    Over(JobId),
    /// The profile is not installed.
    #[error("{0}")]
    NoSuchProfile(String),
    /// The specification cannot be accepted as it stands.
    #[error("{0}")]
    Invalid(String),
    /// The site's policy forbids it.
    #[error("{0}")]
    Denied(String),
    /// This machine cannot hold what was asked for.
    #[error("{0}")]
    BarrierUnavailable(String),
    /// No audit, no new work.
    #[error("the audit log cannot be written, so no new work is taken: {0}")]
    AuditUnavailable(String),
    /// The supervisor is stopping.
    #[error("the supervisor is stopping: try again when it is back")]
    ShuttingDown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else failed.
    #[error("{0}")]
    Failed(String),
}

impl From<VaultError> for EngineError {
    fn from(error: VaultError) -> Self {
        match error {
            error @ VaultError::NotYours(_) => Self::Denied(error.to_string()),
            error @ (VaultError::Io { .. }
            | VaultError::Seal { .. }
            | VaultError::Damaged(_)
            | VaultError::Exposed(_)) => Self::Failed(error.to_string()),
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(words) => Self::Invalid(words),
            Refusal::BarrierUnavailable(words) => Self::BarrierUnavailable(words),
            Refusal::Infrastructure(words) => Self::Failed(words),
        }
    }
}
