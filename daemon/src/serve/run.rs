//! A supervisor from its start to its end, step by step.

use super::cli::POLICY_OVERRIDES;
use super::gate::Gate;
use super::listener::{Listener, SocketError};
use super::place::{Place, PlaceError};
use crate::access::{Access, Mode, record_role_changes};
use crate::audit::{Audit, AuditError, JournalCopy, KeySource, OpenReport, Options};
use crate::bus::{Desk, serve_system};
use crate::config::{Config, ConfigError};
use crate::directories::{Directories, Sight};
use crate::engine::launcher::Machine;
use crate::engine::{Engine, EngineError, Parts, Settings, records};
use crate::launch::HostView;
use crate::notify::Notify;
use crate::recover::{Kept, Recovered, recover};
use crate::secrets::{Vault, VaultError};
use crate::store::{Store, StoreError};
use crate::supervise::{Host, HostConfig, Refusal};
use fetchml_policies::{Library, PolicyError};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a supervisor did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("cannot start the event loop: {0}")]
    Runtime(std::io::Error),
    #[error("cannot keep this process's memory out of core dumps: {0}")]
    Dumpable(rustix::io::Errno),
    #[error(transparent)]
    Privileges(#[from] super::privileges::PrivilegeError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("jobs.default_profile in the configuration: {0}")]
    DefaultProfile(PolicyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the start could not be recorded: {0}")]
    NotRecorded(String),
    #[error("{0}")]
    Host(#[from] Refusal),
    #[error("the jobs of the last supervisor could not be taken over: {0}")]
    Recover(#[from] EngineError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("the system bus does not take us: {0}")]
    Bus(#[from] zbus::Error),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// Runs until a signal or idleness ends it.
pub(super) async fn run(place: Place) -> Result<(), StartError> {
    // First of all, while the numbers of inherited descriptors mean what they say.
    let (kept, inherited) = Kept::sort(fetchml_sys::inherited::take());
    // Secrets of jobs pass through this memory: it is in no core, whatever the limit.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(StartError::Dumpable)?;
    let notify = Notify::from_environment();
    if place.mode == Mode::System {
        // Tried before anything is made: started by hand where it cannot, it leaves
        // no directories and no record behind.
        HostView::start(false)?;
    }
    // The directories have modes of their own; whatever is made later is ours alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let lock = place.occupy()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptor_limit();
    let mut signals = Signals::listen()?;
    let settings = read_settings(place.mode)?;
    let engine = assemble(&place, settings, notify)?;

    record(&engine, records::daemon_started(place.mode.as_str())).await?;
    record_settings(&engine).await?;
    record_roles(&place, &engine, "start").await?;
    let recovered = recover(&engine, notify, kept).await?;
    let Recovered { requeued, adopted, cancelled, lost } = recovered;
    tracing::info!(
        adopted,
        requeued,
        cancelled,
        lost,
        "the jobs of the last supervisor are taken over"
    );

    let bus = match place.mode {
        Mode::System => Some(zbus::Connection::system().await?),
        Mode::Private { .. } => None,
    };
    let access = Arc::new(match place.mode {
        Mode::System => Access::system(bus.as_ref(), engine.ledger().clone()),
        Mode::Private { owner } => Access::private(owner),
    });
    let (end, held) = (Arc::default(), Arc::default());
    let desk = Desk { engine: engine.clone(), access, end, held };
    let listener = open_socket(&place, &desk, inherited)?;
    if let Some(bus) = &bus {
        serve_system(desk.clone(), bus).await?;
    }
    notify.ready();
    let (running, queued) = engine.counts();
    notify.status(running, queued);
    tracing::info!(mode = place.mode.as_str(), socket = %place.socket().display(), "ready");

    let why = serve(&place, &desk, listener, &mut signals, notify).await;
    stop(&engine, notify, why).await;
    drop(lock);
    Ok(())
}

/// Serves until there is a reason to stop; the socket is gone afterwards.
async fn serve(
    place: &Place,
    desk: &Desk,
    listener: Listener,
    signals: &mut Signals,
    notify: Notify,
) -> &'static str {
    let bus = desk.engine.settings().config.bus.clone();
    let gate = Gate::new(bus.max_connections, bus.max_connections_per_user);
    let idle_exit = match place.mode {
        Mode::Private { .. } => Some(bus.idle_exit).filter(|limit| !limit.is_zero()),
        Mode::System => None,
    };
    let watchdog = feed_watchdog(&desk.engine, notify);
    tokio::pin!(watchdog);
    let pruning = daily(place, &desk.engine);
    tokio::pin!(pruning);
    let idle = until_idle(&desk.engine, &gate, idle_exit);
    tokio::pin!(idle);
    let connections = listener.serve(desk, &gate);
    tokio::pin!(connections);
    loop {
        tokio::select! {
            () = &mut connections => return "the socket is closed",
            () = &mut watchdog => return "the watchdog is off",
            () = &mut pruning => return "old jobs are not pruned any more",
            () = &mut idle => return "idle",
            () = desk.end.notified() => return "asked to by a client",
            _ = signals.terminate.recv() => return "asked to by SIGTERM",
            _ = signals.interrupt.recv() => return "asked to by SIGINT",
            _ = signals.hangup.recv() => reload(place, &desk.engine, notify).await,
        }
    }
}

async fn stop(engine: &Arc<Engine>, notify: Notify, why: &'static str) {
    notify.stopping();
    engine.close();
    let (running, queued) = engine.counts();
    tracing::info!(why, running, queued, "stopping; what runs goes on");
    let stopped = records::daemon_stopped(why, running, queued);
    if let Err(error) = engine.ledger().append(stopped).await {
        tracing::error!(%error, "the stop could not be recorded");
    }
    // Told by the log itself when it fails.
    drop(engine.ledger().close().await);
    engine.leave();
}

fn read_settings(mode: Mode) -> Result<Settings, StartError> {
    let (config, library) = match mode {
        Mode::System => {
            let library = Library::load(&[POLICY_OVERRIDES])?;
            (Config::load_system(library.secrets(), Some(&library))?, library)
        }
        // The machine's settings are the administrator's; a private supervisor
        // is its user's, who could give it any.
        Mode::Private { .. } => (Config::default(), Library::load::<&str>(&[])?),
    };
    library.profile(&config.jobs.default_profile).map_err(StartError::DefaultProfile)?;
    Ok(Settings { config, library: Arc::new(library) })
}

fn assemble(place: &Place, settings: Settings, notify: Notify) -> Result<Arc<Engine>, StartError> {
    let journald = settings.config.audit.journald && place.mode == Mode::System;
    let options = Options {
        journald,
        segment_bytes: settings.config.audit.segment_bytes,
        heartbeat: settings.config.audit.heartbeat,
        end_file: Some(place.audit_end.clone()),
        ..Options::new(KeySource::find(place.audit_key.clone()))
    };
    let (audit, opened) = Audit::open(&place.audit, &options)?;
    tracing::info!("{}", in_words(&opened));
    let store = Store::open(&place.state)?;
    let host = Host::prepare(&HostConfig {
        state_dir: place.state.clone(),
        runtime_dir: place.runtime.clone(),
        agent_path: place.agent.clone(),
        library: settings.library.clone(),
        private: place.mode != Mode::System,
        machine_root: "/".into(),
    })?;
    let directories = Directories::new(Sight::Host(host.view().clone()), notify);
    let vault = Arc::new(Vault::open(&place.state, place.mode == Mode::System)?);
    Ok(Engine::new(Parts {
        store,
        directories,
        ledger: Arc::new(audit),
        launcher: Arc::new(Machine(host)),
        notify,
        settings,
        vault,
    }))
}

/// What was found of the audit log, for who reads why a start failed.
fn in_words(opened: &OpenReport) -> String {
    let OpenReport { log_id, head, torn, journal, sent_again, .. } = opened;
    let mut words = format!("the audit log {log_id} is open; its last record is {}", head.seq);
    if let Some(torn) = torn {
        let (bytes, file) = (torn.bytes, &torn.file);
        words += &format!("; {bytes} bytes of a torn record were moved to {file}");
    }
    match journal {
        JournalCopy::Absent(why) => words += &format!("; the journal gets no copy: {why}"),
        JournalCopy::Connected { .. } if *sent_again > 0 => {
            words += &format!("; the journal had lost {sent_again} records and gets them again");
        }
        JournalCopy::Connected { .. } | JournalCopy::Off => {}
    }
    words
}

fn open_socket(
    place: &Place,
    desk: &Desk,
    inherited: Vec<(String, OwnedFd)>,
) -> Result<Listener, StartError> {
    Ok(match inherited.into_iter().next() {
        Some((_, socket)) => Listener::inherited(socket)?,
        None => {
            let group = desk.access.group().map(nix::unistd::Gid::as_raw);
            Listener::bind(&place.socket(), place.mode, group)?
        }
    })
}

async fn record(engine: &Engine, record: fetchml_api::audit::NewRecord) -> Result<(), StartError> {
    engine.ledger().append(record).await.map_err(StartError::NotRecorded)
}

async fn record_settings(engine: &Engine) -> Result<(), StartError> {
    let settings = engine.settings();
    let profiles = settings.library.names().collect::<Vec<_>>().join(" ");
    record(engine, records::config_loaded(&settings.config, &profiles)).await
}

/// SIGHUP: the configuration is read again, and taken only if all of it can be
/// used. Policies are read at the start alone: what was compiled from them must
/// fit what jobs were told of them.
async fn reload(place: &Place, engine: &Arc<Engine>, notify: Notify) {
    notify.reloading();
    let outcome = match read_settings(place.mode) {
        Ok(settings) => {
            let library = engine.settings().library.clone();
            engine.set_settings(Settings { library, ..settings });
            record_settings(engine).await
        }
        Err(error) => {
            tracing::error!("the configuration stays as it was: {error}");
            record(engine, records::config_refused(&error.to_string())).await
        }
    };
    for outcome in [outcome, record_roles(place, engine, "reload").await] {
        if let Err(error) = outcome {
            tracing::error!("{error}");
        }
    }
    notify.ready();
}

/// A private supervisor has an owner and no roles.
async fn record_roles(place: &Place, engine: &Engine, occasion: &str) -> Result<(), StartError> {
    if place.mode != Mode::System {
        return Ok(());
    }
    let recorded = record_role_changes(&place.state, engine.ledger().as_ref(), occasion).await;
    recorded.map_err(StartError::NotRecorded)
}

/// Tells the watchdog that we live, as long as store and audit answer.
async fn feed_watchdog(engine: &Engine, notify: Notify) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(limit / 3);
    loop {
        tick.tick().await;
        if engine.answers().await {
            notify.alive();
        }
    }
}

/// Forgets old jobs and old segments of the audit log, now and once a day, and sees who
/// got a role.
async fn daily(place: &Place, engine: &Arc<Engine>) {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut tick = tokio::time::interval(DAY);
    loop {
        tick.tick().await;
        match engine.prune().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old jobs are forgotten"),
            Err(error) => tracing::error!(%error, "old jobs could not be forgotten"),
        }
        match engine.ledger().prune(engine.settings().config.audit.keep).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old segments of the audit log are deleted"),
            Err(error) => tracing::error!(%error, "the audit log could not be pruned"),
        }
        if let Err(error) = record_roles(place, engine, "daily").await {
            tracing::error!("{error}");
        }
    }
}

/// Answers when there was no client and no job for that long.
async fn until_idle(engine: &Engine, gate: &Gate, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut connections = gate.watch();
    let mut events = engine.subscribe();
    loop {
        let idle = *connections.borrow_and_update() == 0 && engine.is_idle();
        tokio::select! {
            () = tokio::time::sleep(limit), if idle => return,
            changed = connections.changed() => if changed.is_err() { return },
            // Lagging behind is as good as hearing.
            _ = events.recv() => {}
        }
    }
}

/// Directories of queued jobs are held open, and each running job takes some dozens.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(StartError::Signals);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}
