//! Names, and texts in quotation marks, as configurations write them.

use crate::scan::MAX_JUDGED_BYTES;
use crate::work;
use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;

/// Longest name, without those of what it is in.
const MAX_NAME_BYTES: usize = 128;
/// Of the names of what it is in so much is kept.
const MAX_PATH_BYTES: usize = 256;
/// Longest name of several words.
const MAX_WORDS_BYTES: usize = 40;
/// A name with those of what it is in, as far as they say something.
pub(super) fn joined(parent: &str, name: &str) -> String {
    work::read(parent.len().min(MAX_PATH_BYTES) + name.len());
    if parent.is_empty() { name.to_owned() } else { format!("{}.{name}", own_end(parent)) }
}

/// The end of a name, if it is a long one.
pub(super) fn own_end(name: &str) -> &str {
    let first = name.len().saturating_sub(MAX_PATH_BYTES);
    let first = (first..name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.get(first..).unwrap_or(name)
}

/// The name at the beginning, and where its value begins.
pub(super) fn name_of(rest: &str) -> Option<(String, usize)> {
    let bytes = rest.as_bytes();
    let first = *bytes.first()?;
    let (name, mut at) = if matches!(first, b'"' | b'\'') {
        let (name, len) = quoted(rest, first, MAX_NAME_BYTES)?;
        (name.into_owned(), len)
    } else {
        let plain = |c: char| c.is_alphanumeric() || "_-.$/@".contains(c);
        let len = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let mut name = rest.get(..len)?;
        let mut at = len;
        // Names of several words, as INI and YAML have them: `api key: x`.
        let near = rest.bytes().take(MAX_WORDS_BYTES + 1).skip(len);
        let more = near.clone().position(|b| matches!(b, b':' | b'=')).unwrap_or(0);
        work::read(len + near.len());
        let words = rest.get(..len + more)?;
        if more > 1
            && words.len() <= MAX_WORDS_BYTES
            && words.split_whitespace().count() <= 4
            && words.chars().all(|c| plain(c) || c == ' ')
        {
            name = words.trim_end();
            at = len + more;
        }
        (name.to_owned(), at)
    };
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    at += rest.get(at..)?.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let after = rest.get(at..)?;
    let (sign, needs_blank) = match after.as_bytes() {
        [b'=', b'=', ..] | [b':', b'/', b'/', ..] | [b':', b':', ..] => return None,
        [b':', b'=', ..] | [b'=', b'>', ..] | [b'?', b'=', ..] | [b'+', b'=', ..] => (2, false),
        [b'=', ..] => (1, false),
        [b':', ..] => (1, true),
        _ => return None,
    };
    let value = after.get(sign..)?;
    let is_quoted_name = matches!(first, b'"' | b'\'');
    // A colon within a word is part of it: paths, times, images, hosts.
    if needs_blank
        && !is_quoted_name
        && !(value.is_empty() || value.starts_with([' ', '\t', '"', '\'']))
    {
        let is_word = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        let is_secret = value.len() >= 4
            && is_word
            && name.to_lowercase().ends_with("password")
            && !value.bytes().take(MAX_JUDGED_BYTES).any(|b| b == b' ');
        if !is_secret {
            return None;
        }
    }
    Some((name, at + sign + value.len() - value.trim_start().len()))
}

/// A quoted text without its escapes, and its length with both marks. One that is longer
/// than `most` is not read to its end, and is none.
pub(super) fn quoted(rest: &str, mark: u8, most: usize) -> Option<(Cow<'_, str>, usize)> {
    let mark = char::from(mark);
    let inner = rest.get(1..).unwrap_or_default();
    let mut plain: Option<String> = None;
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        work::read(1);
        if c == mark {
            let value =
                plain.map_or(Cow::Borrowed(inner.get(..at).unwrap_or_default()), Cow::Owned);
            return Some((value, at + 2));
        }
        if plain.as_ref().map_or(at, String::len) > most {
            return None;
        }
        if c == '\\' && mark == '"' {
            let text = plain.get_or_insert_with(|| inner.get(..at).unwrap_or_default().to_owned());
            match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, e @ ('u' | 'x' | 'U'))) => {
                    let digits = match e {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                    text.push(code.unwrap_or('\u{fffd}'));
                }
                Some((_, other)) => text.push(other),
                None => {}
            }
        } else if let Some(text) = &mut plain {
            text.push(c);
        }
    }
    Some((plain.map_or(Cow::Borrowed(inner), Cow::Owned), rest.len()))
}
