//! What the supervisor remembers of the end of its log, kept where the log is not: whoever
//! can change the files of the log alone, changes them against this.

use super::AuditError;
use super::directory::HeadFile;
use fetchml_api::audit::{Head, Id128};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The last record that was written, and of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) log_id: Id128,
    pub(super) head: Head,
}

/// The log's id in hexadecimal digits, and a line end.
const HEAD_AT: usize = 32 + 1;

impl Remembered {
    /// Reads the file; `None` when it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let io = |step| AuditError::io::<std::io::Error>(step, path.to_owned());
        let file = match open(path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io("open")(error.into())),
        };
        let length = HEAD_AT + Head::STORED_BYTES;
        let mut stored = Vec::with_capacity(length + 1);
        let limit = u64::try_from(length).unwrap_or(u64::MAX) + 1;
        file.take(limit).read_to_end(&mut stored).map_err(io("read"))?;
        let remembered = stored.split_at_checked(HEAD_AT).and_then(|(id, head)| {
            let id = str::from_utf8(id).ok()?.strip_suffix('\n')?;
            Some(Self { log_id: id.parse().ok()?, head: Head::from_stored(head)? })
        });
        match remembered {
            Some(remembered) => Ok(Some(remembered)),
            None => Err(AuditError::Forgotten { path: path.to_owned() }),
        }
    }

    /// Writes it, durable, and keeps the file, in which the head alone changes from now on.
    pub(super) fn begin(&self, path: &Path) -> Result<HeadFile, AuditError> {
        let io = |step| AuditError::io::<std::io::Error>(step, path.to_owned());
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file =
            open(path, OFlags::RDWR | OFlags::CREATE).map_err(|error| io("open")(error.into()))?;
        let stored = format!("{}\n{}", self.log_id, self.head.to_stored());
        std::os::unix::fs::FileExt::write_all_at(&file, stored.as_bytes(), 0)
            .map_err(io("write"))?;
        file.sync_all().map_err(AuditError::unsynced(path.to_owned()))?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(AuditError::unsynced(folder.to_owned()))?;
        Ok(HeadFile::within(file, path.to_owned(), HEAD_AT))
    }
}

fn open(path: &Path, flags: OFlags) -> rustix::io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}
