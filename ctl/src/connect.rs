//! The way to a supervisor: the system bus, or a private socket behind which a
//! supervisor is started when none answers.

use crate::error::{self, Failure, Result};
use crate::private;
use crate::view::text;
use fetchml_api::names;
use fetchml_api::proxy::{AuditProxy, ManagerProxy};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zbus::connection::Builder;
use zbus::proxy::CacheProperties;

/// A supervisor that accepts and then says nothing is given up after this.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Which supervisor is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The service of this machine.
    System,
    /// A private supervisor below this absolute directory.
    Private(PathBuf),
}

impl Target {
    /// What a person types to mean this supervisor.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::System => "fetchmlctl".into(),
            Self::Private(dir) if private::default_dir().as_deref() == Some(dir.as_path()) => {
                "fetchmlctl --private".into()
            }
            Self::Private(dir) => {
                let flag = format!("--private={}", dir.display());
                text::command(&["fetchmlctl".into(), flag])
            }
        }
    }

    /// Connects; a private supervisor that does not run is started.
    pub(crate) async fn connect(&self) -> Result<Supervisor> {
        let connection = match self {
            Self::System => system().await?,
            Self::Private(dir) => match private_connection(dir).await? {
                Some(connection) => connection,
                None => private::start(dir).await?,
            },
        };
        Supervisor::new(&connection).await
    }

    /// Connects to a supervisor that runs already.
    pub(crate) async fn connect_running(&self) -> Result<Supervisor> {
        match self {
            Self::System => self.connect().await,
            Self::Private(dir) => {
                let stream = private_socket(dir)
                    .map_err(|e| Failure::io("no private supervisor in", dir.display(), &e))?;
                let connection =
                    handshake(stream).await.map_err(|e| Failure::bus("no supervisor", &e))?;
                Supervisor::new(&connection).await
            }
        }
    }
}

/// A connection to a supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    pub(crate) manager: ManagerProxy<'static>,
    pub(crate) audit: AuditProxy<'static>,
}

impl Supervisor {
    /// Properties are not cached: the client lives for one question, and a
    /// cache would cost a match rule and a round trip.
    async fn new(connection: &zbus::Connection) -> Result<Self> {
        let lost = |e: zbus::Error| Failure::bus("no supervisor", &e);
        let manager = ManagerProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(lost)?;
        let audit = AuditProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(lost)?;
        Ok(Self { manager, audit })
    }
}

/// The system bus; where there is none, the service's own socket.
async fn system() -> Result<zbus::Connection> {
    let on_bus = tokio::time::timeout(HANDSHAKE_LIMIT, Builder::system().build()).await;
    let error = match on_bus {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => error,
        Err(_) => zbus::Error::Handshake("the system bus does not answer".into()),
    };
    if let Ok(stream) = connect_below(Path::new(names::SYSTEM_RUNTIME_DIR))
        && let Ok(connection) = handshake(stream).await
    {
        return Ok(connection);
    }
    Err(Failure::bus("cannot reach the system bus", &error).hint(error::NO_SERVICE))
}

/// Connects to a private supervisor. `None` where there is none, and where what accepted
/// went away at once: one that is killed in the middle of a launch leaves its socket to a
/// child, which ends a moment later.
pub(crate) async fn private_connection(dir: &Path) -> Result<Option<zbus::Connection>> {
    let Ok(stream) = private_socket(dir) else { return Ok(None) };
    match tokio::time::timeout(HANDSHAKE_LIMIT, greet(stream)).await {
        Ok(Ok(connection)) => Ok(Some(connection)),
        Ok(Err(error)) if went_away(&error) => Ok(None),
        Ok(Err(error)) => Err(Failure::bus("no supervisor", &error)),
        Err(_) => Err(Failure::bus("no supervisor", &silence())),
    }
}

/// Connects to the socket of a private supervisor.
fn private_socket(dir: &Path) -> std::io::Result<UnixStream> {
    connect_below(&dir.join("run"))
}

/// Connects through the open directory, since an address holds 107 bytes and a
/// path can be longer, and asks the kernel who listens: directories and
/// variables are not given to a socket that somebody else put there.
fn connect_below(runtime_dir: &Path) -> std::io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(runtime_dir, flags, Mode::empty())?;
    let address = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), names::SOCKET_FILE);
    let stream = UnixStream::connect(address)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        let text = format!("the socket belongs to user {}", peer.uid.as_raw());
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text));
    }
    Ok(stream)
}

/// Authenticates on a socket of the service itself.
async fn handshake(stream: UnixStream) -> zbus::Result<zbus::Connection> {
    let greeted = tokio::time::timeout(HANDSHAKE_LIMIT, greet(stream)).await;
    greeted.unwrap_or_else(|_| Err(silence()))
}

/// Whether the other side ended before it said a word. What a supervisor says that turns
/// clients away is no such end.
fn went_away(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::InputOutput(_) => true,
        // zbus has no other names for these two.
        zbus::Error::Handshake(text) => {
            text == "Unexpected EOF during handshake"
                || text.starts_with("Could not send zero byte")
        }
        _ => false,
    }
}

async fn greet(stream: UnixStream) -> zbus::Result<zbus::Connection> {
    Builder::unix_stream(stream).p2p().build().await
}

fn silence() -> zbus::Error {
    zbus::Error::Handshake("the supervisor does not answer".into())
}

/// Whether the supervisor went away, as opposed to saying no.
pub(crate) fn is_lost(error: &zbus::Error) -> bool {
    is_lost_name(&error::bus_name(error))
}

/// The same by the last part of the error's name.
pub(crate) fn is_lost_name(short: &str) -> bool {
    const WAYS: [&str; 7] = [
        error::LOST,
        "NoReply",
        "Disconnected",
        "NameHasNoOwner",
        "ServiceUnknown",
        "NoServer",
        "ShuttingDown",
    ];
    WAYS.contains(&short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[tokio::test]
    async fn a_socket_whose_owner_goes_away_at_once_is_no_supervisor() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let run = dir.path().join("run");
        std::fs::create_dir(&run).expect("a directory");
        assert!(private_connection(dir.path()).await.expect("no failure").is_none());
        let listener = UnixListener::bind(run.join(names::SOCKET_FILE)).expect("a socket");
        for hears in [false, true] {
            let listener = listener.try_clone().expect("a descriptor");
            let going_away = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                if hears {
                    let heard = std::io::Read::read(&mut stream, &mut [0; 64]);
                    assert!(heard.expect("a greeting") > 0);
                }
            });
            let connection = private_connection(dir.path()).await.expect("no failure");
            assert!(connection.is_none(), "{hears}");
            going_away.join().expect("it heard what it should");
        }
    }

    #[tokio::test]
    async fn a_supervisor_that_turns_clients_away_is_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let run = dir.path().join("run");
        std::fs::create_dir(&run).expect("a directory");
        let listener = UnixListener::bind(run.join(names::SOCKET_FILE)).expect("a socket");
        let turning_away = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            std::io::Write::write_all(&mut stream, b"ERROR it is full\r\n").expect("a word");
            let _ = std::io::Read::read(&mut stream, &mut [0; 64]);
        });
        let failure = private_connection(dir.path()).await.expect_err("it said no");
        assert!(failure.to_string().contains("it is full"), "{failure}");
        turning_away.join().expect("it was connected to");
    }
}
