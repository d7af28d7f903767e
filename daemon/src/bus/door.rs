//! One connection's way in: which desk it leads to, and who stands before it.

use super::error::BusError;
use super::held::Held;
use crate::access::{Access, Caller, CallerError, Denied, Transport, only_reads};
use crate::engine::{Engine, EngineError, Scope, records};
use fetchml_api::audit::NewRecord;
use fetchml_api::job::JobId;
use futures_util::FutureExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Notify, watch};
use zbus::Connection;
use zbus::message::{Flags, Header};

/// What every interface works with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Does the work.
    pub engine: Arc<Engine>,
    /// Decides who may.
    pub access: Arc<Access>,
    /// Told when a client asks for the supervisor's end.
    pub end: Arc<Notify>,
    /// Counts what calls hold.
    pub held: Arc<Held>,
}

/// A desk and the way to know who asks.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) desk: Desk,
    identity: Identity,
    /// Callers of whom it is recorded that they read the audit log, while they are there.
    readers: Arc<Mutex<Vec<Weak<Caller>>>>,
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
    /// A call other than `Hello` came. Whether it is the first one.
    pub(super) fn over(&self) -> bool {
        self.0.send_if_modified(|over| !std::mem::replace(over, true))
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

    /// The caller, and whether it calls for the first time.
    async fn look_up(
        &self,
        header: &Header<'_>,
        bus: &Connection,
    ) -> Result<(Arc<Caller>, bool), CallerError> {
        let sender = header.sender().ok_or(CallerError::NoSender)?;
        if let Some(caller) = self.known().get(sender.as_str()) {
            return Ok((caller.clone(), false));
        }
        let caller = Arc::new(Caller::of_bus_name(bus, sender).await?);
        let known = self.known().insert(sender.to_string(), caller.clone());
        Ok((caller, known.is_none()))
    }
}

/// The answer to a question about a job that the caller may ask.
pub(super) struct Reached {
    pub(super) caller: Arc<Caller>,
    pub(super) scope: Scope,
}

/// What is to be done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    See,
    Change,
}

impl Door {
    pub(super) fn of_peer(desk: Desk, caller: Arc<Caller>, greeting: Greeting) -> Self {
        Self { desk, identity: Identity::Peer(caller, greeting), readers: Arc::default() }
    }

    /// Waits until signals may be sent.
    pub(super) async fn greeted(&self) {
        if let Identity::Peer(_, greeting) = &self.identity {
            greeting.wait().await;
        }
    }

    pub(super) fn of_bus(desk: Desk, callers: Arc<BusCallers>) -> Self {
        Self { desk, identity: Identity::Bus(callers), readers: Arc::default() }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.desk.engine
    }

    pub(super) fn access(&self) -> &Access {
        &self.desk.access
    }

