//! The key that signs at each start: from a credential of the service manager, or
//! from a file that is made when there is none.

use super::{AuditError, open};
use fetchml_api::audit::{MAX_STORED_KEY_BYTES, PublicKey, Role, SigningKey};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the credential.
pub const CREDENTIAL: &str = "fetchml.audit-key";

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A credential, which only its giver can make.
    Credential(PathBuf),
    /// A file of ours, made with a new key when it is not there.
    File(PathBuf),
}

impl KeySource {
    /// The credential, if the service manager gave one; else this file.
    #[must_use]
    pub fn find(file: PathBuf) -> Self {
        let given = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|directory| PathBuf::from(directory).join(CREDENTIAL));
        match given.filter(|path| path.exists()) {
            Some(path) => Self::Credential(path),
            None => Self::File(file),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Credential(path) | Self::File(path) => path,
        }
    }

    /// Reads it. Its memory is overwritten when the answer is dropped.
    pub(super) fn read(&self) -> Result<SigningKey, AuditError> {
        let path = self.path();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) if matches!(self, Self::File(_)) => return make(path),
            Err(error) => return Err(AuditError::io("open", path.to_owned())(error)),
        };
        let found = file.metadata().map_err(AuditError::io("examine", path.to_owned()))?;
        let uid = rustix::process::geteuid().as_raw();
        let why = match (found.is_file(), found.uid() == uid, found.mode() & 0o077) {
            (false, ..) => Some("is no plain file".to_owned()),
            (_, false, _) => Some(format!("belongs to user {}", found.uid())),
            // systemd gives read access to the group of the service, which is root's.
            (_, _, mode) if mode & 0o037 != 0 => {
                Some(format!("has mode {:04o}", found.mode() & 0o7777))
            }
            _ => None,
        };
        if let Some(why) = why {
            return Err(AuditError::Key { path: path.to_owned(), why });
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_STORED_KEY_BYTES + 1));
        let limit = u64::try_from(MAX_STORED_KEY_BYTES).unwrap_or(u64::MAX);
        file.take(limit)
            .read_to_string(&mut text)
            .map_err(AuditError::io("read", path.to_owned()))?;
        SigningKey::from_stored(&text)
            .map_err(|error| AuditError::Key { path: path.to_owned(), why: error.to_string() })
    }
}

/// A new key in a file that only its owner reads. It is durable before anything is
/// signed with it.
fn make(path: &Path) -> Result<SigningKey, AuditError> {
    let io = |step| AuditError::io::<std::io::Error>(step, path.to_owned());
    let key = random(Role::Log, path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beginning = path.with_extension("new");
    // Of an earlier start that was killed here, nothing was signed with it.
    drop(std::fs::remove_file(&beginning));
    let file = rustix::fs::open(&beginning, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| io("create")(error.into()))?;
    let mut file = File::from(file);
    file.write_all(key.to_stored().as_bytes()).map_err(io("write"))?;
    file.sync_all().map_err(io("sync"))?;
    std::fs::rename(&beginning, path).map_err(io("create"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync"))?;
    Ok(key)
}

/// A new key. Its random bytes are overwritten.
pub(super) fn random(role: Role, path: &Path) -> Result<SigningKey, AuditError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    open::fill_random(&mut *seed, path)?;
    Ok(SigningKey::from_seed(role, &seed))
}

/// Public keys in the order in which they came into use, one a line.
pub(super) fn read_list(text: &str) -> Option<Vec<PublicKey>> {
    text.lines().map(|line| line.parse().ok()).collect()
}
