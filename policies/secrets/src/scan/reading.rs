//! What stands behind a name: how a value is joined to it, and the value.

use super::{MAX_JUDGED_BYTES, Span, spoken};
use crate::charset::CharSet;
use crate::names::{Kind, MAX_NAME_BYTES};
use crate::rules;
use crate::work;

pub(super) const NAME: CharSet = CharSet::of(b"0-9A-Za-z_.-");
const BLANK: CharSet = CharSet::of(b" \t");

/// A place in the text, with what is known of how it got there.
pub(super) struct Cursor<'t> {
    pub(super) text: &'t [u8],
    pub(super) at: usize,
    pub(super) last: bool,
}

/// The text ends too early.
pub(super) struct Short;

impl Cursor<'_> {
    fn peek(&self) -> Result<Option<u8>, Short> {
        match self.text.get(self.at) {
            Some(byte) => Ok(Some(*byte)),
            None if self.last => Ok(None),
            None => Err(Short),
        }
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Whether this is next. Not knowing yet is no answer.
    pub(super) fn looks_at(&self, wanted: &[u8]) -> Result<bool, Short> {
        let rest = self.rest();
        let shown = rest.len().min(wanted.len());
        let same = rest
            .get(..shown)
            .is_some_and(|r| wanted.get(..shown).is_some_and(|w| r.eq_ignore_ascii_case(w)));
        if same && shown < wanted.len() && !self.last {
            Err(Short)
        } else {
            Ok(same && shown == wanted.len())
        }
    }

    pub(super) fn skip(&mut self, wanted: &[u8]) -> Result<bool, Short> {
        let there = self.looks_at(wanted)?;
        if there {
            self.at += wanted.len();
        }
        Ok(there)
    }

    fn skip_set(&mut self, set: &CharSet) -> Result<usize, Short> {
        let run = set.run(self.rest());
        self.at += run;
        self.peek()?;
        Ok(run)
    }

    /// Sequences that colour, also as JSON escapes them.
    fn skip_colours(&mut self) -> Result<(), Short> {
        loop {
            let begins = self.skip(b"\x1b[")?
                || self.skip(b"\\u001b[")?
                || self.skip(b"\\x1b[")?
                || self.skip(b"\\033[")?;
            if !begins {
                return Ok(());
            }
            self.skip_set(&CharSet::of(b"0-9;:?"))?;
            self.at += usize::from(self.peek()?.is_some_and(|byte| byte.is_ascii_alphabetic()));
        }
    }
}

/// How name and value are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// `=`, `:` and their kin; whether a blank follows.
    Sign { spaced: bool },
    /// `--name value`
    Option,
    /// Only a blank.
    Blank,
    /// "is" and its kin.
    Says,
    /// " for admin: "
    Announced,
    /// `<name>value</name>`
    Element,
}

/// The value of an assignment.
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoted: bool,
    pub(super) scheme: bool,
    /// Behind it stands a word, as in a sentence.
    pub(super) in_sentence: bool,
    /// It goes on: no more than this was to be read.
    pub(super) is_cut: bool,
}

