//! Private keys in armour, on lines of their own or in one.

use crate::work;

/// Of the five dashes the last three, which say where to look.
const BEGIN: &[u8] = b"---BEGIN ";
const DASHES: &[u8] = b"-----";
const END: &[u8] = b"-----END ";
const MAX_LABEL_BYTES: usize = 64;

/// What stands at a place that may begin a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    None,
    /// A key of which the text shows all: from here to there.
    Whole(usize, usize),
    /// A key that begins here and ends on another line.
    Begins(usize),
    Open,
}

/// `start` is the third of the dashes before BEGIN.
pub(crate) fn begins(text: &[u8], start: usize, last: bool) -> Key {
    let rest = text.get(start..).unwrap_or_default();
    let shown = rest.len().min(BEGIN.len());
    if rest.get(..shown) != BEGIN.get(..shown) {
        return Key::None;
    }
    // The label tells nearly all others apart before the line is read to its end.
    let rest = rest.get(BEGIN.len()..).unwrap_or_default();
    let head = rest.get(..MAX_LABEL_BYTES + DASHES.len()).unwrap_or(rest);
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(label_end) = find(line, DASHES) else {
        let is_cut = line.len() == rest.len() && rest.len() < MAX_LABEL_BYTES + DASHES.len();
        return if is_cut && !last { Key::Open } else { Key::None };
    };
    let label = line.get(..label_end).unwrap_or_default();
    let is_private = find(label, b"PRIVATE KEY").is_some()
        || find(label, b"Static key").is_some()
        || find(label, b"SECRET KEY").is_some();
    if !is_private {
        return Key::None;
    }
    let after = label_end + DASHES.len();
    let tail = rest.get(after..).unwrap_or_default();
    let (start_of_tail, cut) = (start + BEGIN.len() + after, !last);
    match in_line(tail, END) {
        Place::Here(at) => {
            let closing = tail.get(at + END.len()..).unwrap_or_default();
            let shown = match in_line(closing, DASHES) {
                Place::Here(dashes) => dashes + DASHES.len(),
                Place::TextEnd if cut => return Key::Open,
                Place::LineEnd(end) => end,
                Place::TextEnd => closing.len(),
            };
            Key::Whole(start, start_of_tail + at + END.len() + shown)
        }
        Place::TextEnd if cut => Key::Open,
        _ => Key::Begins(start),
    }
}

/// What comes first.
enum Place {
    Here(usize),
    LineEnd(usize),
    TextEnd,
}

/// Looks for something on this line, and no further than it stands there.
fn in_line(text: &[u8], wanted: &[u8]) -> Place {
    let comes = |at: &usize| {
        let here = text.get(*at..).unwrap_or_default();
        here.starts_with(b"\n") || here.starts_with(wanted)
    };
    let place = (0..text.len()).find(comes);
    work::read(place.unwrap_or(text.len()));
    match place {
        Some(at) if text.get(at) == Some(&b'\n') => Place::LineEnd(at),
        Some(at) => Place::Here(at),
        None => Place::TextEnd,
    }
}

/// Whether a line ends a key.
pub(crate) fn ends(line: &[u8]) -> bool {
    find(line, END).is_some()
}

/// Whether a line can be within a key: base64, a header, hexadecimal digits, an
/// empty line; what is put before each line of a log may be before it.
pub(crate) fn is_body(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii();
    if line.is_empty() || ends(line) {
        return true;
    }
    let word = line.rsplit(|b| b" \t|>\"'".contains(b)).find(|w| !w.is_empty()).unwrap_or_default();
    let word = word.strip_suffix(b",").unwrap_or(word);
    let word = word.strip_suffix(b"\\n").unwrap_or(word);
    let base64 = word.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=\\".contains(b));
    (base64 && (word.len() >= 16 || word.len() == line.len()))
        || find(line, b"Proc-Type:").is_some()
        || find(line, b"DEK-Info:").is_some()
        || find(line, b"Version:").is_some()
        || find(line, b"Comment:").is_some()
}

pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_what_is_public() {
        let kind = |text: &str| begins(text.as_bytes(), 2, true);
        assert_eq!(kind("-----BEGIN RSA PRIVATE KEY-----\nMIIE"), Key::Begins(2));
        let one = "-----BEGIN EC PRIVATE KEY-----\\nMHc\\n-----END EC PRIVATE KEY-----\\n\"";
        assert_eq!(kind(one), Key::Whole(2, one.len() - 3));
        assert_eq!(kind("-----BEGIN CERTIFICATE-----\n"), Key::None);
        assert_eq!(begins(b"-----BEGIN OPENSSH PRIV", 2, false), Key::Open);
        assert!(is_body(b"2026-01-01 INFO MIIEpAIBAAKCAQEA7bq3") && !is_body(b"epoch 3 loss 0.2"));
    }
}
