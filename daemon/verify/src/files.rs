//! Finds the files of a log. Links are not followed and pipes not waited for: what
//! is evidence lies there as a plain file.

use super::{Unreadable, is_notes};
use fetchml_api::audit::Head;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Beside the segments, the supervisor keeps the end of the log in this file.
const HEAD_FILE: &str = "head";
/// At 64 MiB each, many years of a busy machine.
const MAX_FILES: usize = 200_000;

#[derive(Debug, Default)]
pub(super) struct Found {
    /// Names and paths.
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) head: Option<Head>,
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Unreadable {
    Unreadable(format!("cannot read {}: {error}", path.display()))
}

pub(super) fn open(path: &Path) -> Result<File, Unreadable> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| unreadable(path, &error.into()))?;
    let file = File::from(file);
    let found = file.metadata().map_err(|error| unreadable(path, &error))?;
    match found.is_file() {
        true => Ok(file),
        false => Err(Unreadable(format!("{} is no plain file", path.display()))),
    }
}

/// The files at these paths in order: all of a directory, or these files and the
/// checkpoints beside the first of them.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            let names = names(path, |name| name.ends_with(".log") || name.ends_with(".notes"))?;
            if !names.iter().any(|name| name.ends_with(".log")) {
                let path = path.display();
                return Err(Unreadable(format!("there is no audit log in {path}: no file *.log")));
            }
            add(&mut found, path, names);
            found.head = stored_head(path).or(found.head);
        } else {
            let name = path.display().to_string();
            found.files.push((name, path.clone()));
        }
    }
    let beside = |path: &Path| {
        path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.to_owned())
    };
    if let Some(folder) = paths.first().filter(|path| !path.is_dir()).and_then(|path| beside(path))
    {
        if !found.files.iter().any(|(name, _)| is_notes(name)) {
            let names = names(&folder, |name| name.ends_with(".notes"))?;
            add(&mut found, &folder, names);
        }
        found.head = paths.last().and_then(|last| beside(last)).and_then(|at| stored_head(&at));
    }
    Ok(found)
}

fn add(found: &mut Found, folder: &Path, names: Vec<String>) {
    found.files.extend(names.into_iter().map(|name| {
        let path = folder.join(&name);
        (name, path)
    }));
}

/// Names sort as the segments were written.
fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Unreadable> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted(&name) {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            let folder = folder.display();
            return Err(Unreadable(format!("more than {MAX_FILES} files in {folder}: name them")));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn stored_head(folder: &Path) -> Option<Head> {
    let mut bytes = Vec::new();
    let file = open(&folder.join(HEAD_FILE)).ok()?;
    file.take(Head::STORED_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    Head::from_stored(&bytes)
}
