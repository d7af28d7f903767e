//! Which files of audited data an attempt opens (fanotify(7)).
//!
//! The mounts that show audited data to a job are the job's own, and each is marked
//! before it is attached: every open through it is an event, and no other job's. The
//! kernel queues events while nobody reads; what it has no room for is told as
//! [`Access::Unseen`], never passed over. One file is told once for being opened and
//! once for being written, whatever the number of times. A mount that holds audited
//! data is told of as a whole: files can be moved within it.
//!
//! Not seen: files that are removed or renamed (the kernel tells that of no mount),
//! what a file's owner hides by a lease (fcntl(2), F_SETLEASE) amid many other opens,
//! and what happens below /work, whose overlay opens files by itself, so that audited
//! data cannot be a project directory.

use super::Refusal;
use crate::plan::{MountPlan, failed};
use fetchml_api::job::{Layer, LayerState, MountMode, MountRequest};
use fetchml_sys::watch::readiness;
use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, FanotifyEvent, InitFlags, MarkFlags, MaskFlags};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// Most opens and writes that are told of one attempt.
const MOST_KNOWN: usize = 1_000_000;
/// What is handed on at once.
const MOST_AT_ONCE: usize = 512;

/// What a job did to a file of audited data, by its path on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was opened.
    Opened(PathBuf),
    /// It was open for writing, and was closed.
    Written(PathBuf),
    /// Some opens were not seen, and why.
    Unseen(String),
}

/// The opens of one attempt.
#[derive(Debug)]
pub(crate) struct Opens {
    group: Fanotify,
    readable: AsyncFd<OwnedFd>,
    shown: Vec<Shown>,
    /// Of paths that were told, so that none needs to be kept.
    hasher: RandomState,
    state: Mutex<State>,
    news: Notify,
}

/// A mount that shows audited data.
#[derive(Debug)]
struct Shown {
    /// In the job.
    target: PathBuf,
    /// On the host.
    source: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    known: HashSet<(bool, u64)>,
    pending: Vec<Access>,
    /// No more is told.
    full: bool,
    over: bool,
}

impl State {
    /// Whether it was not told before and there is room for it. A job must not fill the
    /// log, and with it stop everybody's work: that there was more is told once.
    fn is_new(&mut self, what: (bool, u64)) -> bool {
        if self.known.len() < MOST_KNOWN {
            return self.known.insert(what);
        }
        if !self.full && !self.known.contains(&what) {
            self.full = true;
            self.lose(format!("more than {MOST_KNOWN} files were opened; no more are recorded"));
        }
        false
    }

    /// Once for many of the same kind.
    fn lose(&mut self, why: String) {
        let unseen = Access::Unseen(why);
        if self.pending.last() != Some(&unseen) {
            self.pending.push(unseen);
        }
    }
}

/// Where the directory is on the host, if it is, is in or holds audited data.
fn source(audited: &[PathBuf], directory: &OwnedFd) -> Result<Option<PathBuf>, Refusal> {
    if audited.is_empty() {
        return Ok(None);
    }
    let path = path_of(directory).map_err(failed("find a directory on the host"))?;
    let touches = |data: &PathBuf| path.starts_with(data) || data.starts_with(&path);
    Ok(audited.iter().any(touches).then_some(path))
}

fn path_of(fd: &impl AsRawFd) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

impl Opens {
    /// Refuses audited data as a project directory.
    pub(crate) fn check(
        audited: &[PathBuf],
        mounts: &[MountRequest],
        directories: &[OwnedFd],
    ) -> Result<(), Refusal> {
        for (mount, directory) in mounts.iter().zip(directories) {
            if mount.mode == MountMode::Project && source(audited, directory)?.is_some() {
                return Err(Refusal::Invalid(format!(
                    "directory `{}` holds data whose use is recorded ([audit] data), which cannot be \
                     done below /work; mount it elsewhere: --mount {0}:/data",
                    mount.label
                )));
            }
        }
        Ok(())
    }

