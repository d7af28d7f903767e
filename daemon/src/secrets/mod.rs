//! Secrets that an administrator keeps here for jobs: who may use which, and their
//! values on the disk.
//!
//! A value comes in through a descriptor and leaves in the plan of a job that may have
//! it. In between it is in a file that only the supervisor's user can read, encrypted
//! by systemd where that can be; in memory it is wiped when it was used. No function
//! here gives a value to anything that is told, stored or logged.

mod error;
mod file;
mod given;
mod seal;

pub use error::VaultError;
pub use given::{Given, Value, read_value};

use fetchml_api::job::SecretUse;
use file::{Kept, Sealed};
use nix::unistd::{Gid, Group, Uid, User};
use seal::Seal;
use serde::Serialize;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Longest value.
pub const MAX_VALUE_BYTES: usize = 8 << 10;
/// A shorter one could not be told from other text in a log.
pub const MIN_VALUE_BYTES: usize = 6;
const MAX_NAME_BYTES: usize = 64;

/// The secrets of one supervisor.
#[derive(Debug)]
pub struct Vault {
    directory: PathBuf,
    seal: Seal,
    /// Who may use them all: root, or the owner of a private supervisor.
    administrator: u32,
    changing: Mutex<()>,
}

/// Who wants to use a secret.
#[derive(Clone, Debug)]
pub struct Holder {
    uid: u32,
    groups: Vec<u32>,
}

impl Holder {
    /// A user with these groups.
    #[must_use]
    pub fn new(uid: u32, groups: Vec<u32>) -> Self {
        Self { uid, groups }
    }

    /// A user with the groups that the account database knows now: of one that it does
    /// not know, none.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        let known = || {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
            let name = std::ffi::CString::new(user.name).ok()?;
            nix::unistd::getgrouplist(&name, user.gid).ok()
        };
        let groups: Vec<Gid> = known().unwrap_or_default();
        Self { uid, groups: groups.into_iter().map(Gid::as_raw).collect() }
    }
}

/// What is told of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Who may use it beside the administrator: `user:NAME` and `group:NAME`.
    #[serde(rename = "for")]
    pub holders: Vec<String>,
    /// When it was added, microseconds since the epoch.
    pub added_usec: u64,
    /// When its value was last replaced, or 0.
    pub rotated_usec: u64,
    /// How it is kept: `systemd` or `file`.
    pub kept: &'static str,
}

