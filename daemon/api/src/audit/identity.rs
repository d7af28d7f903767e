//! Hashes and 128-bit ids, written as lower-case hexadecimal digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A text is not the hexadecimal form of a hash or an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {digits} lower-case hexadecimal digits")]
pub struct MalformedHex {
    /// Digits that were expected.
    pub digits: usize,
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0u8; 2 * $bytes];
                f.write_str(base16ct::lower::encode_str(&self.0, &mut digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = MalformedHex;
            fn from_str(text: &str) -> Result<Self, MalformedHex> {
                let malformed = MalformedHex { digits: 2 * $bytes };
                let mut bytes = [0u8; $bytes];
                match base16ct::lower::decode(text, &mut bytes) {
                    Ok(decoded) if decoded.len() == $bytes => Ok(Self(bytes)),
                    _ => Err(malformed),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut digits = [0u8; 2 * $bytes];
                let text = base16ct::lower::encode_str(&self.0, &mut digits).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Digits;
                impl de::Visitor<'_> for Digits {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} lower-case hexadecimal digits", 2 * $bytes)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Digits)
            }
        }
    };
}

hex_bytes! {
    /// SHA-256 of a record.
    Hash, 32
}
hex_bytes! {
    /// 128 random bits that name a log or one boot of a machine.
    Id128, 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_is_read() {
        let id: Result<Id128, _> = "00ff00000000000000000000000000ab".parse();
        assert_eq!(id.map(|id| id.to_string()).as_deref(), Ok("00ff00000000000000000000000000ab"));
        for bad in [
            "",
            "00FF00000000000000000000000000ab",
            "00ff",
            "00ff00000000000000000000000000abcd",
            "zz",
        ] {
            assert_eq!(bad.parse::<Id128>(), Err(MalformedHex { digits: 32 }), "{bad}");
        }
    }
}
