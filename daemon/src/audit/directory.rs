//! The directory of the log. Every file is reached through its descriptor, and
//! nothing but plain files of one name is opened: no link leads elsewhere.

use super::AuditError;
use fetchml_api::audit::{Head, MAX_NOTE_BYTES, PublicKey};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "lock";
/// How long to wait for the lock of a supervisor that was killed and is not yet gone.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
const HEAD: &str = "head";
const KEYS: &str = "keys";
/// Up to which record the journal was compared.
const MIRRORED: &str = "mirrored";
/// Public keys come into use one by one, by hand.
const MAX_KEYS_BYTES: u64 = 64 << 10;
/// All checkpoints of one segment; at 64 MiB and one for each record they would be less.
const MAX_NOTES_BYTES: u64 = 256 << 20;

/// Name of a segment; they count up from 1.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:012}.log")
}

/// Name of the checkpoints of a segment.
pub(super) fn notes_name(number: u64) -> String {
    format!("{number:012}.notes")
}

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// The directory, locked against other writers for as long as it lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let at = || path.to_owned();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(AuditError::io("create", at()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).map_err(AuditError::io("open", at()))?;
        let stat = fstat(&fd).map_err(AuditError::io("examine", at()))?;
        let uid = rustix::process::geteuid().as_raw();
        let mode = stat.st_mode & 0o7777;
        let why = match (stat.st_uid == uid, mode & 0o022 == 0) {
            (true, true) => None,
            (false, _) => Some(format!("belongs to user {}", stat.st_uid)),
            (true, false) => Some(format!("can be written by others (mode {mode:04o})")),
        };
        if let Some(why) = why {
            return Err(AuditError::Unsafe { path: at(), why, uid });
        }
        let lock = openat(
            &fd,
            LOCK,
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            OWNER_ONLY,
        )
        .map_err(AuditError::io("open", path.join(LOCK)))?;
        let lock = File::from(lock);
        let patience = Instant::now() + PATIENCE;
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if Instant::now() < patience => {
                    std::thread::sleep(PAUSE);
                }
                TryLockError::WouldBlock => return Err(AuditError::Busy { path: at() }),
                TryLockError::Error(error) => {
                    return Err(AuditError::io("lock", path.join(LOCK))(error));
                }
            }
        }
        Ok(Self { path: at(), fd, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn io<E: Into<std::io::Error>>(
        &self,
        step: &'static str,
        name: &str,
    ) -> impl FnOnce(E) -> AuditError {
        AuditError::io(step, self.path.join(name))
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> AuditError {
        AuditError::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// Numbers of the segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>, AuditError> {
        self.numbers(".log")
    }

    /// Numbers of the segments that have checkpoints, in order; those of deleted ones
    /// are among them.
    pub(super) fn notes(&self) -> Result<Vec<u64>, AuditError> {
        self.numbers(".notes")
    }

    fn numbers(&self, suffix: &str) -> Result<Vec<u64>, AuditError> {
        let entries = Dir::read_from(&self.fd).map_err(self.io("list", ""))?;
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(self.io("list", ""))?;
            let name = entry.file_name().to_string_lossy();
            let number = name.strip_suffix(suffix).unwrap_or_default();
            if number.len() == 12 && number.bytes().all(|b| b.is_ascii_digit()) {
                numbers.extend(number.parse::<u64>());
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// NONBLOCK: a pipe of that name must be refused, not waited for.
    fn open_file(&self, name: &str, flags: OFlags) -> Result<File, AuditError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.fd, name, flags, OWNER_ONLY).map_err(self.io("open", name))?;
        let stat = fstat(&file).map_err(self.io("examine", name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(AuditError::NotAFile { path: self.path.join(name) });
        }
        Ok(File::from(file))
    }

    pub(super) fn open_to_read(&self, name: &str) -> Result<File, AuditError> {
        self.open_file(name, OFlags::RDONLY)
    }

    /// Readable too: what is appended to is compared with what was written.
    pub(super) fn open_to_append(&self, name: &str) -> Result<File, AuditError> {
        self.open_file(name, OFlags::RDWR | OFlags::APPEND)
    }

    pub(super) fn create(&self, name: &str) -> Result<File, AuditError> {
        self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL)
    }

    pub(super) fn open_or_create(&self, name: &str) -> Result<File, AuditError> {
        self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), AuditError> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(self.io("delete", name))
    }

    /// The checkpoints of a segment.
    pub(super) fn read_notes(&self, number: u64) -> Result<Vec<u8>, AuditError> {
        self.read_bounded(&notes_name(number), MAX_NOTES_BYTES)
    }

    /// The end of the checkpoints of a segment, in which the last one is.
    pub(super) fn read_end_of_notes(&self, number: u64) -> Result<Vec<u8>, AuditError> {
        let name = notes_name(number);
        let file = self.open_to_read(&name)?;
        let length = file.metadata().map_err(self.io("examine", &name))?.len();
        let window = length.min(u64::try_from(2 * MAX_NOTE_BYTES).unwrap_or(u64::MAX));
        let mut bytes = vec![0; usize::try_from(window).unwrap_or(0)];
        file.read_exact_at(&mut bytes, length - window).map_err(self.io("read", &name))?;
        Ok(bytes)
    }

    fn read_bounded(&self, name: &str, limit: u64) -> Result<Vec<u8>, AuditError> {
        let file = self.open_to_read(name)?;
        let length = file.metadata().map_err(self.io("examine", name))?.len();
        if length > limit {
            return Err(self.damaged(format!("{name} has {length} bytes, the most is {limit}")));
        }
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).map_err(self.io("read", name))?;
        Ok(bytes)
    }

    /// Public keys that were in use, in order.
    pub(super) fn read_keys(&self) -> Result<Vec<PublicKey>, AuditError> {
        if !self.has(KEYS)? {
            return Ok(Vec::new());
        }
        let bytes = self.read_bounded(KEYS, MAX_KEYS_BYTES)?;
        let keys = std::str::from_utf8(&bytes).ok().and_then(super::keys::read_list);
        keys.ok_or_else(|| self.damaged("the file keys does not hold public keys"))
    }

    /// One more, durable.
    pub(super) fn add_key(&self, key: &PublicKey) -> Result<(), AuditError> {
        let mut file = self.open_or_create(KEYS)?;
        file.write_all(format!("{key}\n").as_bytes()).map_err(self.io("write", KEYS))?;
        file.sync_all().map_err(AuditError::unsynced(self.path.join(KEYS)))?;
        self.sync()
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, AuditError> {
        let found: Result<Stat, _> = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(self.io("examine", name)(error)),
        }
    }

    /// Makes creations and removals of names durable.
    pub(super) fn sync(&self) -> Result<(), AuditError> {
        rustix::fs::fsync(&self.fd).map_err(AuditError::unsynced(self.path.clone()))
    }

    /// The stored head, `None` when there is no such file.
    pub(super) fn read_head(&self) -> Result<Option<Head>, AuditError> {
        let damaged = || self.damaged("the file head does not hold a record's number and hash");
        match self.read_stored(HEAD)? {
            None => Ok(None),
            Some(stored) => Head::from_stored(&stored).map(Some).ok_or_else(damaged),
        }
    }

    /// The last record that was compared with the journal. A file that says nothing is
    /// as good as none: more is compared then.
    pub(super) fn read_mark(&self) -> Result<Option<Head>, AuditError> {
        Ok(self.read_stored(MIRRORED)?.and_then(|stored| Head::from_stored(&stored)))
    }

    fn read_stored(&self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        if !self.has(name)? {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(Head::STORED_BYTES + 1);
        let limit = u64::try_from(Head::STORED_BYTES).unwrap_or(u64::MAX) + 1;
        self.open_to_read(name)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(self.io("read", name))?;
        Ok(Some(bytes))
    }

    /// Everything up to this record was compared with the journal; durable.
    pub(super) fn write_mark(&self, head: Head) -> Result<(), AuditError> {
        self.store(MIRRORED, head).map(drop)
    }

    /// The head file, made durable once so that later writes in place never
    /// leave it without content.
    pub(super) fn create_head(&self, head: Head) -> Result<HeadFile, AuditError> {
        self.store(HEAD, head)
    }

    fn store(&self, name: &str, head: Head) -> Result<HeadFile, AuditError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        let head_file = HeadFile::within(file, self.path.join(name), 0);
        head_file.write(head)?;
        head_file.file.sync_all().map_err(AuditError::unsynced(self.path.join(name)))?;
        self.sync()?;
        Ok(head_file)
    }

    /// A name that is not taken, from `stem`.
    pub(super) fn free_name(&self, stem: &str) -> Result<String, AuditError> {
        let mut name = stem.to_owned();
        for n in 2.. {
            if !self.has(&name)? {
                break;
            }
            name = format!("{stem}-{n}");
        }
        Ok(name)
    }
}

/// The file that says where the log ends. It is not synced with each batch: it
/// may lag behind the log after a crash, but is never ahead of it.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
    at: u64,
}

impl HeadFile {
    /// The head has its place in this file after so many bytes.
    pub(super) fn within(file: File, path: PathBuf, at: usize) -> Self {
        Self { file, path, at: u64::try_from(at).unwrap_or(u64::MAX) }
    }

    pub(super) fn write(&self, head: Head) -> Result<(), AuditError> {
        let stored = head.to_stored();
        match self.file.write_at(stored.as_bytes(), self.at) {
            Ok(written) if written == stored.len() => Ok(()),
            Ok(_) => Err(AuditError::io("write", self.path.clone())(ErrorKind::WriteZero)),
            Err(error) => Err(AuditError::io("write", self.path.clone())(error)),
        }
    }
}