/// What stands between name and value; nothing when the name stands alone.
pub(super) fn joint(
    cursor: &mut Cursor<'_>,
    name_start: usize,
    name: &[u8],
    kind: Kind,
) -> Result<Option<Joint>, Short> {
    let earlier = |back: usize| name_start.checked_sub(back).and_then(|at| cursor.text.get(at));
    let before = earlier(1).copied();
    let in_pair = matches!(earlier(2), Some(b'(' | b'[')) || name.starts_with(b"--");
    let quotes = CharSet::of(b"\"'`\\])");
    cursor.skip_colours()?;
    // A body in a URL: %22password%22%3A%22…%22
    cursor.skip(b"%22")?;
    let mut closers = cursor.skip_set(&quotes)?;
    if closers > 0 && cursor.text.get(cursor.at - 1) == Some(&b'\\') {
        // The escape of what follows, not of a quote.
        cursor.at -= 1;
        closers -= 1;
    }
    cursor.skip_colours()?;
    if closers > 8 {
        return Ok(None);
    }
    if (before == Some(b'<') || closers == 1) && cursor.peek()? == Some(b'>') {
        cursor.at += 1;
        return Ok(Some(Joint::Element));
    }
    let blanks = cursor.skip_set(&BLANK)?;
    cursor.skip_colours()?;
    // chpasswd <<< user:password
    if cursor.skip(b"<<<")? {
        cursor.skip_set(&BLANK)?;
        return Ok(Some(Joint::Sign { spaced: false }));
    }
    if blanks > 0 && closers == 0 {
        spoken::skip_number(cursor)?;
    }
    for sign in [&b":="[..], b"=>", b"->", b"==", b"!=", b"%3D", b"%3A", b"\\u003d", b"=", b":"] {
        if !cursor.skip(sign)? {
            continue;
        }
        // A comparison with something else, a namespace, a URL, a slice.
        if sign == b"!=" || sign == b":" && matches!(cursor.peek()?, Some(b':' | b'/')) {
            return Ok(None);
        }
        cursor.skip_colours()?;
        let spaced = cursor.skip_set(&BLANK)? > 0;
        cursor.skip_colours()?;
        return Ok(Some(Joint::Sign { spaced }));
    }
    // <add key="ApiKey" value="x"/>
    if closers > 0 && blanks > 0 && cursor.skip(b"value=")? {
        return Ok(Some(Joint::Sign { spaced: false }));
    }
    // ('password', 'x')
    if closers > 0 && in_pair && cursor.peek()? == Some(b',') {
        cursor.at += 1;
        cursor.skip_set(&BLANK)?;
        let next = cursor.peek()?;
        return Ok(matches!(next, Some(b'"' | b'\'')).then_some(Joint::Sign { spaced: false }));
    }
    let takes_value = kind != Kind::Maybe || name.ends_with(b"pass") || name.ends_with(b"pw");
    if name.starts_with(b"--") && takes_value && (blanks > 0 || closers > 0) {
        return Ok(Some(Joint::Option));
    }
    if blanks == 0 || closers > 0 {
        return Ok(None);
    }
    if spoken::is_in_table(cursor, name_start)? {
        return Ok(Some(Joint::Says));
    }
    if spoken::is_announced(cursor)? {
        return Ok(Some(Joint::Announced));
    }
    for word in [&b"is "[..], b"was ", b"set to ", b"changed to "] {
        if cursor.skip(word)? {
            return Ok(Some(Joint::Says));
        }
    }
    cursor.skip(b"by ")?;
    Ok(Some(Joint::Blank))
}

/// The value that begins here. Of one without quotation marks at most `most` bytes are
/// read; those that have some end at the latest where the next one's begin.
pub(super) fn read_value(
    cursor: &mut Cursor<'_>,
    joint: Joint,
    in_query: bool,
    most: usize,
) -> Result<Option<Value>, Short> {
    // b'…', u"…", SecretStr('…')
    let prefix = CharSet::of(b"A-Za-z").run(cursor.rest());
    if prefix > 0 && prefix <= 12 {
        let after = cursor.rest().get(prefix..).unwrap_or_default();
        match after {
            [b'(', b'"' | b'\'', ..] => cursor.at += prefix + 1,
            [b'"' | b'\'', ..] if prefix <= 2 => cursor.at += prefix,
            // string(32) "…" of PHP, chr "…" of R
            [b' ' | b'(', ..] if is_type(cursor.rest().get(..prefix).unwrap_or_default()) => {
                let size = CharSet::of(b"(0-9)").run(after);
                let blank = after.get(size) == Some(&b' ');
                match after.get(size + 1) {
                    None if !cursor.last => return Err(Short),
                    Some(b'"' | b'\'') if blank => cursor.at += prefix + size + 1,
                    _ => {}
                }
            }
            [] | [b'('] if !cursor.last => return Err(Short),
            _ => {}
        }
    }
    let slashes = CharSet::of(b"\\").run(cursor.rest());
    let quote = cursor.rest().get(slashes).copied();
    if quote.is_none() && !cursor.last {
        return Err(Short);
    }
    let Some(quote) = quote.filter(|q| matches!(q, b'"' | b'\'' | b'`')) else {
        return unquoted(cursor, joint, in_query, most);
    };
    cursor.at += slashes + 1;
    // An empty text, or three quotes.
    if slashes == 0 && cursor.looks_at(&[quote, quote])? {
        cursor.at += 2;
    }
    let scheme = skip_scheme(cursor)?;
    let start = cursor.at;
    let rest = cursor.rest();
    let mut at = 0;
    let end = loop {
        let Some(byte) = rest.get(at) else {
            if cursor.last {
                break at;
            }
            return Err(Short);
        };
        match byte {
            b'\n' | b'\r' => {
                // It was no quotation: what is up to the next blank counts.
                break rest.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(at);
            }
            b'\\' => {
                let run = CharSet::of(b"\\").run(rest.get(at..).unwrap_or_default());
                match rest.get(at + run) {
                    None if !cursor.last => return Err(Short),
                    Some(next) if *next == quote && run <= slashes => break at,
                    // What ends a line ends it, escaped or not.
                    Some(b'\n' | b'\r') => at += run,
                    _ => at += run + usize::from(slashes == 0 && run % 2 == 1),
                }
            }
            byte if *byte == quote => break at,
            _ => at += 1,
        }
    };
    work::read(end);
    Ok((end > 0).then_some(Value {
        start,
        end: start + end,
        quoted: true,
        scheme,
        in_sentence: false,
        is_cut: false,
    }))
}

