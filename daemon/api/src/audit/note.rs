//! A checkpoint: what the log was when it had so many records, signed.
//!
//! It is a signed note in the form of C2SP (`signed-note`, `tlog-checkpoint`): name
//! of the log, number of records, root of their tree, then lines of our own, an empty
//! line, and one signature.
//!
//! ```text
//! fetchml-audit/0d8e…            the log
//! 4711                           records
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! kind seal
//! head 5e1d…                     hash of the last of them
//! boot 1c4f…                     boot of the machine
//! time 1763000000000000          microseconds since the epoch
//! previous 83aa…                 SHA-256 of the note before; zeros in the first
//! next fetchml-audit-session+…   key of what follows (start, seal)
//! segment 3 67108991             which file is complete, and its length (seal)
//! peaks CsUY… J9b1…              the perfect trees of the tree (seal)
//!
//! — fetchml-audit-session BASE64
//! ```

use super::base64::{decode, encode};
use super::key::{PublicKey, Role, SigningKey};
use super::merkle::Tree;
use super::{Hash, Id128, MAX_INTEGER};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::str::FromStr;

/// Longest note.
pub const MAX_NOTE_BYTES: usize = 8 << 10;
const ORIGIN: &str = "fetchml-audit/";
const SIGNATURE_MARK: &str = "— ";

/// Why a checkpoint was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A supervisor has opened the log. Signed with the log's own key.
    Start,
    /// There were new records.
    Interval,
    /// Somebody asked.
    Demand,
    /// The segment is complete; the next one follows.
    Seal,
    /// The supervisor has closed the log.
    Stop,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Start, Self::Interval, Self::Demand, Self::Seal, Self::Stop];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Interval => "interval",
            Self::Demand => "demand",
            Self::Seal => "seal",
            Self::Stop => "stop",
        }
    }

    /// Nothing need follow: the log was closed, or somebody wanted it as it was.
    #[must_use]
    pub const fn may_end(self) -> bool {
        matches!(self, Self::Demand | Self::Stop)
    }
}

/// A complete segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Number of the file.
    pub segment: u64,
    /// Its length.
    pub bytes: u64,
    /// The perfect trees of all records so far.
    pub peaks: Vec<Hash>,
}

/// What a log was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub log_id: Id128,
    /// Records in it.
    pub size: u64,
    /// Root of their Merkle tree.
    pub root: Hash,
    /// Why it was made.
    pub kind: Kind,
    /// Hash of the last record.
    pub head: Hash,
    /// Boot of the machine.
    pub boot_id: Id128,
    /// Wall clock, microseconds since the epoch.
    pub time_usec: u64,
    /// SHA-256 of the note before it; zeros in the first.
    pub previous: Hash,
    /// The key that signs what follows; with [`Kind::Start`] and [`Kind::Seal`].
    pub next: Option<PublicKey>,
    /// With [`Kind::Seal`].
    pub sealed: Option<Sealed>,
}

impl Checkpoint {
    fn body(&self) -> String {
        let mut text = format!(
            "{ORIGIN}{}\n{}\n{}\nkind {}\nhead {}\nboot {}\ntime {}\nprevious {}\n",
            self.log_id,
            self.size,
            encode(&self.root.0),
            self.kind.word(),
            self.head,
            self.boot_id,
            self.time_usec,
            self.previous,
        );
        // Writing to a string cannot fail.
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next {next}");
        }
        if let Some(sealed) = &self.sealed {
            let _ = writeln!(text, "segment {} {}", sealed.segment, sealed.bytes);
            let peaks: Vec<_> = sealed.peaks.iter().map(|peak| encode(&peak.0)).collect();
            let _ = writeln!(text, "peaks {}", peaks.join(" "));
        }
        text
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Note {
        let body = self.body();
        let signature = key.sign(body.as_bytes());
        let public = key.public();
        let mut tagged = [0; 68];
        tagged[..4].copy_from_slice(&public.id());
        tagged[4..].copy_from_slice(&signature);
        let text =
            format!("{body}\n{SIGNATURE_MARK}{} {}\n", public.role().name(), encode(&tagged));
        Note { checkpoint: self, text, signer: public.role(), id: public.id(), signature }
    }