    /// Marks the mounts of an attempt that show audited data; `None` when none does.
    /// `directories` and `trees` are those of `mounts` that are no project, in order.
    ///
    /// # Errors
    /// What is opened could not be recorded.
    pub(crate) fn begin<'a>(
        audited: &[PathBuf],
        directories: impl Iterator<Item = &'a OwnedFd>,
        trees: &[MountPlan],
    ) -> Result<Option<Self>, Refusal> {
        let mut shown = Vec::new();
        let mut marked = Vec::new();
        for (directory, plan) in directories.zip(trees) {
            if let Some(source) = source(audited, directory)? {
                shown.push(Shown { target: plan.target_path(), source });
                marked.push(&plan.tree);
            }
        }
        if shown.is_empty() {
            return Ok(None);
        }
        let cannot = |what: &str| {
            let what = format!("record what is opened of audited data: {what}");
            move |e: Errno| Refusal::BarrierUnavailable(format!("cannot {what}: {}", e.desc()))
        };
        // Without O_NONBLOCK a FIFO in the data would hold the supervisor up.
        let group = Fanotify::init(
            InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK,
            EventFFlags::O_RDONLY
                | EventFFlags::O_CLOEXEC
                | EventFFlags::O_LARGEFILE
                | EventFFlags::O_NONBLOCK,
        )
        .map_err(cannot("fanotify_init"))?;
        let mask = MaskFlags::FAN_OPEN | MaskFlags::FAN_CLOSE_WRITE;
        for tree in marked {
            // By a name: the kernel takes no O_PATH descriptor itself.
            let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
            group.mark(flags, mask, tree, Some(".")).map_err(cannot("fanotify_mark"))?;
        }
        let watched = group.as_fd().try_clone_to_owned().and_then(readiness);
        Ok(Some(Self {
            readable: watched.map_err(failed("watch what is opened of audited data"))?,
            group,
            shown,
            hasher: RandomState::new(),
            state: Mutex::default(),
            news: Notify::new(),
        }))
    }

    /// For the list of what holds.
    pub(crate) fn layer(&self) -> Layer {
        let sources: Vec<_> = self.shown.iter().map(|s| s.source.to_string_lossy()).collect();
        Layer {
            name: Layer::DATA_AUDIT.into(),
            state: LayerState::Held,
            detail: format!("opens of audited data are recorded: {}", sources.join(", ")),
        }
    }

    /// What happened since the last call; waits for something. `None` when the attempt
    /// is over and everything was told.
    pub(crate) async fn next(&self) -> Option<Vec<Access>> {
        loop {
            {
                let mut state = self.state();
                if !state.pending.is_empty() {
                    let few = state.pending.len().min(MOST_AT_ONCE);
                    return Some(state.pending.drain(..few).collect());
                }
                if state.over {
                    return None;
                }
            }
            tokio::select! {
                ready = self.readable.readable() => {
                    let Ok(mut ready) = ready else { return None };
                    if self.read(MOST_AT_ONCE) {
                        ready.clear_ready();
                    }
                }
                () = self.news.notified() => {}
            }
        }
    }

    /// The attempt is over, its mounts are still there: reads what is left.
    pub(crate) fn finish(&self) {
        while !self.read(usize::MAX) {}
        self.state().over = true;
        self.news.notify_one();
    }

    /// Reads some events; true when there are no more.
    fn read(&self, some: usize) -> bool {
        let mut state = self.state();
        let enough = state.pending.len().saturating_add(some);
        let mut errors = 0;
        while state.pending.len() < enough {
            match self.group.read_events() {
                Ok(events) => events.iter().for_each(|event| self.note(&mut state, event)),
                // Also what a file answers that cannot be opened for us at once.
                Err(Errno::EAGAIN)
                    if rustix::io::ioctl_fionread(&self.group).is_ok_and(|bytes| bytes == 0) =>
                {
                    return true;
                }
                // The event is gone: the file could not be opened for us to see its name.
                Err(error) => {
                    let why = error.desc();
                    state.lose(format!("the kernel does not say which file was opened: {why}"));
                    errors += 1;
                    if errors > MOST_AT_ONCE {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn note(&self, state: &mut State, event: &FanotifyEvent) {
        let Some(fd) = event.fd() else {
            let full = "more files were opened at once than the kernel remembers";
            state.lose(full.to_owned());
            return;
        };
        let Ok(seen) = path_of(&fd) else {
            state.lose("a file that was opened has no path".to_owned());
            return;
        };
        // By the file as well: a job may give many files one name, one after the other.
        let file = rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        let path = on_host(&self.shown, &seen, file);
        // Both, where the kernel made one event of two.
        let hash = self.hasher.hash_one((&path, file));
        if event.mask().contains(MaskFlags::FAN_OPEN) && state.is_new((false, hash)) {
            state.pending.push(Access::Opened(path.clone()));
        }
        if event.mask().contains(MaskFlags::FAN_CLOSE_WRITE) && state.is_new((true, hash)) {
            state.pending.push(Access::Written(path));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel gives a path from the job's root.
fn on_host(shown: &[Shown], seen: &Path, file: Option<(u64, u64)>) -> PathBuf {
    let inside = shown.iter().filter_map(|shown| {
        let rest = seen.strip_prefix(&shown.target).ok()?;
        Some((shown.target.as_os_str().len(), shown.source.join(rest)))
    });
    match inside.max_by_key(|(length, _)| *length) {
        Some((_, path)) => path,
        // Of a mount that was taken from its place, as a job's are that ended before
        // they could be held: from the root of whichever mount has that file there.
        None => {
            let rest = seen.strip_prefix("/").unwrap_or(seen);
            let mut paths = shown.iter().map(|shown| shown.source.join(rest));
            let is_it = |path: &PathBuf| {
                file.is_some() && rustix::fs::lstat(path).map(|s| (s.st_dev, s.st_ino)).ok() == file
            };
            let found = paths.clone().find(is_it).or_else(|| paths.next());
            found.unwrap_or_else(|| seen.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_path_from_the_root_of_a_mount_that_is_gone_is_below_the_one_with_that_file() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let sources = ["first", "second"].map(|name| place.path().join(name));
        for source in &sources {
            std::fs::create_dir(source).expect("mkdir");
            std::fs::write(source.join("a"), "").expect("write");
        }
        let shown = |target: &str, source: &PathBuf| Shown {
            target: target.into(),
            source: source.clone(),
        };
        let shown = [shown("/mnt", &sources[0]), shown("/data", &sources[1])];
        let file = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        let second = sources[1].join("a");
        assert_eq!(on_host(&shown, Path::new("/a"), file(&second)), second);
        assert_eq!(on_host(&shown, Path::new("/data/a"), None), second, "the mount is there");
        assert_eq!(on_host(&shown, Path::new("/gone"), None), sources[0].join("gone"));
    }
}
