//! `outputs`: what a job left, listed or fetched through the directory that the
//! supervisor opened. The job chose every name and every link in there, so the
//! kernel resolves each path below that directory and follows no link.

use crate::cli::Outputs;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::reference;
use crate::view::outputs::{Entry, Kind, json, table};
use crate::view::text::visible;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Most entries of a list: a job may have made millions of files.
const MAX_ENTRIES: usize = 100_000;

pub(crate) async fn run(context: &Context, outputs: &Outputs) -> Result<u8> {
    let id = reference::resolve_one(&context.link, &outputs.job).await?;
    let root = context.link.open_directory(id, outputs.work).await?;
    if let Some(file) = &outputs.get {
        fetch(root.as_fd(), file, outputs.output.as_deref())?;
        return Ok(0);
    }
    let (entries, whole) =
        walk(root.as_fd()).map_err(|e| Failure::io("cannot list the files of job", id, &e))?;
    if context.json {
        context.print_json(&json(&entries))?;
    } else if entries.is_empty() {
        let place = if outputs.work { "in /work" } else { "in its output directory" };
        context.tell(&format_args!("job {id} left nothing {place}"));
    } else {
        context.print(&table(&entries, context.width, context.style))?;
    }
    if !whole {
        return Err(Failure::no(format!("the list stops after {MAX_ENTRIES} entries")));
    }
    Ok(0)
}

/// Opens below `root`, whatever the path says and whoever changes it meanwhile.
pub(super) fn open_below(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Everything below `root` in the order of its names, and whether that is all.
fn walk(root: BorrowedFd<'_>) -> io::Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let at = if dir.as_os_str().is_empty() { Path::new(".") } else { &dir };
        let handle = match open_below(root, at, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(handle) => handle,
            // Gone or closed to us since it was seen: it stays in the list as a directory.
            Err(_) if !dir.as_os_str().is_empty() => continue,
            Err(e) => return Err(e),
        };
        for found in Dir::read_from(&handle)? {
            let found = found?;
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Some(entry) = look(&handle, &dir, name)? else {
                continue;
            };
            if entry.kind == Kind::Directory {
                open.push(entry.path.clone());
            }
            entries.push(entry);
            if entries.len() >= MAX_ENTRIES {
                entries.sort_by(|a, b| a.path.cmp(&b.path));
                return Ok((entries, false));
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((entries, true))
}

/// One name of a directory, not followed.
fn look(handle: &OwnedFd, dir: &Path, name: &CStr) -> io::Result<Option<Entry>> {
    let stat = match rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(handle, name, Vec::new())?;
            Kind::Link(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
        }
        // How an overlay notes that a file of the project was deleted.
        FileType::CharacterDevice if stat.st_rdev == 0 => Kind::Deleted,
        _ => Kind::Other,
    };
    Ok(Some(Entry {
        path: dir.join(OsStr::from_bytes(name.to_bytes())),
        size_bytes: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        modified_usec: u64::try_from(stat.st_mtime).unwrap_or(0).saturating_mul(1_000_000),
        kind,
    }))
}

/// Copies one regular file out.
fn fetch(root: BorrowedFd<'_>, path: &Path, out: Option<&Path>) -> Result<()> {
    let shown = visible(&path.to_string_lossy());
    let relative =
        path.strip_prefix("/outputs").or_else(|_| path.strip_prefix("/work")).unwrap_or(path);
    // Opening a pipe for reading would wait for a writer.
    let file = open_below(root, relative, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|e| {
        let failure = Failure::io("cannot fetch", &shown, &e);
        match e.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::LOOP) => {
                failure.hint("it is a symbolic link; fetch the file that it leads to")
            }
            Some(rustix::io::Errno::XDEV) => failure.hint("it leads out of the job's directory"),
            _ => failure.hint("list the files with `fetchmlctl outputs JOB`"),
        }
    })?;
    let mut file = File::from(file);
    let metadata = file.metadata().map_err(|e| Failure::io("cannot fetch", &shown, &e))?;
    if !metadata.is_file() {
        return Err(Failure::no(format!("not a regular file: {shown}"))
            .hint("list the files with `fetchmlctl outputs JOB`"));
    }
    match out {
        Some(out) if out != Path::new("-") => save(&mut file, path, out, For::Everybody).map(drop),
        _ => {
            io::copy(&mut file, &mut io::stdout().lock()).map(drop).map_err(|e| Failure::output(&e))
        }
    }
}

/// Who may read a file that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// As the person's umask says.
    Everybody,
    /// Nobody but its owner, from its first moment on.
    Owner,
}

/// Copies an open file to a new one and returns where that is; `path` names it where
/// `out` is a directory.
pub(super) fn save(file: &mut File, path: &Path, out: &Path, whom: For) -> Result<PathBuf> {
    let place = match path.file_name() {
        Some(name) if out.is_dir() => out.join(name),
        _ => out.to_owned(),
    };
    let failed = |step, e: &io::Error| Failure::io(step, place.display(), e);
    let mode = if whom == For::Owner { 0o600 } else { 0o666 };
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let mut target = options.open(&place).map_err(|e| {
        let failure = failed("cannot create", &e);
        if e.kind() == io::ErrorKind::AlreadyExists {
            failure.hint("choose another name, or remove it first")
        } else {
            failure
        }
    })?;
    let copied = io::copy(file, &mut target).and_then(|_| target.sync_all());
    copied.map_err(|e| {
        // Half a file under the whole one's name would be worse than none.
        let _ = std::fs::remove_file(&place);
        failed("cannot write", &e)
    })?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("out/a/b")).expect("directories");
        std::fs::write(at("secret"), b"not yours").expect("a file");
        std::fs::write(at("out/a/b/model.json"), b"{}").expect("a file");
        symlink("../secret", at("out/escape")).expect("a link");
        symlink("..", at("out/up")).expect("a link");
        let root = rustix::fs::open(at("out"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .expect("a directory");
        (dir, root)
    }

    #[test]
    fn everything_is_listed_and_nothing_is_followed() {
        let (_dir, root) = tree();
        let (entries, whole) = walk(root.as_fd()).expect("a list");
        let paths: Vec<_> = entries.iter().map(|e| e.path.display().to_string()).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/model.json", "escape", "up"]);
        assert!(whole);
        assert_eq!(entries[2].size_bytes, 2);
        assert_eq!(entries[3].kind, Kind::Link("../secret".into()));
    }

    #[test]
    fn a_file_is_fetched_and_never_one_from_outside() {
        let (dir, root) = tree();
        let out = dir.path().join("copy");
        for bad in ["escape", "up/secret", "../secret", "/etc/passwd", "a", "a/nothing"] {
            assert!(fetch(root.as_fd(), Path::new(bad), Some(&out)).is_err(), "{bad}");
        }
        assert!(!out.exists());
        fetch(root.as_fd(), Path::new("a/b/model.json"), Some(&out)).expect("the file");
        assert_eq!(std::fs::read(&out).expect("the copy"), b"{}");
        let again = fetch(root.as_fd(), Path::new("/outputs/a/b/model.json"), Some(&out));
        assert!(again.is_err_and(|f| f.to_string().contains("another name")));
    }
}
