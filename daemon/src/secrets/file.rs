//! One file a secret: a line of JSON that says what may be told, then the value.

use super::{Value, VaultError};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

const MAX_FILE_BYTES: u64 = 256 << 10;

/// What is kept beside the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    #[serde(rename = "for")]
    pub(super) holders: Vec<String>,
    pub(super) added_usec: u64,
    pub(super) rotated_usec: u64,
    pub(super) sealed: Sealed,
}

/// How the value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sealed {
    None,
    Systemd,
}

impl Sealed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "file",
            Self::Systemd => "systemd",
        }
    }
}

/// Reads a file that belongs to `owner` and is closed to everybody else.
pub(super) fn read(name: &str, path: &Path, owner: u32) -> Result<(Kept, Value), VaultError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOENT => VaultError::Unknown(name.to_owned()),
        error => VaultError::io("open", path, error.into()),
    })?;
    let file = File::from(file);
    let failed = |error| VaultError::io("read", path, error);
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.uid() != owner || found.mode() & 0o077 != 0 {
        return Err(VaultError::Exposed(path.to_owned()));
    }
    let damaged = || VaultError::Damaged(path.to_owned());
    let len = usize::try_from(found.len().min(MAX_FILE_BYTES)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let line = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (line, value) = bytes.split_at(line);
    let kept = serde_json::from_slice(line).map_err(|_| damaged())?;
    Ok((kept, Zeroizing::new(value.get(1..).unwrap_or_default().to_vec())))
}

/// Writes a file whole or not at all, and waits for the disk.
pub(super) fn write(path: &Path, kept: &Kept, value: &Value) -> Result<(), VaultError> {
    let written = || -> io::Result<()> {
        let beside = path.with_file_name(".new");
        remove(&beside)
            .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
        serde_json::to_writer(&mut file, kept)?;
        file.write_all(b"\n")?;
        file.write_all(value)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_directory(path)
    };
    written().map_err(|error| VaultError::io("write", path, error))
}

/// Removes a file for good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
