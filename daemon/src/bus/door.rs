//! One connection's way in: which desk it leads to, and who stands before it.

use super::error::BusError;
use crate::access::{Access, Caller, CallerError, Transport};
use crate::engine::{Engine, EngineError, Scope};
use fetchml_api::job::JobId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use zbus::Connection;
use zbus::message::{Flags, Header};

/// What every interface works with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Does the work.
    pub engine: Arc<Engine>,
    /// Decides who may.
    pub access: Arc<Access>,
}

/// A desk and the way to know who asks.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) desk: Desk,
    identity: Identity,
}

#[derive(Clone, Debug)]
enum Identity {
    /// All calls of the connection come from the process that connected.
    Peer(Arc<Caller>, Greeting),
    /// The bus says it, call by call.
    Bus(Arc<BusCallers>),
}

/// Whether a peer has said anything beyond `Hello`. Until then it hears no
/// signals: sd-bus (busctl) ends a connection on which anything comes before the
/// answer to `Hello`.
#[derive(Clone, Debug, Default)]
pub(super) struct Greeting(watch::Sender<bool>);

impl Greeting {
    /// A call other than `Hello` came.
    pub(super) fn over(&self) {
        self.0.send_if_modified(|over| !std::mem::replace(over, true));
    }

    async fn wait(&self) {
        // We hold a sender ourselves, so the channel cannot close.
        let _ = self.0.subscribe().wait_for(|over| *over).await;
    }
}

/// Callers seen on the bus, as long as they are connected to it.
#[derive(Debug, Default)]
pub(super) struct BusCallers(Mutex<HashMap<String, Arc<Caller>>>);

impl BusCallers {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Caller>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name is gone; it will not be used again.
    pub(super) fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.known().contains_key(name)
    }

    pub(super) fn all(&self) -> Vec<Arc<Caller>> {
        self.known().values().cloned().collect()
    }

    async fn look_up(
        &self,
        header: &Header<'_>,
        bus: &Connection,
    ) -> Result<Arc<Caller>, CallerError> {
        let sender = header.sender().ok_or(CallerError::NoSender)?;
        if let Some(caller) = self.known().get(sender.as_str()) {
            return Ok(caller.clone());
        }
        let caller = Arc::new(Caller::of_bus_name(bus, sender).await?);
        self.known().insert(sender.to_string(), caller.clone());
        Ok(caller)
    }
}

/// The answer to a question about a job that the caller may ask.
pub(super) struct Reached {
    pub(super) caller: Arc<Caller>,
    pub(super) scope: Scope,
}

impl Door {
    pub(super) fn of_peer(desk: Desk, caller: Arc<Caller>, greeting: Greeting) -> Self {
        Self { desk, identity: Identity::Peer(caller, greeting) }
    }

    /// Waits until signals may be sent.
    pub(super) async fn greeted(&self) {
        if let Identity::Peer(_, greeting) = &self.identity {
            greeting.wait().await;
        }
    }

    pub(super) fn of_bus(desk: Desk, callers: Arc<BusCallers>) -> Self {
        Self { desk, identity: Identity::Bus(callers) }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.desk.engine
    }

    pub(super) fn access(&self) -> &Access {
        &self.desk.access
    }

    /// Everybody who stands behind this connection now.
    pub(super) fn callers(&self) -> Vec<Arc<Caller>> {
        match &self.identity {
            Identity::Peer(caller, _) => vec![caller.clone()],
            Identity::Bus(callers) => callers.all(),
        }
    }

    /// Who calls.
    pub(super) async fn caller(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        match &self.identity {
            Identity::Peer(caller, greeting) => {
                greeting.over();
                Ok(caller.clone())
            }
            Identity::Bus(callers) => Ok(callers.look_up(header, connection).await?),
        }
    }

    /// Who calls, and whether the job is theirs or they may handle everybody's.
    /// A foreign job is answered as one that does not exist.
    pub(super) async fn reach(
        &self,
        id: JobId,
        action: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Reached, BusError> {
        let caller = self.caller(header, connection).await?;
        let scope = self.access().scope(&caller);
        let owner = self.engine().owner(id).await?;
        if owner.is_some_and(|uid| scope.covers(uid)) {
            return Ok(Reached { caller, scope });
        }
        let interactive = is_interactive(header);
        match (owner, self.access().scope_of_everybody(&caller, interactive).await) {
            (Some(_), Ok(scope)) => Ok(Reached { caller, scope }),
            (Some(_), Err(denied)) => {
                let resource = format!("job/{id}");
                let words = denied.to_string();
                self.engine().record_denial(&caller, action, &resource, &words).await;
                Err(EngineError::NoSuchJob(id).into())
            }
            (None, _) => Err(EngineError::NoSuchJob(id).into()),
        }
    }

    /// Whether the caller is still there to take an answer.
    pub(super) fn is_gone(&self, caller: &Caller) -> bool {
        match (&self.identity, caller.transport()) {
            (Identity::Bus(callers), Transport::Bus(name)) => !callers.contains(name),
            _ => false,
        }
    }
}

/// Whether polkit may ask the user behind the call.
pub(super) fn is_interactive(header: &Header<'_>) -> bool {
    header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH)
}