    /// Whether callers of several users stand behind this connection.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.identity, Identity::Bus(_))
    }

    /// Everybody who stands behind this connection now.
    pub(super) fn callers(&self) -> Vec<Arc<Caller>> {
        match &self.identity {
            Identity::Peer(caller, _) => vec![caller.clone()],
            Identity::Bus(callers) => callers.all(),
        }
    }

    /// Who calls. The first call of somebody who is let in is recorded; on the bus, who
    /// is not in a group of ours is let in by polkit alone, which is recorded there.
    pub(super) async fn caller(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Arc<Caller>, BusError> {
        let (caller, first) = match &self.identity {
            Identity::Peer(caller, greeting) => (caller.clone(), greeting.over()),
            Identity::Bus(callers) => callers.look_up(header, connection).await?,
        };
        if first && self.access().may_connect(&caller).is_ok() {
            self.note(records::let_in(&caller, "connect", "bus"));
        }
        Ok(caller)
    }

    /// Hands a record to the log without waiting for the disk: what the caller does next
    /// comes behind it and, where that has a record, is not answered before both are
    /// there. Who only looks is not made to wait.
    fn note(&self, record: NewRecord) {
        let ledger = self.engine().ledger().clone();
        let mut writing = Box::pin(async move {
            if let Err(error) = ledger.append(record).await {
                tracing::error!(%error, "who was let in could not be recorded");
            }
        });
        // It takes its place in the log at once.
        if (&mut writing).now_or_never().is_none() {
            tokio::spawn(writing);
        }
    }

    /// Who calls, and whether they may see the job. A job that they may not see is
    /// answered as one that does not exist.
    pub(super) async fn see(
        &self,
        id: JobId,
        action: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Reached, BusError> {
        let caller = self.caller(header, connection).await?;
        self.reach(caller, id, action, is_interactive(header), Right::See).await
    }

    /// The same for a job that is to be changed.
    pub(super) async fn change(
        &self,
        id: JobId,
        action: &str,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Reached, BusError> {
        let caller = self.caller(header, connection).await?;
        self.reach(caller, id, action, is_interactive(header), Right::Change).await
    }

    pub(super) async fn reach(
        &self,
        caller: Arc<Caller>,
        id: JobId,
        action: &str,
        interactive: bool,
        right: Right,
    ) -> Result<Reached, BusError> {
        let scope = match right {
            Right::See => self.access().sight(&caller),
            Right::Change => self.access().scope(&caller),
        };
        let owner = self.engine().owner(id).await?;
        if owner.is_some_and(|uid| scope.covers(uid)) {
            return Ok(Reached { caller, scope });
        }
        // Asked for one that does not exist as well, so that it takes as long.
        let everybody = self.everybody(&caller, interactive, right).await;
        let scope = self.judge(&caller, id, action, owner, everybody).await?;
        Ok(Reached { caller, scope })
    }

    /// Whether the caller may change each of these jobs. A person is asked at most once.
    pub(super) async fn may_change(
        &self,
        caller: &Caller,
        ids: impl Iterator<Item = JobId>,
        action: &str,
        interactive: bool,
    ) -> Result<Vec<(JobId, Result<(), BusError>)>, BusError> {
        let scope = self.access().scope(caller);
        let mut asked: Option<Result<Scope, Denied>> = None;
        let mut answers = Vec::new();
        for id in ids {
            let owner = self.engine().owner(id).await?;
            if owner.is_some_and(|uid| scope.covers(uid)) {
                answers.push((id, Ok(())));
                continue;
            }
            let everybody = match &asked {
                Some(everybody) => everybody.clone(),
                None => {
                    let everybody = self.everybody(caller, interactive, Right::Change).await;
                    asked.insert(everybody).clone()
                }
            };
            let may = self.judge(caller, id, action, owner, everybody).await;
            answers.push((id, may.map(drop)));
        }
        Ok(answers)
    }

    /// The answer for a job that is not the caller's own. Who sees it is told the
    /// truth; for anybody else it does not exist.
    async fn judge(
        &self,
        caller: &Caller,
        id: JobId,
        action: &str,
        owner: Option<u32>,
        everybody: Result<Scope, Denied>,
    ) -> Result<Scope, BusError> {
        let Some(uid) = owner else { return Err(EngineError::NoSuchJob(id).into()) };
        let denied = match everybody {
            Ok(scope) => return Ok(scope),
            Err(denied) => denied,
        };
        let words = denied.to_string();
        self.engine().record_denial(caller, action, &format!("job/{id}"), &words).await;
        if self.access().sight(caller).covers(uid) {
            return Err(only_reads().into());
        }
        Err(EngineError::NoSuchJob(id).into())
    }

    /// Records a refusal, and makes the answer of it.
    pub(super) async fn denied(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        denied: Denied,
    ) -> BusError {
        self.engine().record_denial(caller, action, resource, &denied.to_string()).await;
        denied.into()
    }

    /// Records what is about to be done; when it cannot be, it must not be done.
    pub(super) async fn record(&self, record: NewRecord) -> Result<(), BusError> {
        let recorded = self.engine().ledger().append(record).await;
        recorded.map_err(|error| EngineError::AuditUnavailable(error).into())
    }

    async fn everybody(
        &self,
        caller: &Caller,
        interactive: bool,
        right: Right,
    ) -> Result<Scope, Denied> {
        match right {
            Right::See => self.access().sight_of_everybody(caller, interactive).await,
            Right::Change => self.access().scope_of_everybody(caller, interactive).await,
        }
    }

    /// Whether it is recorded that the caller reads the audit log.
    pub(super) fn has_read(&self, caller: &Arc<Caller>) -> bool {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.iter().any(|reader| std::ptr::eq(reader.as_ptr(), Arc::as_ptr(caller)))
    }

    /// It will be in a moment.
    pub(super) fn note_reading(&self, caller: &Arc<Caller>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(caller));
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
