//! Secrets that are known by heart, and how programs spell them.

use crate::grams::{GRAM_BYTES, Gram, gram};
use crate::rules;
use crate::scan::{Found, HOLD_BYTES, Span};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A shorter secret would be found in every other line.
const MIN_INJECTED_BYTES: usize = 6;
/// Lines of a longer secret that are looked for by themselves.
const MIN_LINE_BYTES: usize = 12;
/// A longer one is looked for in parts of so many bytes, of which every spelling is
/// shorter than what is held back of a text.
const PART_BYTES: usize = HOLD_BYTES / 4;

/// Secrets that are known by heart, in every form in which a program shows them.
#[derive(Debug)]
pub(crate) struct Injected {
    /// What may begin with a group, in ascending order.
    entries: Vec<(Gram, u32)>,
    forms: Vec<Box<[u8]>>,
}

impl Injected {
    pub(crate) fn new(secrets: &[Vec<u8>]) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            let secret = secret.trim_ascii_end();
            let lines = secret.split(|b| *b == b'\n').map(|line| line.trim_ascii());
            let long = lines.filter(|line| line.len() >= MIN_LINE_BYTES);
            for text in core::iter::once(secret).chain(long) {
                let parts = text.chunks(PART_BYTES);
                for part in parts.filter(|part| part.len() >= MIN_INJECTED_BYTES) {
                    forms.extend(spellings(part));
                }
            }
        }
        // The longest first, so that a part does not hide the whole.
        let mut forms: Vec<Box<[u8]>> = forms.into_iter().map(Vec::into_boxed_slice).collect();
        forms.sort_by_key(|form| core::cmp::Reverse(form.len()));
        let numbered = forms.iter().map(AsRef::as_ref).zip(0u32..);
        let begins =
            |(form, number): (&[u8], u32)| Some((gram(*form.first_chunk::<GRAM_BYTES>()?), number));
        let mut entries: Vec<(Gram, u32)> = numbered.filter_map(begins).collect();
        entries.sort_unstable();
        Self { entries, forms }
    }

    pub(crate) fn grams(&self) -> impl Iterator<Item = Gram> {
        self.entries.iter().map(|(gram, _)| *gram)
    }

    pub(crate) fn has(&self, gram: Gram) -> bool {
        self.targets(gram).next().is_some()
    }

    fn targets(&self, gram: Gram) -> impl Iterator<Item = u32> {
        let first = self.entries.partition_point(|(known, _)| *known < gram);
        let rest = self.entries.get(first..).unwrap_or_default().iter();
        rest.take_while(move |(known, _)| *known == gram).map(|(_, number)| *number)
    }

    /// Whether one of them may go on after these bytes.
    pub(crate) fn may_begin(&self, cut: &[u8]) -> bool {
        self.forms.iter().any(|form| form.starts_with(cut))
    }

    pub(crate) fn at(&self, text: &[u8], at: usize, gram: Gram, last: bool) -> Found {
        let rest = text.get(at..).unwrap_or_default();
        let mut open = false;
        for form in self.targets(gram).filter_map(|n| self.forms.get(n as usize)) {
            if rest.starts_with(form) {
                // A longer form may still come.
                return if open {
                    Found::Open(at)
                } else {
                    let end = at + form.len();
                    Found::Yes(Span { start: at, end, rule: rules::INJECTED })
                };
            }
            open |= !last && form.starts_with(rest);
        }
        if open { Found::Open(at) } else { Found::No }
    }
}

/// Plain, base64 at each of the three offsets, percent-encoded, hexadecimal, and as
/// JSON and shells escape it.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![secret.to_vec()];
    for alphabet in [&BASE64, &BASE64_URL] {
        for skipped in 0..3 {
            all.push(base64_inside(secret, skipped, alphabet));
        }
    }
    let percent = |upper: bool, keep: &[u8]| -> Vec<u8> {
        let mut text = Vec::new();
        for byte in secret {
            if byte.is_ascii_alphanumeric() || keep.contains(byte) {
                text.push(*byte);
            } else if upper {
                text.extend(format!("%{byte:02X}").bytes());
            } else {
                text.extend(format!("%{byte:02x}").bytes());
            }
        }
        text
    };
    all.extend([
        percent(true, b"-_.~"),
        percent(false, b"-_.~"),
        percent(true, b"-_.~/"),
        percent(true, b"-_.~!*'()"),
    ]);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    all.extend([hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    let escaped = String::from_utf8_lossy(secret)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    all.push(escaped.replace('/', "\\/").into_bytes());
    all.push(escaped.into_bytes());
    all.retain(|form| form.len() >= MIN_INJECTED_BYTES);
    all
}

pub(crate) const BASE64: [u8; 64] =
    *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The digits that the secret alone decides, when so many bytes (mod 3) stand
/// before it in what was encoded.
pub(crate) fn base64_inside(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret);
    let first = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    let digit = |at: usize| {
        let bit = at * 6;
        let pair = [padded[bit / 8], padded.get(bit / 8 + 1).copied().unwrap_or_default()];
        let shifted = u16::from_be_bytes(pair) >> (10 - bit % 8);
        alphabet[usize::from(shifted & 63)]
    };
    (first..end).map(digit).collect()
}
