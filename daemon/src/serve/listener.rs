//! The socket and whoever knocks at it.

use super::gate::Gate;
use crate::access::{Caller, Mode};
use crate::bus::{Desk, serve_peer};
use crate::engine::records;
use rustix::fs::{AtFlags, Mode as FileMode, OFlags};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause after accept(2) failed, so that a lack of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}: {source}", path.display())]
pub struct SocketError {
    path: PathBuf,
    source: std::io::Error,
}

/// The listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: tokio::net::UnixListener,
    /// Where it is, when we made it.
    path: Option<PathBuf>,
}

impl Listener {
    /// Takes a socket over from the service manager.
    ///
    /// # Errors
    /// [`SocketError`] when it is no listening unix socket.
    pub fn inherited(socket: OwnedFd) -> Result<Self, SocketError> {
        Self::adopt(socket.into(), None)
            .map_err(|source| SocketError { path: "the inherited socket".into(), source })
    }

    /// Makes a socket at `path`, in the place of a dead one. The caller holds
    /// the place's lock, so whatever is there is dead.
    ///
    /// # Errors
    /// [`SocketError`] when it cannot.
    pub fn bind(path: &Path, mode: Mode, group: Option<u32>) -> Result<Self, SocketError> {
        bind(path, mode, group)
            .and_then(|socket| Self::adopt(socket, Some(path.to_owned())))
            .map_err(|source| SocketError { path: path.to_owned(), source })
    }

    fn adopt(socket: UnixListener, path: Option<PathBuf>) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: tokio::net::UnixListener::from_std(socket)?, path })
    }

    /// Serves everybody who may come in, for ever.
    pub async fn serve(&self, desk: &Desk, gate: &Arc<Gate>) {
        loop {
            let accepted = self.socket.accept().await.and_then(|(socket, _)| socket.into_std());
            match accepted {
                Ok(socket) => admit(desk, gate, socket),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody listens there any more; the next start would do it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn admit(desk: &Desk, gate: &Arc<Gate>, socket: UnixStream) {
    let caller = match Caller::of_socket(&socket) {
        Ok(caller) => caller,
        // The client is gone already, or is nobody we could name in a record.
        Err(error) => {
            tracing::debug!(%error, "a client left before it was known");
            return;
        }
    };
    let entered = desk
        .access
        .may_connect(&caller)
        .map_err(|denied| denied.to_string())
        .and_then(|()| gate.enter(&caller));
    match entered {
        Ok(entry) => {
            let desk = desk.clone();
            tokio::spawn(async move {
                let timeout = desk.engine.settings().config.bus.handshake_timeout;
                if let Err(error) = serve_peer(desk, caller, socket, timeout).await {
                    tracing::info!(%error, "a connection did not come about");
                }
                drop(entry);
            });
        }
        Err(why) => turn_away(desk, gate, &caller, socket, &why),
    }
}

fn turn_away(desk: &Desk, gate: &Gate, caller: &Caller, mut socket: UnixStream, why: &str) {
    // In the words of the handshake, so that the client can show them. A fresh
    // socket's buffer takes a line without waiting.
    let _ = socket.set_nonblocking(true);
    let _ = write!(socket, "ERROR {why}\r\n");
    if let Some(suppressed) = gate.should_record(caller, Instant::now()) {
        let record = records::turned_away(caller, why, suppressed);
        let ledger = desk.engine.ledger().clone();
        tokio::spawn(async move {
            if let Err(error) = ledger.append(record).await {
                tracing::error!(%error, "a refused connection could not be recorded");
            }
        });
    }
}

/// A socket address holds 107 bytes; a path through the directory's descriptor
/// is short however long the directory's own is.
fn bind(path: &Path, mode: Mode, group: Option<u32>) -> std::io::Result<UnixListener> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, FileMode::empty())?;
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    // Nobody but us may connect before the mode is what it shall be.
    let before = rustix::process::umask(FileMode::from_raw_mode(0o177));
    let socket = UnixListener::bind(&short);
    rustix::process::umask(before);
    let socket = socket?;
    if mode == Mode::System
        && let Some(group) = group
    {
        let group = rustix::fs::Gid::from_raw(group);
        rustix::fs::chownat(&dir, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::chmodat(&dir, name, FileMode::from_raw_mode(0o660), AtFlags::empty())?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_socket_far_down_replaces_a_dead_one_and_is_ours_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).expect("mkdir");
        let path = deep.join("bus.sock");
        std::fs::write(&path, "dead").expect("write");
        let listener = Listener::bind(&path, Mode::Private { owner: 0 }, None).expect("bind");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(listener);
        assert!(!path.exists(), "left behind");
    }
}
