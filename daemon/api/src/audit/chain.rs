//! The chain: numbers, links and hashes of records as they are written.

use super::record::{MAX_NAME_BYTES, VERSION, clipped};
use super::{Hash, Id128, MAX_INTEGER, NewRecord, Record, RecordError, Text};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const TAG: &[u8] = b"fetchml-audit-v1";
const RECORD_PREFIX: &[u8] = &[0];

/// Hash of a record from its link and its stored bytes.
pub(super) fn record_hash(prev: &Hash, line: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(RECORD_PREFIX);
    hasher.update(TAG);
    hasher.update(prev.0);
    hasher.update(line);
    Hash(hasher.finalize().into())
}

/// What the first record of a log is linked to.
pub(super) fn genesis(log_id: &Id128) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(TAG);
    hasher.update(log_id.0);
    Hash(hasher.finalize().into())
}

/// The end of a log: number and hash of its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last record, 0 for an empty log.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Number and hash of a stored line, by what it says itself.
    ///
    /// # Errors
    /// [`RecordError`] when the line is not a record.
    pub fn of_line(line: &[u8]) -> Result<Self, RecordError> {
        let record = Record::parse(line)?;
        Ok(Self { seq: record.seq, hash: record_hash(&record.prev, line) })
    }

    /// Length of the stored form.
    pub const STORED_BYTES: usize = 20 + 1 + 64 + 1;

    /// The stored form: always equally long, so that it can be overwritten in
    /// place by one write.
    #[must_use]
    pub fn to_stored(&self) -> String {
        format!("{:020} {}\n", self.seq, self.hash)
    }

    /// Reads the stored form.
    #[must_use]
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (seq, hash) = text.strip_suffix('\n')?.split_once(' ')?;
        let head = Self { seq: seq.parse().ok()?, hash: hash.parse().ok()? };
        (head.to_stored() == text).then_some(head)
    }
}

/// Which log, on which machine, during which boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Random id of the log.
    pub log_id: Id128,
    /// Name of the machine.
    pub host: String,
    /// Boot of the machine.
    pub boot_id: Id128,
}

impl Origin {
    fn bounded(self) -> Self {
        Self { host: clipped(&self.host, MAX_NAME_BYTES).to_string(), ..self }
    }
}

/// When a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Wall clock, microseconds since the epoch.
    pub time_usec: u64,
    /// Since boot, suspend included, microseconds.
    pub boottime_usec: u64,
}

/// Gives records their numbers and links.
#[derive(Clone, Debug)]
pub struct Chain {
    origin: Origin,
    head: Head,
}

impl Chain {
    /// The chain of an empty log.
    #[must_use]
    pub fn begin(origin: Origin) -> Self {
        let origin = origin.bounded();
        let head = Head { seq: 0, hash: genesis(&origin.log_id) };
        Self { origin, head }
    }

    /// The chain of a log that ends at `head`.
    #[must_use]
    pub fn resume(origin: Origin, head: Head) -> Self {
        Self { origin: origin.bounded(), head }
    }

    /// The end of the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Steps back to an earlier end, when what was appended could not be stored.
    pub fn rewind(&mut self, head: Head) {
        self.head = head;
    }

    /// The log this chain belongs to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Appends the next record with its newline to `out` and returns the new end.
    pub fn append(&mut self, new: &NewRecord, stamp: Stamp, out: &mut Vec<u8>) -> Head {
        let start = out.len();
        let record = Record {
            action: Text::from(&*new.action),
            actor: new.actor.clone(),
            boot_id: self.origin.boot_id,
            boottime_usec: stamp.boottime_usec.min(MAX_INTEGER),
            details: new
                .details
                .iter()
                .map(|(k, v)| (Text::from(&**k), Text::from(&**v)))
                .collect(),
            event: new.event.name().into(),
            host: Text::from(&*self.origin.host),
            job: new.job,
            log_id: self.origin.log_id,
            prev: self.head.hash,
            resource: Text::from(&*new.resource),
            result: new.result,
            seq: self.head.seq + 1,
            source: new.source.clone(),
            time_usec: stamp.time_usec.min(MAX_INTEGER),
            v: VERSION,
        };
        record.write_to(out);
        self.head = Head { seq: record.seq, hash: record_hash(&record.prev, &out[start..]) };
        out.push(b'\n');
        self.head
    }
}
