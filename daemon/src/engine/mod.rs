//! The life of jobs: accept, start, follow, end. The rules that hold everywhere
//! here: audit first (what is about to happen is durable before it happens),
//! and commit, then tell (no reply and no signal mentions what is not in the store).

mod accept;
mod attempt;
mod cancel;
mod care;
mod change;
mod denials;
mod directories;
mod end;
mod error;
pub mod launcher;
pub mod ledger;
mod live;
mod look;
pub mod policy;
pub mod records;
mod report;
mod resume;
#[cfg(test)]
pub mod simulator;

pub use error::EngineError;
pub use look::{MOST_SHOWN, QueueOverview, Scope, Shown, UserOverview};

use crate::config::Config;
use crate::directories::Directories;
use crate::notify::Notify;
use crate::secrets::Vault;
use crate::store::Store;
use denials::Denials;
use fetchml_api::job::{JobId, JobState};
use fetchml_policies::Library;
use launcher::Launcher;
use ledger::Ledger;
use live::Live;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// Events a subscriber may lag behind before it has to look for itself.
const EVENT_BACKLOG: usize = 4096;

/// While the audit log cannot be written, jobs that wait are looked at this often.
const AUDIT_PAUSE_USEC: u64 = 1_000_000;

/// Something happened to a job, and is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which job.
    pub job: JobId,
    /// Whose job: who may hear of it.
    pub uid: u32,
    /// What happened.
    pub what: Change,
}

/// What happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was accepted.
    New,
    /// It is in this state now.
    State(JobState),
    /// It is over, with this result.
    Removed(JobState),
}

/// What can be read again while the supervisor runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// Profiles and filters.
    pub library: Arc<Library>,
}

/// What an engine is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where jobs are remembered.
    pub store: Store,
    /// Where events are recorded.
    pub ledger: Arc<dyn Ledger>,
    /// What builds sandboxes.
    pub launcher: Arc<dyn Launcher>,
    /// What the service manager hears.
    pub notify: Notify,
    /// Directories of jobs that are not over.
    pub directories: Directories,
    /// Configuration and policies.
    pub settings: Settings,
    /// Secrets for jobs.
    pub vault: Arc<Vault>,
}

/// The engine; shared by every connection.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    ledger: Arc<dyn Ledger>,
    launcher: Arc<dyn Launcher>,
    notify: Notify,
    directories: Directories,
    settings: RwLock<Arc<Settings>>,
    vault: Arc<Vault>,
    live: Mutex<Live>,
    events: broadcast::Sender<Event>,
    stopping: AtomicBool,
    draining: AtomicBool,
    recovering: AtomicBool,
    denials: Denials,
    /// What ended before, no supervisor of this run saw end.
    begun_usec: u64,
}

impl Engine {
    /// An engine that knows of no job yet; see [`crate::recover`].
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        parts.launcher.configure(&parts.settings.config);
        let engine = Arc::new(Self {
            store: parts.store,
            ledger: parts.ledger,
            launcher: parts.launcher,
            notify: parts.notify,
            directories: parts.directories,
            settings: RwLock::new(Arc::new(parts.settings)),
            vault: parts.vault,
            live: Mutex::default(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            recovering: AtomicBool::new(false),
            denials: Denials::default(),
            begun_usec: now_usec(),
        });
        engine.measure();
        engine
    }

    /// Hears of every committed change from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Takes no new work from now on; what runs goes on.
    pub fn close(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The last thing before the process ends.
    pub fn leave(&self) {
        self.launcher.leave();
    }

    /// Jobs that run or are being started, and jobs that wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.live().counts()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.live().is_empty()
    }

    /// Whether this job is not over.
    #[must_use]
    pub fn is_live(&self, id: JobId) -> bool {
        self.live().is_live(id)
    }

    /// Configuration and policies as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces configuration and policies for everything that begins later.
    pub fn set_settings(self: &Arc<Self>, settings: Settings) {
        self.launcher.configure(&settings.config);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.measure();
        self.pump();
    }

    /// What was found on this machine.
    #[must_use]
    pub fn findings(&self) -> Vec<fetchml_api::host::Finding> {
        self.launcher.findings()
    }

    /// Whether the store answers and the audit log can be asked.
    pub async fn answers(&self) -> bool {
        // A log that cannot be written refuses work, which is no reason to be
        // restarted; a store that fails to answer is.
        let _ = self.ledger.state();
        self.store.ping().await.is_ok()
    }

    /// The secrets for jobs.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The audit log.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// A panic aborts the process, so a poisoned lock is never seen; taking it
    /// anyway costs no branch that could hide a bug.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the queue what the machine has and what is allowed.
    pub fn measure(&self) {
        let settings = self.settings();
        let mut capacity = self.launcher.capacity();
        capacity.slots = settings.config.jobs.max_running;
        let mut live = self.live();
        live.queue.set_capacity(capacity);
        live.queue.set_rules(settings.config.rules.clone());
    }

    /// Starts what can start now, and sees to it that this is called again when the
    /// time of a job comes.
    pub fn pump(self: &Arc<Self>) {
        let reasons = [&self.stopping, &self.draining, &self.recovering];
        if reasons.iter().any(|reason| reason.load(Ordering::Relaxed)) {
            return;
        }
        let now = now_usec();
        // No audit, no new work: what waits goes on waiting.
        let recordable = self.ledger.state().is_ok();
        let (next, alarm) = {
            let mut live = self.live();
            let (next, wanted) = if recordable {
                (live.take_next(now), live.queue.next_time())
            } else {
                (Vec::new(), Some(now.saturating_add(AUDIT_PAUSE_USEC)))
            };
            let alarm = wanted.filter(|at| live.timer_usec.is_none_or(|set| *at < set));
            live.timer_usec = alarm.or(live.timer_usec);
            (next, alarm)
        };
        for id in next {
            tokio::spawn(self.clone().start(id));
        }
        if let Some(at_usec) = alarm {
            let engine = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(at_usec.saturating_sub(now))).await;
                {
                    let mut live = engine.live();
                    if live.timer_usec == Some(at_usec) {
                        live.timer_usec = None;
                    }
                }
                engine.pump();
            });
        }
    }

    /// Starts no job until all that the last supervisor left is known: what runs has its
    /// place, and what is cleared away may be taken for a new attempt's.
    pub(crate) fn recovering(self: &Arc<Self>, recovering: bool) {
        self.recovering.store(recovering, Ordering::Relaxed);
        self.pump();
    }

    /// Starts no job from now on, or again; what runs goes on.
    pub fn drain(self: &Arc<Self>, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
        self.pump();
    }

    /// Whether no job is started for now, as an operator wants it.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn tell(&self, job: JobId, uid: u32, what: Change) {
        // Nobody listens when there is no connection.
        let _ = self.events.send(Event { job, uid, what });
        let (running, queued) = self.counts();
        self.notify.status(running, queued);
    }
}

/// Microseconds since the epoch.
#[must_use]
pub fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