/// How dumps of values name a text.
fn is_type(word: &[u8]) -> bool {
    [&b"string"[..], b"chr", b"str", b"text"].contains(&word)
}

/// `Bearer `, `Basic ` and other schemes before the secret itself.
fn skip_scheme(cursor: &mut Cursor<'_>) -> Result<bool, Short> {
    for scheme in [
        &b"Bearer "[..],
        b"Basic ",
        b"Token token=",
        b"Token ",
        b"ApiKey ",
        b"Api-Key ",
        b"Key ",
        b"Splunk ",
        b"GenieKey ",
        b"SSWS ",
        b"Bot ",
    ] {
        if cursor.skip(scheme)? {
            cursor.skip_set(&BLANK)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn unquoted(
    cursor: &mut Cursor<'_>,
    joint: Joint,
    in_query: bool,
    most: usize,
) -> Result<Option<Value>, Short> {
    const ENDS: CharSet = CharSet::of(b" \t\r\n\x1b\"'`<>");
    let mut scheme = skip_scheme(cursor)?;
    if !scheme && cursor.rest().first() == Some(&b'{') && cursor.rest().get(1) != Some(&b'{') {
        return Ok(None);
    }
    if !scheme {
        scheme = false;
        // A list: its first member.
        while matches!(cursor.rest().first(), Some(b'[' | b'(')) {
            cursor.at += 1;
        }
        // A list of tables.
        if cursor.rest().first() == Some(&b'{') && cursor.rest().get(1) != Some(&b'{') {
            return Ok(None);
        }
        if matches!(cursor.peek()?, Some(b'"' | b'\'')) {
            return read_value(cursor, joint, in_query, most);
        }
        cursor.skip(b"%22")?;
    }
    let start = cursor.at;
    let rest = cursor.rest();
    let mut at = 0;
    let mut depth = 0usize;
    loop {
        work::read(1);
        if at == most {
            let end = start + at;
            let (quoted, in_sentence, is_cut) = (false, false, true);
            return Ok(Some(Value { start, end, quoted, scheme, in_sentence, is_cut }));
        }
        let Some(byte) = rest.get(at) else {
            if cursor.last {
                break;
            }
            return Err(Short);
        };
        // A placeholder in angle brackets, and a reference in braces, are one value.
        if at == 0 && *byte == b'<' {
            let close = rest.iter().take(64).position(|b| *b == b'>' || *b == b'\n');
            match close {
                Some(close) if rest[close] == b'\n' => return Ok(None),
                Some(close) => {
                    at = close + 1;
                    break;
                }
                None if !cursor.last && rest.len() < 64 => return Err(Short),
                None => return Ok(None),
            }
        }
        let next = rest.get(at + 1);
        if matches!(byte, b',' | b';' | b'&' | b'|' | b'\\' | b'%')
            && next.is_none()
            && !cursor.last
        {
            return Err(Short);
        }
        let ends = match byte {
            b'&' => in_query || begins_pair(rest, at + 1),
            b',' | b';' | b'|' => {
                next.is_none_or(|n| {
                    n.is_ascii_whitespace()
                        || matches!(n, b'"' | b'\'' | b'}' | b']' | b')' | b'|' | b'\\')
                }) || begins_pair(rest, at + 1)
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                false
            }
            b')' | b']' | b'}' if depth > 0 => {
                depth -= 1;
                false
            }
            b')' | b']' | b'}' => true,
            b'\\' => {
                next.is_none_or(|n| matches!(n, b'n' | b't' | b'r' | b'"' | b'\'' | b'u' | b'x'))
            }
            b'%' => rest.get(at + 1..at + 3).is_some_and(|hex| hex == b"26" || hex == b"22"),
            byte => ENDS.has(*byte),
        };
        if ends {
            break;
        }
        at += 1;
    }
    let shown = rest.get(..at).unwrap_or_default();
    let end = match shown {
        // The end of a sentence, or the colon of what follows.
        [.., b'.' | b':' | b',' | b';'] if !in_query => at - 1,
        _ => at,
    };
    let behind = rest.get(at..).unwrap_or_default();
    let in_sentence = match behind {
        [b' ', next, ..] => {
            let word = NAME.run(behind.get(1..MAX_NAME_BYTES).unwrap_or(&behind[1..]));
            let matters = !matches!(joint, Joint::Sign { spaced: false } | Joint::Option);
            if matters && word + 1 == behind.len() && !cursor.last {
                return Err(Short);
            }
            next.is_ascii_alphabetic() && !begins_pair(behind, 1)
        }
        [b' '] | [] if !cursor.last => return Err(Short),
        _ => false,
    };
    let (end, quoted, is_cut) = (start + end, false, false);
    Ok((end > start).then_some(Value { start, end, quoted, scheme, in_sentence, is_cut }))
}

/// Whether another `name=` or `name:` begins here.
fn begins_pair(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let blanks = BLANK.run(rest);
    let rest = rest.get(blanks..).unwrap_or_default();
    let name = NAME.run(rest.get(..MAX_NAME_BYTES).unwrap_or(rest));
    name > 0 && name < MAX_NAME_BYTES && matches!(rest.get(name), Some(b'=' | b':'))
}

/// All of a cookie header: the pairs are sessions more often than not.
pub(super) fn cookie(cursor: &mut Cursor<'_>, set: bool) -> Result<Option<Span>, Short> {
    let start = cursor.at + CharSet::of(b"\"'\\").run(cursor.rest());
    let rest = cursor.text.get(start..).unwrap_or_default();
    let ends = |b: &u8| matches!(b, b'\n' | b'\r' | b'"' | b'\x1b') || set && *b == b';';
    let judged = rest.get(..MAX_JUDGED_BYTES).unwrap_or(rest);
    let judged_end = judged.iter().position(ends);
    if judged_end.is_none() && judged.len() < MAX_JUDGED_BYTES && !cursor.last {
        return Err(Short);
    }
    let judged = judged.get(..judged_end.unwrap_or(judged.len())).unwrap_or_default();
    work::read(judged.len());
    if !judged.contains(&b'=') || judged.windows(3).any(|w| w == b"***") {
        return Ok(None);
    }
    let end = match judged_end.or_else(|| rest.iter().position(ends)) {
        Some(end) => end,
        None if cursor.last => rest.len(),
        None => return Err(Short),
    };
    work::read(end);
    let line = rest.get(..end).unwrap_or_default();
    let end = line.strip_suffix(b"'").or(line.strip_suffix(b"\\")).unwrap_or(line).len();
    Ok((end >= 6).then_some(Span { start, end: start + end, rule: rules::COOKIE }))
}
