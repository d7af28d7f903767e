//! Reading override files. What they say weakens or shapes every sandbox, so
//! only the owner of the supervisor may have written them.

use crate::problem::{Fault, Problem};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Longest policy file.
const MAX_BYTES: u64 = 1 << 20;

/// One file of a policy directory.
#[derive(Debug)]
pub(crate) struct Source {
    /// Name of the policy, the stem of the file.
    pub(crate) name: String,
    /// The file for messages.
    pub(crate) file: String,
    /// What it says.
    pub(crate) text: String,
}

/// Reads the files of `directory` that end in `.extension`, by name. A missing
/// directory holds none.
pub(crate) fn read_directory(
    directory: &Path,
    extension: &str,
    owner: u32,
    problems: &mut Vec<Problem>,
) -> Vec<Source> {
    let listed = || -> io::Result<Vec<_>> {
        let mut paths = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|end| end == extension));
        paths.sort();
        Ok(paths)
    };
    let label = directory.display().to_string();
    let trusted = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => Err(unreadable(&error)),
        Ok(metadata) => only_writable_by(owner, &metadata),
    };
    let paths = trusted.and_then(|()| listed().map_err(|error| unreadable(&error)));
    let paths = match paths {
        Ok(paths) => paths,
        Err(fault) => {
            problems.push(fault.in_file(&label, ""));
            return Vec::new();
        }
    };
    let mut sources = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        match name_of(&path).and_then(|name| Ok((name, read_file(&path, owner)?))) {
            Ok((name, text)) => sources.push(Source { name, file, text }),
            Err(fault) => problems.push(fault.in_file(&file, "")),
        }
    }
    sources
}

/// Reads one file that only `owner` can have written.
fn read_file(path: &Path, owner: u32) -> Result<String, Fault> {
    let link = fs::symlink_metadata(path).map_err(|error| unreadable(&error))?;
    if !link.is_file() {
        return Err(Fault::new(
            "is not a regular file",
            "put the policy itself here, not a link to it",
        ));
    }
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if (metadata.dev(), metadata.ino()) != (link.dev(), link.ino()) {
        return Err(Fault::new("was exchanged while it was opened", "try again"));
    }
    only_writable_by(owner, &metadata)?;
    read_text(file)
}

/// Reads a text of bounded length.
pub(crate) fn read_text(file: File) -> Result<String, Fault> {
    let mut text = String::new();
    let read =
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    if read as u64 > MAX_BYTES {
        return Err(Fault::new("is longer than 1 MiB", "make it shorter"));
    }
    Ok(text)
}

pub(crate) fn unreadable(error: &io::Error) -> Fault {
    Fault::new(format!("cannot be read: {error}"), "make it a readable text file or remove it")
}

fn only_writable_by(owner: u32, metadata: &Metadata) -> Result<(), Fault> {
    if metadata.uid() != owner {
        return Err(Fault::new(
            format!("belongs to user {}, not to user {owner}", metadata.uid()),
            format!("chown it to user {owner} after reading what it says"),
        ));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Fault::new(
            format!("can be written by others (mode {mode:04o})"),
            "remove the permission with chmod go-w after reading what it says",
        ));
    }
    Ok(())
}

/// Whether a policy's file may be called so: NAME.extension.
#[must_use]
pub fn is_file_name(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|end| end == extension) && name_of(path).is_ok()
}

/// The policy's name: short, and harmless in a path, a table and a log.
pub(crate) fn name_of(path: &Path) -> Result<String, Fault> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if stem.is_empty() || stem.len() > 64 || stem.starts_with('-') || !stem.chars().all(plain) {
        return Err(Fault::new(
            format!("the name {stem:?} cannot be the name of a policy"),
            "use 1 to 64 small letters, digits and hyphens, not starting with a hyphen",
        ));
    }
    Ok(stem.into_owned())
}
