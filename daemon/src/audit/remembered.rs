//! What the supervisor remembers of the end of its log, kept where the log is not: whoever
//! can change the files of the log alone, changes them against this.

use super::AuditError;
use super::directory::HeadFile;
use fetchml_api::audit::{Head, Id128};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The last record that was written, and of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) log_id: Id128,
    pub(super) head: Head,
    /// The log was closed: nothing was written after that.
    pub(super) closed: bool,
}

/// The log's id in hexadecimal digits, and a line end.
const HEAD_AT: usize = 32 + 1;
const STATE_AT: usize = HEAD_AT + Head::STORED_BYTES;
/// Equally long.
const OPEN: &str = "open  \n";
const CLOSED: &str = "closed\n";

impl Remembered {
    /// Reads the file; `None` when it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let io = |step| AuditError::io::<std::io::Error>(step, path.to_owned());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io("open")(error.into())),
        };
        let mut stored = String::new();
        let limit = u64::try_from(STATE_AT + OPEN.len()).unwrap_or(u64::MAX) + 1;
        // What is no text says nothing either.
        let read = file.take(limit).read_to_string(&mut stored);
        match read {
            Err(error) if error.kind() != ErrorKind::InvalidData => Err(io("read")(error)),
            _ => match Self::from_stored(&stored) {
                Some(remembered) => Ok(Some(remembered)),
                None => Err(AuditError::Forgotten { path: path.to_owned() }),
            },
        }
    }

    fn from_stored(stored: &str) -> Option<Self> {
        let (id, head) = stored.split_at_checked(HEAD_AT)?;
        let (head, state) = head.split_at_checked(Head::STORED_BYTES)?;
        let closed = match state {
            OPEN => false,
            CLOSED => true,
            _ => return None,
        };
        let log_id = id.strip_suffix('\n')?.parse().ok()?;
        Some(Self { log_id, head: Head::from_stored(head.as_bytes())?, closed })
    }

    /// Puts it in the place of what was remembered, durable and at once, and keeps the file,
    /// in which head and state alone change from now on.
    pub(super) fn begin(&self, path: &Path) -> Result<EndFile, AuditError> {
        let io = |step| AuditError::io::<std::io::Error>(step, path.to_owned());
        let beginning = path.with_extension("end.new");
        // Of a start that was killed here.
        drop(std::fs::remove_file(&beginning));
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&beginning, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| io("create")(error.into()))?;
        let mut file = File::from(file);
        let stored = format!("{}\n{}{OPEN}", self.log_id, self.head.to_stored());
        file.write_all(stored.as_bytes()).map_err(io("write"))?;
        file.sync_all().map_err(AuditError::unsynced(path.to_owned()))?;
        std::fs::rename(&beginning, path).map_err(io("create"))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(AuditError::unsynced(folder.to_owned()))?;
        let state = file.try_clone().map_err(io("open"))?;
        let head = HeadFile::within(file, path.to_owned(), HEAD_AT);
        Ok(EndFile { head, state, path: path.to_owned() })
    }
}

/// The file, while the log is written.
#[derive(Debug)]
pub(super) struct EndFile {
    head: HeadFile,
    state: File,
    path: PathBuf,
}

impl EndFile {
    /// Not synced with each batch, as the head beside the log: it may lag behind.
    pub(super) fn write(&self, head: Head) -> Result<(), AuditError> {
        self.head.write(head)
    }

    /// The log ends here; durable.
    pub(super) fn close(&self, head: Head) -> Result<(), AuditError> {
        self.head.write(head)?;
        let at = u64::try_from(STATE_AT).unwrap_or(u64::MAX);
        let written = self.state.write_all_at(CLOSED.as_bytes(), at);
        written.map_err(AuditError::io("write", self.path.clone()))?;
        self.state.sync_all().map_err(AuditError::unsynced(self.path.clone()))
    }
}
