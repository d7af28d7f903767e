//! The directories that clients opened for jobs which wait. They outlive the
//! supervisor, and the machine: each has a durable form in the store, from which
//! it is opened again.
//!
//! Authority stays the client's. A path of a client is never resolved here: what is
//! kept is the kernel's own handle of the very directory that the client had open,
//! and it leads to that one alone or nowhere. Such a handle passes by the
//! permissions of the directories above, as the client's descriptor did.
//!
//! Each distinct directory is held once, however many jobs wait for it. Beyond
//! [`HELD`] of them nothing is held but the handle; a file system without handles
//! leaves only the descriptor, of which there may be [`HELD_ALONE`].

mod find;
mod form;
mod mounts;

use crate::launch::HostView;
use crate::notify::Notify;
use form::{Form, Key, Look};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Most descriptors held of directories that can be opened again.
const HELD: usize = 1024;

/// Most descriptors held of those that cannot, of one user and of all. With [`HELD`]
/// far below the limits of open files and of systemd's descriptor store, so that
/// launches never go short because of a queue.
const HELD_ALONE_OF_USER: usize = 1024;
const HELD_ALONE: usize = 2048;

/// Why a directory cannot be had. The words go on after its name.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A descriptor cannot be looked at.
    #[error("cannot be looked at: {0}")]
    NotLookedAt(Errno),
    /// Too many that only a descriptor leads to.
    #[error(
        "is on a file system without file handles, so it has to be held open while the job waits: \
         {theirs} such directories are held for you and {all} for all, of at most \
         {HELD_ALONE_OF_USER} and {HELD_ALONE}; wait for some jobs to start, or use a directory on \
         ext4, xfs or btrfs"
    )]
    TooMany {
        /// Held for that user.
        theirs: usize,
        /// Held for everybody.
        all: usize,
    },
    /// Its descriptor went with the supervisor or the machine.
    #[error(
        "was held open for the job by a supervisor that is gone, and its file system has no file \
         handles by which it could be found again; submit the job again"
    )]
    NotKept,
    /// The mounts of the host cannot be read.
    #[error("cannot be found again: cannot read the host's mounts: {0}")]
    Mounts(std::io::Error),
    /// No mount of the host shows its file system.
    #[error(
        "cannot be found again: its file system ({kind}, at {point} when the job was submitted) is \
         not mounted"
    )]
    NotMounted {
        /// Kind of file system.
        kind: String,
        /// Where it was mounted.
        point: String,
    },
    /// The mount now permits more than the one that the client used.
    #[error(
        "cannot be opened again: {point} is mounted with more rights than when the job was \
         submitted; submit the job again"
    )]
    MountedOtherwise {
        /// The mount.
        point: String,
    },
    /// It was removed.
    #[error("is not there any more: it was removed after the job was submitted")]
    Gone,
    /// The kernel does not open it.
    #[error("cannot be opened again: {0}")]
    NotOpened(Errno),
    /// What the store has of it is no directory.
    #[error("is damaged in the job store: {0}")]
    Damaged(String),
}

impl DirectoryError {
    /// Whether the directory may be there at another time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Mounts(_) | Self::NotMounted { .. } | Self::NotOpened(_))
    }
}

/// Number of a directory, the same in the store and with the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryId(pub u64);

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A directory as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub id: DirectoryId,
    /// Who opened it.
    pub uid: u32,
    /// How it is found again; nobody but this room reads it.
    pub form: String,
}

/// Where the host's mounts are seen.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// In that thread.
    Host(HostView),
    /// In whichever thread asks: for tests.
    #[cfg(test)]
    Here,
}

impl Sight {
    fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        match self {
            Self::Host(view) => view.run(move || Ok(look())).map_err(DirectoryError::Mounts)?,
            #[cfg(test)]
            Self::Here => look(),
        }
    }
}

/// All directories that jobs wait for.
#[derive(Clone, Debug)]
pub struct Directories(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    sight: Sight,
    notify: Notify,
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Key, Weak<Pooled>>,
    /// Descriptors held although a handle leads to the directory as well.
    held: usize,
    /// Users with directories that only a descriptor leads to, and how many.
    alone: HashMap<u32, usize>,
}

/// A directory in the pool, as long as somebody keeps this.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Pooled>);

#[derive(Debug)]
struct Pooled {
    id: DirectoryId,
    uid: u32,
    form: Form,
    key: Option<Key>,
    held: Option<OwnedFd>,
    pool: Arc<Pool>,
}

impl Directories {
    /// An empty pool, to which everything that the store has is given back first.
    pub(crate) fn new(sight: Sight, notify: Notify) -> Self {
        Self(Arc::new(Pool { sight, notify, next: AtomicU64::new(1), table: Mutex::default() }))
    }

    /// Takes what a user's client opened.
    ///
    /// # Errors
    /// [`DirectoryError`]: position and why; nothing is kept.
    pub fn take(
        &self,
        uid: u32,
        opened: Vec<OwnedFd>,
    ) -> Result<Vec<Directory>, (usize, DirectoryError)> {
        let numbered = opened.into_iter().enumerate();
        numbered.map(|(at, fd)| self.take_one(uid, fd).map_err(|e| (at, e))).collect()
    }

