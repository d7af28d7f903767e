//! Keys that sign checkpoints: Ed25519, in the text forms of signed notes.
//!
//! The log's own key is long-lived and signs when a supervisor starts. Each session
//! and each segment then has a key of its own, which the one before vouches for and
//! which is gone when the next one signs.

use super::base64::{decode, encode};
use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// What is signed and how: Ed25519, as signed notes number it.
const ALGORITHM: u8 = 1;
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";
/// Length of a stored private key at most, to read no more of a file.
pub const MAX_STORED_KEY_BYTES: usize = 256;

/// What a key is for. Its name says so, and is part of what identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The key of the log's owner, by which a verifier knows the log.
    Log,
    /// The key of one session or segment.
    Session,
}

impl Role {
    const ALL: [Self; 2] = [Self::Log, Self::Session];

    /// Its name in keys and signatures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "fetchml-audit",
            Self::Session => "fetchml-audit-session",
        }
    }
}

/// A text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit key: {why}; one is printed by `fetchmlctl audit key`")]
pub struct KeyError {
    why: &'static str,
}

const fn bad(why: &'static str) -> KeyError {
    KeyError { why }
}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    role: Role,
    bytes: [u8; 32],
}

impl PublicKey {
    /// What it is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The first four bytes of its hash, by which signatures name it.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let mut hasher = Sha256::new();
        hasher.update(self.role.name());
        hasher.update(b"\n");
        hasher.update([ALGORITHM]);
        hasher.update(self.bytes);
        let digest: [u8; 32] = hasher.finalize().into();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// The same as eight digits.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id()))
    }

    /// Whether it made this signature. Only one of all equivalent spellings of a
    /// signature is accepted, and no weak key.
    #[must_use]
    pub(super) fn made(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.bytes)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }
}

/// `fetchml-audit+1f2e3d4c+BASE64`.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tagged = [ALGORITHM; 33];
        tagged[1..].copy_from_slice(&self.bytes);
        write!(f, "{}+{}+{}", self.role.name(), self.short(), encode(&tagged))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = text
            .split_once('+')
            .and_then(|(name, rest)| rest.split_once('+').map(|(id, encoded)| (name, id, encoded)));
        let Some((name, _, encoded)) = parts else {
            return Err(bad("it has not the form NAME+ID+KEY"));
        };
        let role = Role::ALL.into_iter().find(|role| role.name() == name);
        let Some(role) = role else { return Err(bad("its name is not that of an audit key")) };
        let Some([ALGORITHM, bytes @ ..]) = decode::<33>(encoded) else {
            return Err(bad("its last part is not an Ed25519 key"));
        };
        let key = Self { role, bytes };
        if key.to_string() != text {
            return Err(bad("its id is not that of the key"));
        }
        Ok(key)
    }
}

/// A private key. Its memory is overwritten when it is dropped.
pub struct SigningKey {
    role: Role,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key of these 32 random bytes.
    #[must_use]
    pub fn from_seed(role: Role, seed: &Zeroizing<[u8; 32]>) -> Self {
        Self { role, key: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// Reads the stored form; blanks around it do not count.
    ///
    /// # Errors
    /// [`KeyError`], which never quotes it.
    pub fn from_stored(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let parts = text.strip_prefix(PRIVATE_PREFIX).and_then(|rest| {
            let (name, rest) = rest.split_once('+')?;
            let (id, encoded) = rest.split_once('+')?;
            Some((name, id, encoded))
        });
        let Some((name, id, encoded)) = parts else {
            return Err(bad("it has not the form PRIVATE+KEY+NAME+ID+KEY"));
        };
        if name != Role::Log.name() {
            return Err(bad("its name is not that of an audit key"));
        }
        let tagged = Zeroizing::new(decode::<33>(encoded).unwrap_or([0; 33]));
        if tagged[0] != ALGORITHM {
            return Err(bad("its last part is not an Ed25519 key"));
        }
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&tagged[1..]);
        let key = Self::from_seed(Role::Log, &seed);
        if key.public().short() != id {
            return Err(bad("its id is not that of the key"));
        }
        Ok(key)
    }

    /// The form in which it is kept: one line.
    #[must_use]
    pub fn to_stored(&self) -> Zeroizing<String> {
        let mut tagged = Zeroizing::new([ALGORITHM; 33]);
        tagged[1..].copy_from_slice(Zeroizing::new(self.key.to_bytes()).as_slice());
        let encoded = Zeroizing::new(encode(tagged.as_slice()));
        let (name, id) = (self.role.name(), self.public().short());
        // Long enough from the start: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_STORED_KEY_BYTES));
        for part in [PRIVATE_PREFIX, name, "+", &id, "+", &encoded, "\n"] {
            text.push_str(part);
        }
        text
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { role: self.role, bytes: self.key.verifying_key().to_bytes() }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().short())
    }
}