impl Vault {
    /// The secrets below a state directory. The machine's supervisor has systemd
    /// encrypt them where that is there.
    ///
    /// # Errors
    /// When the directory is not the supervisor's alone.
    pub fn open(state: &Path, is_system: bool) -> Result<Self, VaultError> {
        let directory = state.join("secrets");
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(VaultError::io("make the directory", &directory, error));
            }
            _ => {}
        }
        let found = std::fs::symlink_metadata(&directory)
            .map_err(|error| VaultError::io("look at the directory", &directory, error))?;
        let administrator = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != administrator || found.mode() & 0o077 != 0 {
            return Err(VaultError::Exposed(directory));
        }
        let seal = if is_system { Seal::find() } else { Seal::None };
        Ok(Self { directory, seal, administrator, changing: Mutex::default() })
    }

    /// Keeps a new secret for these users and groups.
    ///
    /// # Errors
    /// When there is one of this name, or nobody of a name in `holders`.
    pub fn add(
        &self,
        name: &str,
        holders: &[String],
        value: &Value,
        now_usec: u64,
    ) -> Result<(), VaultError> {
        check_name(name)?;
        let holders = holders.iter().map(|words| holder(words)).collect::<Result<Vec<_>, _>>()?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        if path.exists() {
            return Err(VaultError::There(name.to_owned()));
        }
        let kept = Kept { holders, added_usec: now_usec, rotated_usec: 0, sealed: Sealed::None };
        self.write(name, kept, value)
    }

    /// Replaces the value of a secret. Jobs that started before keep the old one.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn rotate(&self, name: &str, value: &Value, now_usec: u64) -> Result<(), VaultError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, _) = self.read(name)?;
        self.write(name, Kept { rotated_usec: now_usec, ..kept }, value)
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), VaultError> {
        check_name(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        file::remove(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => VaultError::Unknown(name.to_owned()),
            _ => VaultError::io("remove", &path, error),
        })
    }

    /// All secrets, by name.
    ///
    /// # Errors
    /// When the directory or one of them cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let failed = |error| VaultError::io("read the directory", &self.directory, error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string().ok().filter(|name| check_name(name).is_ok()));
        }
        names.sort();
        let listed = names.into_iter().map(|name| {
            let (kept, _) = self.read(&name)?;
            let Kept { holders, added_usec, rotated_usec, sealed } = kept;
            Ok(Listed { name, holders, added_usec, rotated_usec, kept: sealed.name() })
        });
        listed.collect()
    }

    /// Whether somebody may use these secrets.
    ///
    /// # Errors
    /// [`VaultError::NotYours`] for the first that he may not use, or that is not there.
    pub fn check(&self, uses: &[SecretUse], holder: &Holder) -> Result<(), VaultError> {
        uses.iter().try_for_each(|one| self.usable(&one.name, holder).map(drop))
    }

    /// The secrets of a job that begins.
    ///
    /// # Errors
    /// As [`Self::check`], or when one cannot be read.
    pub fn take(&self, uses: &[SecretUse], holder: &Holder) -> Result<Vec<Given>, VaultError> {
        let given = uses.iter().map(|one| {
            let (kept, stored) = self.usable(&one.name, holder)?;
            let value = self.seal.open(&one.name, kept.sealed, stored)?;
            Ok(Given { name: one.name.clone(), variable: one.variable.clone(), value })
        });
        given.collect()
    }

    /// Who may not use a secret does not learn whether there is one.
    fn usable(&self, name: &str, holder: &Holder) -> Result<(Kept, Value), VaultError> {
        let refused = || VaultError::NotYours(name.to_owned());
        let (kept, stored) = match self.read(name) {
            Err(VaultError::Unknown(_)) => return Err(refused()),
            read => read?,
        };
        let is_for = |words: &String| match words.split_once(':') {
            Some(("user", name)) => {
                let user = User::from_name(name).ok().flatten();
                user.is_some_and(|user| user.uid.as_raw() == holder.uid)
            }
            Some(("group", name)) => {
                let group = Group::from_name(name).ok().flatten();
                group.is_some_and(|group| holder.groups.contains(&group.gid.as_raw()))
            }
            _ => false,
        };
        if holder.uid == self.administrator || kept.holders.iter().any(is_for) {
            Ok((kept, stored))
        } else {
            Err(refused())
        }
    }

    fn read(&self, name: &str) -> Result<(Kept, Value), VaultError> {
        check_name(name)?;
        file::read(name, &self.path(name), self.administrator)
    }

    fn write(&self, name: &str, kept: Kept, value: &Value) -> Result<(), VaultError> {
        let (sealed, stored) = self.seal.close(name, value)?;
        file::write(&self.path(name), &Kept { sealed, ..kept }, &stored)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A name becomes that of a file, here and in the job.
///
/// # Errors
/// [`VaultError::Name`].
pub fn check_name(name: &str) -> Result<(), VaultError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if fits && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(VaultError::Name(name.to_owned()))
    }
}

/// `alice`, `user:alice` or `group:lab`, as it is kept.
fn holder(words: &str) -> Result<String, VaultError> {
    let user = |name: &str| User::from_name(name).ok().flatten().is_some();
    let group = |name: &str| Group::from_name(name).ok().flatten().is_some();
    let (kind, name) = words.split_once(':').unwrap_or(("", words));
    match (kind, user(name), group(name)) {
        ("" | "user", true, false) | ("user", true, true) => Ok(format!("user:{name}")),
        ("" | "group", false, true) | ("group", true, true) => Ok(format!("group:{name}")),
        // Most users have a group of their name; such a one is meant as the user.
        ("", true, true) => Ok(format!("user:{name}")),
        _ => Err(VaultError::Nobody(words.to_owned())),
    }
}

#[cfg(test)]
mod tests;
