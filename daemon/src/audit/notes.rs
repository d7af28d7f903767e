//! The file of checkpoints beside the segment that is written.

use super::AuditError;
use super::directory::Directory;
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{
    Checkpoint, Hash, Head, Kind, MAX_INTEGER, Note, Origin, Sealed, SigningKey,
};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// What a checkpoint is about.
#[derive(Debug)]
pub(super) struct State<'l> {
    pub(super) origin: &'l Origin,
    pub(super) head: Head,
    pub(super) tree: &'l Tree,
    pub(super) time_usec: u64,
}

/// Signs and appends.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    file: File,
    /// Length up to the last whole note.
    good_bytes: u64,
    /// Hash of the last note.
    link: Hash,
    /// Signs until the segment is sealed or the log is closed.
    session: SigningKey,
    last: Option<Note>,
}

impl Notes {
    pub(super) fn new(
        directory: &Directory,
        name: &str,
        link: Hash,
        session: SigningKey,
    ) -> Result<Self, AuditError> {
        let file = directory.open_or_create(name)?;
        let path = directory.path().join(name);
        let found = file.metadata().map_err(AuditError::io("examine", path.clone()))?;
        Ok(Self { path, file, good_bytes: found.len(), link, session, last: None })
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.good_bytes
    }

    /// The last note that was written since the start.
    pub(super) fn last(&self) -> Option<&Note> {
        self.last.as_ref()
    }

    /// Records that the last note tells of.
    pub(super) fn covered(&self) -> u64 {
        self.last.as_ref().map_or(0, |note| note.checkpoint.size)
    }

    /// The log's own key vouches for the key of this session.
    pub(super) fn start(&mut self, state: &State<'_>, key: &SigningKey) -> Result<(), AuditError> {
        let mut checkpoint = self.checkpoint(state, Kind::Start);
        checkpoint.next = Some(self.session.public());
        self.append(checkpoint.sign(key), true)
    }

    /// One at an interval need not be durable: when it is lost, the next one says more.
    pub(super) fn note(&mut self, state: &State<'_>, kind: Kind) -> Result<(), AuditError> {
        let note = self.checkpoint(state, kind).sign(&self.session);
        self.append(note, kind != Kind::Interval)
    }

    /// The last one of a segment. The key that signed it is gone with it.
    pub(super) fn seal(
        &mut self,
        state: &State<'_>,
        (segment, bytes): (u64, u64),
        next: SigningKey,
    ) -> Result<Checkpoint, AuditError> {
        let mut checkpoint = self.checkpoint(state, Kind::Seal);
        checkpoint.next = Some(next.public());
        checkpoint.sealed = Some(Sealed { segment, bytes, peaks: state.tree.peaks().to_vec() });
        self.append(checkpoint.clone().sign(&self.session), true)?;
        self.session = next;
        Ok(checkpoint)
    }

    /// Goes on in the file of the next segment, which is empty.
    pub(super) fn move_to(&mut self, file: File, path: PathBuf) {
        (self.file, self.path, self.good_bytes) = (file, path, 0);
    }

    fn checkpoint(&self, state: &State<'_>, kind: Kind) -> Checkpoint {
        Checkpoint {
            log_id: state.origin.log_id,
            size: state.head.seq,
            root: state.tree.root(),
            kind,
            head: state.head.hash,
            boot_id: state.origin.boot_id,
            time_usec: state.time_usec.min(MAX_INTEGER),
            previous: self.link,
            next: None,
            sealed: None,
        }
    }

    fn append(&mut self, note: Note, durable: bool) -> Result<(), AuditError> {
        let io = |step| AuditError::io::<std::io::Error>(step, self.path.clone());
        // What a failed write left behind.
        self.file.set_len(self.good_bytes).map_err(io("cut back"))?;
        let written = self.file.write_all(note.text().as_bytes()).map_err(io("write"));
        let synced = written.and_then(|()| match durable {
            true => self.file.sync_data().map_err(AuditError::unsynced(self.path.clone())),
            false => Ok(()),
        });
        if let Err(error) = synced {
            // At once, so that a crash now leaves whole ones; tried again before the next.
            drop(self.file.set_len(self.good_bytes));
            return Err(error);
        }
        self.good_bytes += u64::try_from(note.text().len()).unwrap_or(u64::MAX);
        self.link = note.hash();
        self.last = Some(note);
        Ok(())
    }
}
