//! Base64 of hashes, keys and signatures, in its one spelling.

use base64ct::{Base64, Encoding as _};

pub(super) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Exactly `N` bytes; `None` for anything else.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = Base64::decode(text, &mut bytes).ok()?.len();
    (length == N && encode(&bytes) == text).then_some(bytes)
}
