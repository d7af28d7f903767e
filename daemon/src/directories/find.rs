//! The way back from what the store remembers to an open directory. It runs in
//! the thread that sees the host's mounts, and follows no path but those at which
//! the host has mounted something.

use super::DirectoryError;
use super::form::{Form, Look};
use super::mounts::{self, Mount};
use fetchml_sys::handle::FileHandle;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::path::Path;

/// As clients open what they show.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Opens the directory again.
pub(super) fn reopen(form: &Form) -> Result<OwnedFd, DirectoryError> {
    let handle = form.handle().ok_or(DirectoryError::NotKept)?;
    let table = mounts::read().map_err(DirectoryError::Mounts)?;
    let mut why = DirectoryError::NotMounted {
        kind: form.mount.kind.clone(),
        point: form.mount.point.clone(),
    };
    for mount in candidates(form, &table) {
        match open_on(mount, form, &handle) {
            Ok(found) => return Ok(found),
            Err(Miss::NotHere) => {}
            Err(Miss::Because(better)) => why = better,
        }
    }
    Err(why)
}

/// Mounts on which it may be: where its owner opened it, then those that show a
/// whole file system, then the rest. Others of that kind of file system are not
/// even looked at: a dead server would not answer.
fn candidates<'a>(form: &Form, table: &'a [Mount]) -> Vec<&'a Mount> {
    let through = &form.mount;
    let rank = |mount: &Mount| {
        let same =
            mount.point == Path::new(&through.point) && mount.root == Path::new(&through.root);
        (!same, mount.root != Path::new("/"))
    };
    let mut found: Vec<_> = table.iter().filter(|mount| mount.kind == through.kind).collect();
    found.sort_by_key(|mount| rank(mount));
    found
}

/// Why it is not on a mount.
enum Miss {
    /// It has nothing to do with it.
    NotHere,
    /// It is the file system, but.
    Because(DirectoryError),
}

impl From<Errno> for Miss {
    fn from(_: Errno) -> Self {
        Self::NotHere
    }
}

fn open_on(mount: &Mount, form: &Form, handle: &FileHandle) -> Result<OwnedFd, Miss> {
    // A user who has a mount point in a directory of their own can put something
    // else there at any moment: what was opened says which mount it is.
    let nothing_followed = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let root = openat2(CWD, &mount.point, OPEN, Mode::empty(), nothing_followed)?;
    let look = Look::at(root.as_fd())?;
    if look.mount != mount.id
        || !look.is_mount_root
        || look.file.file_system != form.file.file_system
    {
        return Err(Miss::NotHere);
    }
    // Rights beyond those that its owner showed are not to be had on this way.
    if form.mount.read_only && !look.read_only || form.mount.no_exec && !look.no_exec {
        return Err(Miss::Because(DirectoryError::MountedOtherwise {
            point: mount.point.display().to_string(),
        }));
    }
    let found = handle.open(root.as_fd(), OPEN).map_err(|errno| {
        Miss::Because(match errno {
            Errno::STALE | Errno::NOTDIR => DirectoryError::Gone,
            errno => DirectoryError::NotOpened(errno),
        })
    })?;
    let look = Look::at(found.as_fd())?;
    if !look.is_directory || !form.file.is(&look.file) || look.mount != mount.id {
        return Err(Miss::Because(DirectoryError::Gone));
    }
    if !is_below_the_root(&found) {
        return Err(Miss::NotHere);
    }
    Ok(found)
}

/// Whether the mount shows it. The kernel lets nobody leave a directory upwards
/// whose parent is not below the root of the mount that it was opened on.
fn is_below_the_root(directory: &OwnedFd) -> bool {
    let upwards = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, c"..", upwards, Mode::empty()).is_ok()
}

/// Whether a descriptor is the directory that is remembered.
pub(super) fn is(form: &Form, directory: BorrowedFd<'_>) -> bool {
    Look::at(directory).is_ok_and(|look| look.is_directory && form.file.is(&look.file))
}
