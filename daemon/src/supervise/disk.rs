//! What a job takes on the disk, and the watch that ends one that takes too much.
//!
//! The kernel keeps such a limit by itself only with project quotas, which few
//! file systems have switched on. So the job's directories are measured while it
//! runs. The walk reads sizes and never a file's content, stays below the job's
//! directory whatever the job does to its names meanwhile, and takes at most one
//! part in twenty of a processor's time: a job with many files is looked at less
//! often. Between two looks a job may write past its limit, and what it keeps open
//! without a name is not seen.

use super::JobDirectory;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat,
};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Directories inside each other that are still looked into. A descriptor is open
/// for each, and only who hides something nests more.
const MOST_NESTED: usize = 128;

/// What any file takes at least, so that millions of empty ones are noticed.
const LEAST_BYTES: u64 = 512;

/// Between two looks at a small job.
const PAUSE: Duration = Duration::from_secs(1);

/// A look that took this long is followed by a pause of this many times that.
const PAUSE_FACTOR: u32 = 19;

/// What a job takes on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes.
    Bytes(u64),
    /// Its directories are nested deeper than anybody looks.
    TooDeep,
}

impl Taken {
    pub(super) fn is_above(self, limit_bytes: u64) -> bool {
        match self {
            Self::Bytes(bytes) => bytes > limit_bytes,
            Self::TooDeep => true,
        }
    }

    pub(super) fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::TooDeep => None,
        }
    }
}

/// A number that is never measured.
const UNMEASURABLE: u64 = u64::MAX;

/// What a watch saw last, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Seen {
    bytes: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    pub(super) fn taken(&self) -> Taken {
        match self.bytes.load(Ordering::Relaxed) {
            UNMEASURABLE => Taken::TooDeep,
            bytes => Taken::Bytes(bytes),
        }
    }
}

/// Looks at a job's directory until the job is over or takes more than it may.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Begins to look. `end` is called once, when the job is above its limit.
    pub(super) fn begin<F>(
        directory: Arc<JobDirectory>,
        limit_bytes: u64,
        end: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut pause = PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                let begun = Instant::now();
                let Some(taken) = measure(&directory, &told).await else { return };
                told.bytes.store(taken.bytes().unwrap_or(UNMEASURABLE), Ordering::Relaxed);
                if taken.is_above(limit_bytes) {
                    return end().await;
                }
                pause = PAUSE.max(begun.elapsed() * PAUSE_FACTOR);
            }
        });
        Self { seen, task }
    }

    pub(super) fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// Walks the job's directory on a thread of its own. `None` when the watch ended
/// meanwhile, or there is nothing to walk.
async fn measure(directory: &Arc<JobDirectory>, seen: &Arc<Seen>) -> Option<Taken> {
    let (directory, seen) = (Arc::clone(directory), Arc::clone(seen));
    tokio::task::spawn_blocking(move || taken_by(&directory, &seen.over)).await.ok()?
}

/// A last look, when the job is over.
pub(super) async fn measure_once(directory: &Arc<JobDirectory>) -> Option<Taken> {
    measure(directory, &Arc::default()).await
}

fn taken_by(directory: &JobDirectory, stop: &AtomicBool) -> Option<Taken> {
    let mut bytes = 0;
    for root in directory.written().ok()? {
        match walk(root, stop) {
            Ok(Some(Taken::Bytes(more))) => bytes += more,
            Ok(Some(Taken::TooDeep)) => return Some(Taken::TooDeep),
            Ok(None) | Err(_) => return None,
        }
    }
    Some(Taken::Bytes(bytes))
}

/// The bytes of everything below a directory, itself included.
fn walk(root: OwnedFd, stop: &AtomicBool) -> Result<Option<Taken>, Errno> {
    let mut bytes = share(&fstat(&root)?);
    let mut open = vec![Dir::new(root)?];
    while let Some(current) = open.last_mut() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(entry) = current.next() else {
            open.pop();
            continue;
        };
        // What cannot be read any more has gone meanwhile.
        let Ok(entry) = entry else { continue };
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let here = current.fd()?;
        let Ok(stat) = statat(here, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        bytes += share(&stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let Ok(inner) = enter(here, entry.file_name()) else { continue };
            if open.len() == MOST_NESTED {
                return Ok(Some(Taken::TooDeep));
            }
            open.push(Dir::new(inner)?);
        }
    }
    Ok(Some(Taken::Bytes(bytes)))
}

fn enter(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(parent.as_fd(), name, flags, Mode::empty(), resolve)
}

/// What this name takes on the disk. All names of a file lie below the same
/// directory, so each counts for its part.
fn share(stat: &Stat) -> u64 {
    const BLOCK_BYTES: u64 = 512;
    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
    let names = match FileType::from_raw_mode(stat.st_mode) {
        // Of a directory these are its subdirectories.
        FileType::Directory => 1,
        _ => u64::from(stat.st_nlink.try_into().unwrap_or(u32::MAX)).max(1),
    };
    bytes.max(LEAST_BYTES).div_ceil(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn taken(place: &Path) -> Taken {
        let root = fs::File::open(place).expect("it opens").into();
        walk(root, &AtomicBool::new(false)).expect("it can be walked").expect("nobody stopped it")
    }

    #[test]
    fn files_count_once_whatever_names_they_have_and_links_lead_nowhere() {
        let outside = tempfile::tempdir().expect("a directory can be made");
        fs::write(outside.path().join("large"), vec![1; 4 << 20]).expect("write");
        let place = tempfile::tempdir().expect("a directory can be made");
        let empty = taken(place.path()).bytes().expect("bytes");
        fs::create_dir_all(place.path().join("a/b")).expect("mkdir");
        fs::write(place.path().join("a/b/file"), vec![1; 1 << 20]).expect("write");
        fs::hard_link(place.path().join("a/b/file"), place.path().join("again")).expect("link");
        symlink(outside.path(), place.path().join("away")).expect("symlink");
        symlink(outside.path().join("large"), place.path().join("large")).expect("symlink");
        let bytes = taken(place.path()).bytes().expect("bytes") - empty;
        assert!((1 << 20..(1 << 20) + 65_536).contains(&bytes), "{bytes}");
    }

    #[test]
    fn empty_files_are_not_for_nothing() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let empty = taken(place.path()).bytes().expect("bytes");
        for n in 0..1000 {
            fs::write(place.path().join(n.to_string()), "").expect("write");
        }
        assert!(taken(place.path()).bytes().expect("bytes") - empty >= 1000 * LEAST_BYTES);
    }

    #[test]
    fn what_is_nested_too_deep_is_told_and_not_followed() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let deep = |levels| "d/".repeat(levels);
        fs::create_dir_all(place.path().join(deep(MOST_NESTED - 1))).expect("mkdir");
        assert!(taken(place.path()).bytes().is_some());
        fs::create_dir_all(place.path().join(deep(MOST_NESTED))).expect("mkdir");
        assert_eq!(taken(place.path()), Taken::TooDeep);
    }
}
