//! A copy of the store, and a store from a copy.

use super::{FILE_NAME, StoreError, schema};
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
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

/// Puts a copy in the place of the store in `dir`, whose supervisor must not run. A
/// store that was there is kept beside it as [`REPLACED_NAME`], and where is returned.
///
/// # Errors
/// [`StoreError`] when the copy is no store, is damaged, or was written by a newer
/// version; the store in `dir` is as it was then.
pub fn restore(copy: &Path, dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let database = dir.join(FILE_NAME);
    let new = dir.join("fetchml.db.restoring");
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { path: path.clone(), source }
    };
    // What an interrupted attempt left may have a mode of its own.
    remove(&new);
    copy_for_its_owner(copy, &new).map_err(file(copy))?;
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
    let kept = match std::fs::rename(&database, &kept) {
        Ok(()) => Some(kept),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(file(&database)(error)),
    };
    std::fs::rename(&new, &database).map_err(file(&new))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file(dir))?;
    Ok(kept)
}

/// A store has the commands and variables of every job: whatever the copy's mode is,
/// nobody else may read it.
fn copy_for_its_owner(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut from, &mut to).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{insert, opened};
    use crate::store::{Filter, Store, Summary};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[tokio::test]
    async fn a_copy_holds_what_was_there_and_can_take_the_stores_place() {
        let (dir, store) = opened();
        insert(&store, 1, "kept").await;
        let copy = dir.path().join("copy");
        let mut from = std::fs::File::from(store.backup().await.expect("a copy"));
        std::io::copy(&mut from, &mut std::fs::File::create(&copy).expect("a file")).expect("copy");
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).expect("a mode");
        insert(&store, 1, "later").await;
        drop(store);
        let kept = restore(&copy, dir.path()).expect("restored").expect("there was one");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(&dir.path().join(FILE_NAME)), 0o600);
        let store = Store::open(dir.path()).expect("open");
        let names = |list: Vec<Summary>| list.into_iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names(store.summaries(Filter::default()).await.expect("read")), ["kept"]);
        assert!(kept.is_file(), "what was there is kept");
        let strays: Vec<_> = std::fs::read_dir(dir.path()).expect("listed").flatten().collect();
        assert!(!strays.iter().any(|e| e.file_name().to_string_lossy().contains("backup-")));
    }

    #[tokio::test]
    async fn where_no_store_was_none_is_said_to_be_kept() {
        let (dir, store) = opened();
        let copy = dir.path().join("copy");
        let mut from = std::fs::File::from(store.backup().await.expect("a copy"));
        std::io::copy(&mut from, &mut std::fs::File::create(&copy).expect("a file")).expect("copy");
        let empty = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(restore(&copy, empty.path()).expect("restored"), None);
        assert!(empty.path().join(FILE_NAME).is_file());
    }
}
