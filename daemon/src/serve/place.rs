//! Where a supervisor keeps its things, and that it is the only one there.

use crate::access::Mode;
use fetchml_api::names::{SOCKET_FILE, SYSTEM_RUNTIME_DIR};
use rustix::fs::{FlockOperation, Mode as FileMode, OFlags};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to wait for a supervisor that is just stopping.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Names the agent for a private supervisor that is not installed.
const AGENT_VARIABLE: &str = "FETCHML_AGENT";
const AGENT_NAME: &str = "fetchml-agent";
const INSTALLED_AGENT: &str = "/usr/libexec/fetchml/fetchml-agent";

/// Directories of one supervisor.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whose it is.
    pub mode: Mode,
    /// Store, users' directories.
    pub state: PathBuf,
    /// Socket, lock, what goes with a reboot.
    pub runtime: PathBuf,
    /// The audit log.
    pub audit: PathBuf,
    /// The key that signs it, where no credential has one.
    pub audit_key: PathBuf,
    /// Where its end is remembered.
    pub audit_end: PathBuf,
    /// The agent's binary.
    pub agent: PathBuf,
}

/// Why a supervisor cannot live there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A directory cannot be made or used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("{} belongs to user {owner}: give a directory of your own", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
    /// There is one already.
    #[error("another supervisor serves {}", path.display())]
    Taken {
        /// Its run-time directory.
        path: PathBuf,
    },
}

impl Place {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Self {
            mode: Mode::System,
            state: "/var/lib/fetchml".into(),
            runtime: SYSTEM_RUNTIME_DIR.into(),
            audit: "/var/log/fetchml/audit".into(),
            audit_key: "/var/lib/fetchml/audit.key".into(),
            audit_end: "/var/lib/fetchml/audit.end".into(),
            agent: installed_agent(),
        }
    }

    /// That of the user who runs this program, below one directory.
    ///
    /// # Errors
    /// [`PlaceError`] when the directory cannot be resolved.
    pub fn private(dir: &Path) -> Result<Self, PlaceError> {
        make(dir, 0o700)?;
        let dir = dir
            .canonicalize()
            .map_err(|source| PlaceError::Directory { path: dir.to_owned(), source })?;
        let agent = std::env::var_os(AGENT_VARIABLE).map_or_else(installed_agent, PathBuf::from);
        Ok(Self {
            mode: Mode::Private { owner: rustix::process::geteuid().as_raw() },
            state: dir.join("state"),
            runtime: dir.join("run"),
            audit: dir.join("log").join("audit"),
            audit_key: dir.join("state").join("audit.key"),
            audit_end: dir.join("state").join("audit.end"),
            agent,
        })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join(SOCKET_FILE)
    }

    /// Makes the directories and takes the place; the lock is held as long as
    /// the descriptor lives.
    ///
    /// # Errors
    /// [`PlaceError`] when a directory cannot be used or the place is taken.
    pub fn occupy(&self) -> Result<OwnedFd, PlaceError> {
        make(&self.state, 0o700)?;
        make(&self.runtime, if self.mode == Mode::System { 0o755 } else { 0o700 })?;
        if let Some(parent) = self.audit.parent() {
            make(parent, 0o700)?;
        }
        let path = self.runtime.join("lock");
        let failed = |error: rustix::io::Errno| PlaceError::Directory {
            path: path.clone(),
            source: error.into(),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock =
            rustix::fs::open(&path, flags, FileMode::RUSR | FileMode::WUSR).map_err(failed)?;
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < patience => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(PlaceError::Taken { path: self.runtime.clone() });
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Makes a directory of ours; one that exists must be ours and must not be
/// writable by others. Its mode else stays as the service manager made it.
fn make(path: &Path, mode: u32) -> Result<(), PlaceError> {
    let failed = |source| PlaceError::Directory { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    let found = std::fs::metadata(path).map_err(failed)?;
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us {
        return Err(PlaceError::Foreign { path: path.to_owned(), owner: found.uid() });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        let stricter = std::fs::Permissions::from_mode(mode & !0o022);
        std::fs::set_permissions(path, stricter).map_err(failed)?;
    }
    Ok(())
}

/// Beside this program, as it is after a build, or where the package puts it.
fn installed_agent() -> PathBuf {
    std::env::current_exe()
        .ok()
        .into_iter()
        .filter_map(|program| program.parent().map(Path::to_owned))
        // Beside it in a build tree, or where an installation below any prefix has it.
        .flat_map(|dir| [dir.join(AGENT_NAME), dir.join("../libexec/fetchml").join(AGENT_NAME)])
        .find(|agent| agent.is_file())
        .unwrap_or_else(|| INSTALLED_AGENT.into())
}
