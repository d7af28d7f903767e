//! From a reason to the name that the remote side sees: the one table.

use crate::access::{CallerError, Denied};
use crate::engine::EngineError;
use fetchml_api::names::error as name;
use zbus::message::Header;
use zbus::names::ErrorName;
use zbus::{DBusError, Message};

const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
const INTERACTIVE_AUTHORIZATION_REQUIRED: &str =
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
const LIMITS_EXCEEDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
const PROPERTY_READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";

/// An error as it goes over the bus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BusError {
    /// Its name.
    pub name: &'static str,
    /// Its words.
    pub message: String,
}

impl BusError {
    /// The specification cannot be accepted as it stands.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { name: name::INVALID_SPEC, message: message.into() }
    }

    /// No object is there for the caller: zbus says it in these words of one that never was.
    pub(super) fn unknown_object(path: &str) -> Self {
        Self { name: UNKNOWN_OBJECT, message: format!("Unknown object '{path}'") }
    }

    pub(super) fn unknown_property(property: &str) -> Self {
        Self { name: UNKNOWN_PROPERTY, message: format!("Unknown property '{property}'") }
    }

    pub(super) fn read_only(property: &str) -> Self {
        Self { name: PROPERTY_READ_ONLY, message: format!("Property '{property}' is read-only") }
    }

    /// More of something than a user may have.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self { name: LIMITS_EXCEEDED, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { name: name::FAILED, message: message.into() }
    }
}

impl DBusError for BusError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(&self.message,))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.message)
    }
}

impl From<EngineError> for BusError {
    fn from(error: EngineError) -> Self {
        let name = match &error {
            EngineError::NoSuchJob(_) | EngineError::Over(_) => name::NO_SUCH_JOB,
            EngineError::NoSuchProfile(_) => name::NO_SUCH_PROFILE,
            EngineError::Invalid(_) => name::INVALID_SPEC,
            EngineError::Denied(_) => name::POLICY_DENIED,
            EngineError::BarrierUnavailable(_) => name::BARRIER_UNAVAILABLE,
            EngineError::AuditUnavailable(_) => name::AUDIT_UNAVAILABLE,
            EngineError::ShuttingDown => name::SHUTTING_DOWN,
            EngineError::Store(_) | EngineError::Failed(_) => name::FAILED,
        };
        Self { name, message: error.to_string() }
    }
}

impl From<Denied> for BusError {
    fn from(denied: Denied) -> Self {
        let name = match denied {
            Denied::Forbidden(_) => name::POLICY_DENIED,
            Denied::NeedsAuthentication => INTERACTIVE_AUTHORIZATION_REQUIRED,
        };
        Self { name, message: denied.to_string() }
    }
}

impl From<CallerError> for BusError {
    fn from(error: CallerError) -> Self {
        Self { name: ACCESS_DENIED, message: error.to_string() }
    }
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        Self::failed(error.to_string())
    }
}
