//! A copy of the store, and a store from a copy.

use super::{FILE_NAME, StoreError, schema};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Name under which a store that was replaced is kept, beside the new one.
pub const REPLACED_NAME: &str = "fetchml.db.before-restore";

/// Writes a copy of the database as it is at this moment, while it is in use, and
/// opens it for reading. The file has no name any more when this returns.
pub(super) fn copy(database: &Path) -> Result<OwnedFd, StoreError> {
    let place = database.with_extension(format!("backup-{}", std::process::id()));
    let failed = |source| StoreError::Open { path: place.clone(), source };
    let _ = std::fs::remove_file(&place);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags).map_err(failed)?;
    let copied = db.execute("VACUUM INTO ?1", [place.to_string_lossy()]).map_err(failed);
    let opened = copied.and_then(|_| {
        File::open(&place).map_err(|source| StoreError::File { path: place.clone(), source })
    });
    let _ = std::fs::remove_file(&place);
    Ok(opened?.into())
}

/// Puts a copy in the place of the store in `dir`, whose supervisor must not run. The
/// store that was there is kept beside it as [`REPLACED_NAME`].
///
/// # Errors
/// [`StoreError`] when the copy is no store, is damaged, or was written by a newer
/// version; the store in `dir` is as it was then.
pub fn restore(copy: &Path, dir: &Path) -> Result<PathBuf, StoreError> {
    let database = dir.join(FILE_NAME);
    let new = dir.join("fetchml.db.restoring");
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { path: path.clone(), source }
    };
    std::fs::copy(copy, &new).map_err(file(copy))?;
    let checked = schema::open(&new).and_then(|db| {
        // One file and no log beside it.
        let settle = db.pragma_update(None, "journal_mode", "DELETE");
        settle.map_err(|source| StoreError::Open { path: copy.to_owned(), source })?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(file(&new))
    });
    if let Err(error) = checked {
        remove(&new);
        return Err(match error {
            StoreError::Open { source, .. } => StoreError::Open { path: copy.to_owned(), source },
            StoreError::Damaged { what, .. } => StoreError::Damaged { path: copy.to_owned(), what },
            StoreError::TooNew { found, known, .. } => {
                StoreError::TooNew { path: copy.to_owned(), found, known }
            }
            other => other,
        });
    }
    let kept = dir.join(REPLACED_NAME);
    // What the old store's log holds belongs to it and must not be read into the new.
    for end in ["-wal", "-shm"] {
        let (from, to) = (with_end(&database, end), with_end(&kept, end));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file(&from)(error));
            }
            _ => {}
        }
    }
    match std::fs::rename(&database, &kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(file(&database)(error));
        }
        _ => {}
    }
    std::fs::rename(&new, &database).map_err(file(&new))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file(dir))?;
    Ok(kept)
}

fn remove(database: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(with_end(database, end));
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
