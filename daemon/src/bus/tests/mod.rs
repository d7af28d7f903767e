//! The bus and the engine behind it, as clients see them: real sockets, real
//! store, real audit log, simulated sandboxes.

mod evidence;
mod flood;
mod life;
mod limits;
mod many;
mod pages;
mod policy;
mod privacy;
mod queue;
mod refusals;
mod restart;
mod shape;

use super::{Desk, serve_peer};
use crate::access::{Access, Caller, Transport};
use crate::audit::{Audit, Options};
use crate::config::Config;
use crate::directories::{Directories, Sight};
use crate::engine::ledger::Ledger;
use crate::engine::simulator::Simulator;
use crate::engine::{Engine, Parts, Settings};
use crate::notify::Notify;
use crate::recover::{Kept, recover};
use crate::secrets::Vault;
use crate::store::Store;
use fetchml_api::audit::{Event, Record};
use fetchml_api::job::JobDescription;
use fetchml_api::proxy::ManagerProxy;
use fetchml_policies::Library;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zbus::connection::Builder;
use zbus::{Connection, Fd, Variant};

/// The group whose members may submit.
const GROUP: u32 = 4242;
/// The group whose members may see everything.
const ANALYSTS: u32 = 4343;

/// A supervisor in a directory.
pub(super) struct World {
    pub(super) dir: Arc<tempfile::TempDir>,
    pub(super) desk: Desk,
    pub(super) simulator: Simulator,
}

impl World {
    /// A machine's supervisor with this many slots.
    pub(super) async fn new(max_running: usize) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("temporary directory"));
        let audit = open_audit(dir.path());
        Self::with(dir, max_running, Simulator::default(), audit).await
    }

    pub(super) async fn with(
        dir: Arc<tempfile::TempDir>,
        max_running: usize,
        simulator: Simulator,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        let mut config = Config::default();
        config.jobs.max_running = max_running;
        Self::configured(dir, config, simulator, ledger).await
    }

    pub(super) async fn configured(
        dir: Arc<tempfile::TempDir>,
        config: Config,
        simulator: Simulator,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        let library = Arc::new(Library::load::<&str>(&[]).expect("vendor policies"));
        let engine = Engine::new(Parts {
            store: Store::open(dir.path()).expect("store"),
            ledger,
            launcher: Arc::new(simulator.clone()),
            notify: Notify::off(),
            directories: Directories::new(Sight::Here, Notify::off()),
            settings: Settings { config, library },
            vault: Arc::new(Vault::open(dir.path(), false).expect("vault")),
        });
        recover(&engine, Notify::off(), Kept::default()).await.expect("recovered");
        let desk = Desk {
            engine,
            access: Arc::new(Access::for_test(GROUP, ANALYSTS)),
            end: Arc::default(),
            held: Arc::default(),
        };
        Self { dir, desk, simulator }
    }

    /// A client of this user.
    pub(super) async fn client(&self, uid: u32) -> Connection {
        self.member(uid, GROUP).await
    }

    /// A client of this user, who is in this group alone.
    pub(super) async fn member(&self, uid: u32, group: u32) -> Connection {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let caller = Caller::for_test(uid, &[group], Transport::Peer);
        tokio::spawn(serve_peer(self.desk.clone(), caller, ours, Duration::from_secs(60)));
        Builder::unix_stream(theirs).p2p().build().await.expect("handshake")
    }

    pub(super) async fn manager(&self, uid: u32) -> ManagerProxy<'static> {
        ManagerProxy::new(&self.client(uid).await).await.expect("proxy")
    }

    /// Events of the audit log in order, with the number of the job.
    pub(super) fn events(&self) -> Vec<(Event, Option<u64>)> {
        let mut events = Vec::new();
        for (_, segment) in self.desk.engine.ledger().open_segments().expect("segments") {
            for line in read(segment).lines() {
                let record = Record::parse(line.as_bytes()).expect("a record");
                events.push((record.kind().expect("known"), record.job));
            }
        }
        events
    }

    pub(super) fn count(&self, event: Event) -> usize {
        self.events().iter().filter(|(found, _)| *found == event).count()
    }
}

pub(super) fn open_audit(dir: &Path) -> Arc<Audit> {
    Arc::new(
        Audit::open(&dir.join("audit"), &Options::with_key_file(dir.join("audit.key")))
            .expect("audit log")
            .0,
    )
}

pub(super) fn read(fd: OwnedFd) -> String {
    std::io::read_to_string(std::fs::File::from(fd)).expect("readable")
}

/// A specification with this command and nothing else.
pub(super) fn command(words: &[&str]) -> HashMap<&'static str, Variant<'static>> {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    HashMap::from([("command", Variant::from(words))])
}

pub(super) async fn submit(manager: &ManagerProxy<'_>, words: &[&str]) -> u64 {
    manager.submit_job(command(words), vec![]).await.expect("accepted").0
}

pub(super) fn described(json: &str) -> JobDescription {
    serde_json::from_str(json).expect("a description")
}

/// Name (short) and words of the error that a call answers.
pub(super) fn refusal<T: std::fmt::Debug>(result: zbus::Result<T>) -> (String, String) {
    match result.expect_err("a refusal") {
        zbus::Error::MethodError(name, words, _) => {
            let short = name.as_str().rsplit('.').next().unwrap_or_default().to_owned();
            (short, words.unwrap_or_default())
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

pub(super) fn as_fd(file: &std::fs::File) -> Fd<'_> {
    Fd::from(file)
}

/// Waits until something is so; the limit only ends a test that fails.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Duration::from_secs(30);
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