    fn take_one(&self, uid: u32, opened: OwnedFd) -> Result<Directory, DirectoryError> {
        let look = Look::at(opened.as_fd()).map_err(DirectoryError::NotLookedAt)?;
        let key = look.key(uid, opened.as_fd()).map_err(DirectoryError::NotLookedAt)?;
        if let Some(known) = self.table().known.get(&key).and_then(Weak::upgrade) {
            return Ok(Directory(known));
        }
        let (form, opened) = self.0.sight.run(move || {
            let mounts = mounts::read().map_err(DirectoryError::Mounts)?;
            let mut form = Form::of(opened.as_fd(), &look, &mounts);
            // Said to be durable only when it was seen to be.
            if form.handle.is_some() && find::reopen(&form).is_err() {
                form.handle = None;
            }
            Ok((form, opened))
        })?;
        let id = DirectoryId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (pooled, fresh) = self.add(id, uid, form, Some(key), Some(opened))?;
        if fresh && let Some(held) = &pooled.0.held {
            self.0.notify.keep(id, held.as_fd());
        }
        Ok(pooled)
    }

    /// Puts back what the store has, with the descriptors that were kept for it.
    ///
    /// # Errors
    /// [`DirectoryError::Damaged`].
    pub fn restore(
        &self,
        stored: &Stored,
        kept: Option<OwnedFd>,
    ) -> Result<Directory, DirectoryError> {
        self.0.next.fetch_max(stored.id.0.saturating_add(1), Ordering::Relaxed);
        let form: Form = serde_json::from_str(&stored.form)
            .map_err(|error| DirectoryError::Damaged(error.to_string()))?;
        // Under a number that was given out again there may be another one.
        let held = kept.filter(|fd| find::is(&form, fd.as_fd()));
        let key = held.as_ref().and_then(|fd| {
            let look = Look::at(fd.as_fd()).ok()?;
            look.key(stored.uid, fd.as_fd()).ok()
        });
        // Two numbers of one directory stay two: each stands for jobs in the store.
        let key = key.filter(|key| !self.table().known.contains_key(key));
        Ok(self.add(stored.id, stored.uid, form, key, held)?.0)
    }

    /// `false` with one that was there already, put in by somebody else meanwhile.
    fn add(
        &self,
        id: DirectoryId,
        uid: u32,
        form: Form,
        key: Option<Key>,
        opened: Option<OwnedFd>,
    ) -> Result<(Directory, bool), DirectoryError> {
        let mut table = self.table();
        let known = key.as_ref().and_then(|key| table.known.get(key)).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok((Directory(known), false));
        }
        let held = match opened {
            Some(_) if form.handle.is_none() => {
                table.count_alone(uid)?;
                opened
            }
            Some(_) if table.held < HELD => {
                table.held += 1;
                opened
            }
            _ => None,
        };
        let pooled = Arc::new(Pooled { id, uid, form, key, held, pool: self.0.clone() });
        if let Some(key) = &pooled.key {
            table.known.insert(key.clone(), Arc::downgrade(&pooled));
        }
        Ok((Directory(pooled), true))
    }

    /// Descriptors that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        let table = self.table();
        table.held + table.alone.values().sum::<usize>()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table()
    }
}

impl Pool {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count_alone(&mut self, uid: u32) -> Result<(), DirectoryError> {
        let theirs = self.alone.get(&uid).copied().unwrap_or(0);
        let all = self.alone.values().sum();
        if theirs >= HELD_ALONE_OF_USER || all >= HELD_ALONE {
            return Err(DirectoryError::TooMany { theirs, all });
        }
        *self.alone.entry(uid).or_default() += 1;
        Ok(())
    }

    fn let_go_alone(&mut self, uid: u32) {
        if let Some(count) = self.alone.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.alone.remove(&uid);
            }
        }
    }
}

impl Directory {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> DirectoryId {
        self.0.id
    }

    /// For the store.
    ///
    /// # Errors
    /// [`DirectoryError::Damaged`], which strings and numbers never are.
    pub fn stored(&self) -> Result<Stored, DirectoryError> {
        let form = serde_json::to_string(&self.0.form)
            .map_err(|error| DirectoryError::Damaged(error.to_string()))?;
        Ok(Stored { id: self.0.id, uid: self.0.uid, form })
    }

    /// Opens it for an attempt.
    ///
    /// # Errors
    /// [`DirectoryError`]: why it cannot be opened any more.
    pub fn open(&self) -> Result<OwnedFd, DirectoryError> {
        if let Some(held) = &self.0.held {
            return held.try_clone().map_err(|error| {
                DirectoryError::NotOpened(Errno::from_io_error(&error).unwrap_or(Errno::MFILE))
            });
        }
        let form = self.0.form.clone();
        self.0.pool.sight.run(move || find::reopen(&form))
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut table = self.pool.table();
        if let Some(key) = &self.key
            && table.known.get(key).is_some_and(|known| known.strong_count() == 0)
        {
            table.known.remove(key);
        }
        if self.held.is_some() {
            match self.form.handle {
                Some(_) => table.held = table.held.saturating_sub(1),
                None => table.let_go_alone(self.uid),
            }
            drop(table);
            self.pool.notify.release(self.id);
        }
    }
}

#[cfg(test)]
mod tests;
