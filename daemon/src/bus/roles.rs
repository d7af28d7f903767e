//! Who may do what is about no job that is there yet: submit, go before others,
//! change what the machine does. A refusal is recorded.

use super::door::{Door, is_interactive};
use super::error::BusError;
use crate::access::Caller;
use fetchml_api::job::JobSpec;
use fetchml_api::names::MAX_SPEC_BYTES;
use std::sync::Arc;
use zbus::Connection;
use zbus::message::Header;

impl Door {
    /// Who may submit what came: asked before it is read.
    pub(super) async fn submitter(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        let caller = self.caller(header, connection).await?;
        let allowed = self.access().may_submit(&caller, is_interactive(header)).await;
        if let Err(denied) = allowed {
            return Err(self.denied(&caller, "submit", "job", denied).await);
        }
        let size = usize::try_from(header.primary().body_len()).unwrap_or(usize::MAX);
        if size > MAX_SPEC_BYTES {
            return Err(BusError::invalid(format!(
                "the specification has {size} bytes, the most is {MAX_SPEC_BYTES}: \
                 pass long arguments in a file of the project directory"
            )));
        }
        Ok(caller)
    }

    /// Who may change what the machine does.
    pub(super) async fn operator(
        &self,
        action: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        let caller = self.caller(header, connection).await?;
        match self.access().may_operate(&caller, is_interactive(header)).await {
            Ok(()) => Ok(caller),
            Err(denied) => Err(self.denied(&caller, action, "fetchmld", denied).await),
        }
    }

    pub(super) async fn check_priority(
        &self,
        caller: &Caller,
        priority: i32,
        interactive: bool,
    ) -> Result<(), BusError> {
        let access = self.access();
        match access.may_have_priority(caller, priority, interactive).await {
            Ok(()) => Ok(()),
            Err(denied) => {
                let resource = format!("priority {priority}");
                Err(self.denied(caller, "set-priority", &resource, denied).await)
            }
        }
    }

    /// A profile that is weaker than what every user may use needs the role for it,
    /// and so does a place before others in the queue. Answers with what the caller may
    /// have of it beyond that.
    pub(super) async fn check_role(
        &self,
        caller: &Caller,
        spec: &JobSpec,
        interactive: bool,
    ) -> Result<Vec<String>, BusError> {
        self.check_priority(caller, spec.queueing.priority, interactive).await?;
        let (engine, access) = (self.engine(), self.access());
        // An unknown one is refused, and recorded, when the job is admitted.
        let Ok(profile) = engine.profile(&spec.profile) else { return Ok(Vec::new()) };
        let privileges = profile.privileges();
        let allowed = access.may_use_profile(caller, &profile.name, &privileges, interactive).await;
        if let Err(denied) = allowed {
            let resource = format!("profile {}", profile.name);
            return Err(self.denied(caller, "submit", &resource, denied).await);
        }
        Ok(privileges)
    }
}