    fn read(body: &str) -> Option<Self> {
        let mut lines = body.lines();
        let log_id = lines.next()?.strip_prefix(ORIGIN)?.parse().ok()?;
        let size = number(lines.next()?)?;
        let root = Hash(decode(lines.next()?)?);
        let kind = field::<String>(lines.next()?, "kind")?;
        let kind = Kind::ALL.into_iter().find(|known| known.word() == kind)?;
        let head = field(lines.next()?, "head")?;
        let boot_id = field(lines.next()?, "boot")?;
        let time_usec = number(lines.next()?.strip_prefix("time ")?)?;
        let previous = field(lines.next()?, "previous")?;
        let next = match kind {
            Kind::Start | Kind::Seal => Some(field(lines.next()?, "next")?),
            _ => None,
        };
        let sealed = match kind {
            Kind::Seal => {
                let segment = field::<String>(lines.next()?, "segment")?;
                let (segment, bytes) = segment.split_once(' ')?;
                let peaks = field::<String>(lines.next()?, "peaks")?;
                let peaks: Option<Vec<_>> =
                    peaks.split(' ').map(|peak| decode(peak).map(Hash)).collect();
                let peaks = peaks?;
                // They must be those of the root that was signed beside them.
                if Tree::from_peaks(size, peaks.clone())?.root() != root {
                    return None;
                }
                Some(Sealed { segment: number(segment)?, bytes: number(bytes)?, peaks })
            }
            _ => None,
        };
        if next.is_some_and(|key: PublicKey| key.role() != Role::Session) {
            return None;
        }
        let read =
            Self { log_id, size, root, kind, head, boot_id, time_usec, previous, next, sealed };
        (read.body() == body).then_some(read)
    }
}

fn field<T: FromStr>(line: &str, name: &str) -> Option<T> {
    line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n| *n <= MAX_INTEGER)
}

/// A checkpoint as it is stored, with its signature, which nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it says.
    pub checkpoint: Checkpoint,
    text: String,
    signer: Role,
    id: [u8; 4],
    signature: [u8; 64],
}

impl Note {
    /// Reads one note. Only its one spelling is accepted.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (body, signature) = text.split_once("\n\n")?;
        let body = &text[..body.len() + 1];
        let (name, encoded) =
            signature.strip_suffix('\n')?.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let signer = [Role::Log, Role::Session].into_iter().find(|role| role.name() == name)?;
        let tagged = decode::<68>(encoded)?;
        let (id, signature) = tagged.split_first_chunk::<4>()?;
        let note = Self {
            checkpoint: Checkpoint::read(body)?,
            text: text.to_owned(),
            signer,
            id: *id,
            signature: signature.try_into().ok()?,
        };
        (text.len() <= MAX_NOTE_BYTES).then_some(note)
    }

    /// As it is stored.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the next note is linked to.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.text.as_bytes()).into())
    }

    /// What kind of key it says has signed it.
    #[must_use]
    pub fn signer(&self) -> Role {
        self.signer
    }

    /// The first digits of the key that it says has signed it.
    #[must_use]
    pub fn key_id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }

    /// Whether that key has signed it.
    #[must_use]
    pub fn is_by(&self, key: &PublicKey) -> bool {
        let body = self.text.find("\n\n").map_or("", |end| &self.text[..=end]);
        key.role() == self.signer
            && key.id() == self.id
            && key.made(body.as_bytes(), &self.signature)
    }
}

/// Cuts a file of notes into the text of each. What follows the last whole one is
/// the rest, as a crash may leave it.
#[must_use]
pub fn split(text: &str) -> (Vec<&str>, &str) {
    let mut notes = Vec::new();
    let mut rest = text;
    while let Some(at) = signature_line(rest) {
        let (note, after) = rest.split_at(at);
        notes.push(note);
        rest = after;
    }
    (notes, rest)
}

/// Where the first line with a signature ends.
fn signature_line(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = &text[at..at + text[at..].find('\n')? + 1];
        at += line.len();
        if line.starts_with(SIGNATURE_MARK) {
            return Some(at);
        }
    }
}
