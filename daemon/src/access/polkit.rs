//! Asking polkit. The subject is the caller's unique name on the bus: polkit
//! itself takes the process and session from the bus daemon. A process id of
//! our own would make every caller root.

use std::collections::HashMap;
use zbus::Message;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

/// What polkit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Yes, once the user authenticates.
    Challenge,
}

/// polkit cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum PolkitError {
    #[error(transparent)]
    Bus(#[from] zbus::Error),
    #[error(transparent)]
    Subject(#[from] zbus_polkit::Error),
}

#[derive(Clone, Debug)]
pub(super) struct Polkit {
    bus: zbus::Connection,
}

impl Polkit {
    pub(super) fn new(bus: &zbus::Connection) -> Self {
        Self { bus: bus.clone() }
    }

    pub(super) async fn check(
        &self,
        name: &str,
        action: &str,
        interactive: bool,
    ) -> Result<Answer, PolkitError> {
        let authority = AuthorityProxy::new(&self.bus).await?;
        // The library makes such a subject from the header of a message only.
        let from_caller = Message::method_call("/", "Ask").sender(name).build(&())?;
        let subject = Subject::new_for_message_header(&from_caller.header())?;
        let flags = if interactive {
            CheckAuthorizationFlags::ALLOW_USER_INTERACTION
        } else {
            CheckAuthorizationFlags::empty()
        };
        let result =
            authority.check_authorization(&subject, action, &HashMap::new(), flags, "").await?;
        Ok(match (result.is_authorized, result.is_challenge) {
            (true, _) => Answer::Yes,
            (false, true) => Answer::Challenge,
            (false, false) => Answer::No,
        })
    }
}
