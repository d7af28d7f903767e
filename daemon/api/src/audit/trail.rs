//! The notes of a log, one after the other: who may sign which, and that none is
//! missing between two that are there.
//!
//! The log's own key signs at each start and names the key of the session; the seal
//! of a segment names the key of the next one. Whoever has stolen a session's key
//! can sign nothing of an earlier segment with it.

use super::Hash;
use super::key::{PublicKey, Role};
use super::note::{Checkpoint, Kind, Note, split};

/// What is wrong with a note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of one.
    #[error("it is no checkpoint as FetchML writes them")]
    Malformed,
    /// Nobody vouches for the key.
    #[error("it is signed by a key that nobody vouches for, {0}")]
    UnknownKey(String),
    /// The signature is not that of the key it names.
    #[error("its signature does not hold")]
    Signature,
    /// It does not name the note before it.
    #[error("it does not follow the checkpoint before it: one is missing, changed or re-ordered")]
    Unlinked,
    /// It is of another log.
    #[error("it belongs to another log, {0}")]
    Foreign(String),
    /// It says that there were fewer records than before.
    #[error("it tells of {0} records after one that told of {1}")]
    Backwards(u64, u64),
    /// Something follows a note after which a start must come.
    #[error("after the checkpoint before it only one of a start can come")]
    NoStart,
    /// The same number of records with another root or another last record.
    #[error("it contradicts the checkpoint before it about the same {0} records")]
    Split(u64),
}

/// Follows notes in their order.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Keys that the verifier knows; empty when signatures cannot be checked.
    known: Vec<PublicKey>,
    session: Option<PublicKey>,
    last: Option<(Hash, Checkpoint)>,
    /// Notes may be missing, as in an export.
    sparse: bool,
}

impl Trail {
    /// The trail of a whole log, for a verifier with these keys. Without any, all
    /// but the signatures of starts is checked.
    #[must_use]
    pub fn new(known: Vec<PublicKey>) -> Self {
        Self { known, session: None, last: None, sparse: false }
    }

    /// The trail of an export, which has only the notes that its last one needs.
    #[must_use]
    pub fn sparse(known: Vec<PublicKey>) -> Self {
        Self { sparse: true, ..Self::new(known) }
    }

    /// The last note.
    #[must_use]
    pub fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref().map(|(_, checkpoint)| checkpoint)
    }

    /// Hash of the last note; zeros before the first.
    #[must_use]
    pub fn link(&self) -> Hash {
        self.last.as_ref().map_or(Hash([0; 32]), |(hash, _)| *hash)
    }

    /// The next note.
    ///
    /// # Errors
    /// [`NoteError`]: it is not what must stand there, and the trail ends before it.
    pub fn follow(&mut self, text: &str) -> Result<&Checkpoint, NoteError> {
        let note = Note::read(text).ok_or(NoteError::Malformed)?;
        self.check_key(&note)?;
        self.check_place(&note)?;
        let (hash, checkpoint) = (note.hash(), note.checkpoint);
        match checkpoint.kind {
            Kind::Start | Kind::Seal => self.session = checkpoint.next,
            Kind::Stop => self.session = None,
            Kind::Interval | Kind::Demand => {}
        }
        let (_, last) = self.last.insert((hash, checkpoint));
        Ok(last)
    }

    fn check_key(&self, note: &Note) -> Result<(), NoteError> {
        let unknown = || NoteError::UnknownKey(note.key_id());
        if note.checkpoint.kind == Kind::Start {
            if note.signer() != Role::Log {
                return Err(unknown());
            }
            if self.known.is_empty() || self.known.iter().any(|key| note.is_by(key)) {
                return Ok(());
            }
            let named = self.known.iter().any(|key| key.short() == note.key_id());
            return Err(if named { NoteError::Signature } else { unknown() });
        }
        let session = self.session.ok_or(NoteError::NoStart)?;
        if note.is_by(&session) {
            return Ok(());
        }
        let named = note.signer() == Role::Session && session.short() == note.key_id();
        Err(if named { NoteError::Signature } else { unknown() })
    }

    /// The seal of a segment, without the notes before it, and without a look at its
    /// signature: a later note names it by its hash, and that one's signature is for
    /// both. So a trail must not end here.
    ///
    /// # Errors
    /// [`NoteError`]: it is no seal, or tells of fewer records than the one before.
    pub fn skip_to(&mut self, text: &str) -> Result<&Checkpoint, NoteError> {
        let note = Note::read(text).ok_or(NoteError::Malformed)?;
        if note.checkpoint.kind != Kind::Seal {
            return Err(NoteError::Malformed);
        }
        self.check_order(&note)?;
        let (hash, checkpoint) = (note.hash(), note.checkpoint);
        self.session = checkpoint.next;
        let (_, last) = self.last.insert((hash, checkpoint));
        Ok(last)
    }

    fn check_place(&self, note: &Note) -> Result<(), NoteError> {
        let new = &note.checkpoint;
        let foreign = self.last().is_some_and(|last| last.log_id != new.log_id);
        if !self.sparse && !foreign && new.previous != self.link() {
            return Err(NoteError::Unlinked);
        }
        self.check_order(note)
    }

    /// Against the note before, if there is one.
    fn check_order(&self, note: &Note) -> Result<(), NoteError> {
        let Some((_, last)) = &self.last else { return Ok(()) };
        let new = &note.checkpoint;
        if new.log_id != last.log_id {
            return Err(NoteError::Foreign(new.log_id.to_string()));
        }
        if new.size < last.size {
            return Err(NoteError::Backwards(new.size, last.size));
        }
        if new.size == last.size && (new.root, new.head) != (last.root, last.head) {
            return Err(NoteError::Split(new.size));
        }
        Ok(())
    }

    /// Follows all whole notes of a text. Answers with what stands after the last of
    /// them, or with which one is wrong (from 0) and why.
    ///
    /// # Errors
    /// [`NoteError`] with the place of the note.
    pub fn follow_all<'t>(
        &mut self,
        text: &'t str,
        mut each: impl FnMut(&Checkpoint),
    ) -> Result<&'t str, (usize, NoteError)> {
        let (notes, rest) = split(text);
        for (place, note) in notes.into_iter().enumerate() {
            each(self.follow(note).map_err(|error| (place, error))?);
        }
        Ok(rest)
    }
}
