//! The checksum that GitHub and npm put at the end of their tokens: CRC-32 of the
//! part between prefix and checksum, as six base-62 digits.

use crate::charset::CharSet;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECK_BYTES: usize = 6;
const BASE62: CharSet = CharSet::of(b"0-9A-Za-z");

/// Whether `body` ends with the checksum of what is before it.
pub(crate) fn holds(body: &[u8]) -> bool {
    let Some(split) = body.len().checked_sub(CHECK_BYTES) else { return false };
    let (random, check) = body.split_at(split);
    BASE62.run(body) == body.len() && check == of(random)
}

/// The checksum of a token's random part.
pub(crate) fn of(random: &[u8]) -> [u8; CHECK_BYTES] {
    let mut left = crc32(random) as usize;
    let mut digits = [b'0'; CHECK_BYTES];
    for place in digits.iter_mut().rev() {
        *place = DIGITS[left % 62];
        left /= 62;
    }
    digits
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_of_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_token_is_told_from_one_with_a_typing_error() {
        let mut body = b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ".to_vec();
        body.extend(of(&body.clone()));
        assert_eq!(&body[30..], b"0mLq17", "an example that GitHub once published");
        assert!(holds(&body));
        body[3] ^= 1;
        assert!(!holds(&body) && !holds(b"short"));
    }
}
