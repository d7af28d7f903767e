//! `name = value` in all its spellings: JSON, escaped JSON, Python, YAML, headers,
//! options, queries, XML, with colours in between.

use super::reading::{Cursor, Joint, NAME, Short, Value, cookie, joint, read_value};
use super::spoken::step_down;
use super::{Finder, Found, MAX_JUDGED_BYTES, Manner, Span, ends_colour};
use crate::charset::CharSet;
use crate::entropy;
use crate::names::{Kind, MAX_NAME_BYTES};
use crate::rules;
use crate::value;
use crate::work;
use alloc::string::String;

/// What can follow a name that has a value.
const JOINS: CharSet = CharSet::of(b" \t=:\"'`\\])>%\x1b!?+");

impl Finder<'_> {
    /// An assignment whose name has a word of interest at `hit`.
    pub(super) fn assignment(
        &self,
        text: &[u8],
        hit: usize,
        last: bool,
        named_until: &mut usize,
    ) -> Found {
        // Two letters are looked for with what stands before them.
        let hit = hit + usize::from(matches!(text.get(hit), Some(b'"' | b'\'')));
        let ahead = text.get(hit..).unwrap_or_default();
        let run = NAME.run(ahead.get(..=MAX_NAME_BYTES).unwrap_or(ahead));
        // Most names are followed by something else.
        if ahead.get(run).is_some_and(|next| !JOINS.has(*next)) {
            return Found::No;
        }
        let earlier = text.get(hit.saturating_sub(MAX_NAME_BYTES)..hit).unwrap_or_default();
        let mut start = hit - NAME.run_back(earlier);
        // What an escape or a colour left over belongs to no name.
        if start > 0
            && text[start - 1] == b'\\'
            && matches!(text[start], b'n' | b't' | b'r')
            && start < hit
        {
            start += 1;
        }
        if let Some(end) = (start + 1..=hit).take(8).find(|end| ends_colour(text, *end)) {
            start = end;
        }
        let end = hit + run;
        if run == ahead.len() && !last && run < MAX_NAME_BYTES {
            return Found::Open(end);
        }
        if run > MAX_NAME_BYTES {
            return Found::No;
        }
        let given = text.get(start..end).unwrap_or_default();
        let name = given.strip_suffix(b".").unwrap_or(given);
        let kind = self.kind_of(text, start, name);
        *named_until = end;
        if !matches!(kind, Kind::Secret | Kind::Token | Kind::Maybe) {
            return Found::No;
        }
        let mut cursor = Cursor { text, at: end, last };
        let outcome = self.value_of(&mut cursor, start, name, kind);
        match outcome {
            Err(Short) => {
                // It will be asked again, with more text.
                *named_until = hit;
                Found::Open(cursor.at)
            }
            Ok(None) => Found::No,
            Ok(Some(span)) => Found::Yes(span),
        }
    }

    /// What a name says; of one word, with the word before it.
    fn kind_of(&self, text: &[u8], start: usize, name: &[u8]) -> Kind {
        let kind = self.rules.kind(name);
        // checksum/secret: …
        let ahead = text.get(..start).unwrap_or_default();
        if ahead.ends_with(b"checksum/") {
            return Kind::Digest;
        }
        if !matches!(kind, Kind::Maybe | Kind::Token) || !name.iter().all(u8::is_ascii_alphabetic) {
            return kind;
        }
        let before = text.get(start.saturating_sub(24)..start).unwrap_or_default();
        let Some(before) = before.strip_suffix(b" ") else { return kind };
        let word = CharSet::of(b"A-Za-z").run_back(before);
        if word == 0 {
            return kind;
        }
        let first = start - 1 - word;
        match self.rules.kind(text.get(first..start + name.len()).unwrap_or_default()) {
            Kind::Unknown => kind,
            with_word => with_word,
        }
    }

    fn value_of(
        &self,
        cursor: &mut Cursor<'_>,
        name_start: usize,
        name: &[u8],
        kind: Kind,
    ) -> Result<Option<Span>, Short> {
        let before = name_start.checked_sub(1).and_then(|at| cursor.text.get(at)).copied();
        let Some(joint) = joint(cursor, name_start, name, kind)? else { return Ok(None) };
        let colon = cursor.at.checked_sub(1).and_then(|at| cursor.text.get(at)) == Some(&b':');
        if before == Some(b':') && colon && matches!(joint, Joint::Sign { spaced: false }) {
            // A part of a longer name: arn:aws:secretsmanager:…:secret:….
            return Ok(None);
        }
        // ${NAME:?words about what is missing}
        let in_reference = cursor.text.get(..name_start).is_some_and(|t| t.ends_with(b"${"));
        if in_reference && colon && cursor.looks_at(b"?")? {
            return Ok(None);
        }
        let is_cookie = ends_with(name, b"cookie") && matches!(joint, Joint::Sign { spaced: true });
        if is_cookie {
            return cookie(cursor, ends_with(name, b"set-cookie"));
        }
        let in_query = matches!(before, Some(b'?' | b'&'));
        let below = kind == Kind::Secret
            && self.manner == Manner::Log
            && matches!(joint, Joint::Sign { .. } | Joint::Announced)
            && step_down(cursor)?;
        // expect "password:" send "…"
        if colon && (cursor.skip(b"\" send \"")? || cursor.skip(b"' send '")?) {
            cursor.at -= 1;
        }
        let begins = cursor.at;
        let value = read_value(cursor, joint, in_query, MAX_JUDGED_BYTES)?;
        let Some(mut value) = value else { return Ok(None) };
        if let Some(second) = second_of_pair(cursor, name, &value)? {
            value = second;
        }
        let secret = cursor.text.get(value.start..value.end).unwrap_or_default();
        let place = Place { text: cursor.text, name_start, joint, in_query, below };
        if !self.is_secret(secret, name, kind, &value, place) {
            return Ok(None);
        }
        if value.is_cut {
            cursor.at = begins;
            let whole = read_value(cursor, joint, in_query, usize::MAX)?;
            value = whole.unwrap_or(value);
        }
        let rule = match self.any_shape(cursor.text, value.start) {
            Some(span) => span.rule,
            None if ends_with(name, b"authorization") => rules::AUTHORIZATION,
            None => rules::NAMED,
        };
        Ok(Some(Span { start: value.start, end: value.end, rule }))
    }

    fn is_secret(
        &self,
        secret: &[u8],
        name: &[u8],
        kind: Kind,
        value: &Value,
        place: Place<'_>,
    ) -> bool {
        let Place { joint, in_query, below, .. } = place;
        let before = || line_before(place.text, place.name_start);
        work::read(secret.len());
        let is_number = secret.iter().all(|b| b.is_ascii_digit() || b".,%eE+-_".contains(b));
        // The most common case first: a count of tokens.
        if is_number && !is_secret_number(secret, name, kind, joint) {
            return false;
        }
        if is_directory(name, secret)
            || value::is_fingerprint(name, secret)
            || is_type_or_usage(name, secret)
            || str::from_utf8(secret)
                .is_ok_and(|text| value::is_version(text) || value::is_object_name(name, text))
            || secret.len() < 6 && !secret.iter().any(u8::is_ascii_alphanumeric)
        {
            return false;
        }
        let words = String::from_utf8_lossy(secret);
        if self.rules.is_nothing(secret)
            || self.is_spoken_of(secret)
            || words.starts_with("[redacted")
        {
            return false;
        }
        if is_number {
            return true;
        }
        if words.len() >= 2 && words.starts_with('<') && words.ends_with('>') {
            return self.manner == Manner::Config && self.rules.is_placeholder(&words);
        }
        if is_code(&words)
            || !value.is_cut && value::is_path(&words)
            || words.contains("://") && kind != Kind::Secret
        {
            return false;
        }
        if value.scheme {
            let is_word = secret.iter().all(u8::is_ascii_alphabetic);
            return secret.len() >= 4
                && match joint {
                    Joint::Sign { .. } => !(is_word && value.in_sentence),
                    _ => entropy::is_suspicious(secret),
                };
        }
        if below {
            return true;
        }
        if is_name_with_digest(secret) && kind != Kind::Secret
            || kind == Kind::Maybe && ends_with(name, b"key") && value::is_store_key(&words)
        {
            return false;
        }
        if kind == Kind::Maybe && ends_with(name, b"auth") {
            let pair = value::second_of_pair(&words).is_some();
            if pair && matches!(joint, Joint::Sign { .. }) {
                return true;
            }
        }
        if kind != Kind::Secret && self.rules.is_known_harmless(&words) {
            return false;
        }
        let strong = match kind {
            Kind::Secret => true,
            Kind::Token => {
                let long = secret.len() >= 12
                    && entropy::is_passwordlike(secret)
                    && !words.contains(['-', '_', '.', '/']);
                secret.len() >= 8 && (entropy::is_suspicious(secret) || looks_odd(secret) || long)
            }
            _ if in_query => secret.len() >= 8 && entropy::is_suspicious(secret),
            _ if names_pass(name) => {
                entropy::is_passwordlike(secret)
                    || secret.len() >= 6 && speaks_of_user(before())
                    || looks_odd(secret)
            }
            _ => secret.len() >= 8 && (entropy::is_suspicious(secret) || self.is_pair(secret)),
        };
        // "password: must be changed" speaks of one, and so does "token refresh".
        let is_word =
            secret.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'-' | b'_'));
        match joint {
            // wandb login 0123…
            Joint::Blank
                if value.quoted && ends_with(name, b"password") && is_statement(before()) =>
            {
                true
            }
            Joint::Blank if names_pass(name) && is_set(before()) => strong,
            Joint::Blank if names_pass(name) && kind == Kind::Maybe => {
                entropy::is_passwordlike(secret) && entropy::is_suspicious(secret)
            }
            Joint::Blank if kind != Kind::Secret || names_token(name) && name.len() < 7 => {
                secret.len() >= 32 && entropy::is_hex(secret) && !name.eq_ignore_ascii_case(b"key")
            }
            Joint::Blank => {
                strong && entropy::is_passwordlike(secret) && !value.in_sentence_word(secret)
            }
            Joint::Says => {
                let shuffled = !value.in_sentence && is_shuffled(secret);
                strong
                    && (shuffled || entropy::is_passwordlike(secret))
                    && !value.in_sentence_word(secret)
            }
            Joint::Announced => {
                let long = secret.len() >= 20 && entropy::is_suspicious(secret);
                matches!(kind, Kind::Secret | Kind::Token)
                    && (long || !value.in_sentence)
                    && secret.len() >= 6
                    && (entropy::is_passwordlike(secret)
                        || entropy::is_suspicious(secret)
                        || looks_odd(secret))
            }
            Joint::Option => strong && !words.starts_with('-'),
            Joint::Sign { spaced: true } if !value.quoted && is_word && value.in_sentence => false,
            Joint::Sign { .. } | Joint::Element => strong,
        }
    }

    /// `user:password`, perhaps in base64.
    fn is_pair(&self, secret: &[u8]) -> bool {
        crate::config::base64(secret).is_some_and(|plain| {
            plain.contains(&b':') && plain.iter().all(|b| (b' '..=b'~').contains(b))
        })
    }
}

impl Value {
    fn in_sentence_word(&self, secret: &[u8]) -> bool {
        !self.quoted && !entropy::is_suspicious(secret) && secret.len() < 7
    }
}

/// What is around a value.
#[derive(Clone, Copy)]
struct Place<'t> {
    text: &'t [u8],
    name_start: usize,
    joint: Joint,
    in_query: bool,
    /// It stands alone on the line below.
    below: bool,
}

/// The end of what stands before a name on its line.
fn line_before(text: &[u8], name: usize) -> &[u8] {
    let before = text.get(name.saturating_sub(80)..name).unwrap_or_default();
    let line = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    before.get(line..).unwrap_or_default()
}

fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// `user=bob,pass=`: beside its user a password may be a plain word.
fn speaks_of_user(before: &[u8]) -> bool {
    let near = before.get(before.len().saturating_sub(48)..).unwrap_or_default();
    [&b"user="[..], b"username=", b"user: ", b"login=", b"uid=", b"user\":"]
        .iter()
        .any(|w| has(near, w))
}

/// SQL that gives a password to somebody.
fn is_statement(before: &[u8]) -> bool {
    [&b"user "[..], b"role ", b"identified", b"with login"].iter().any(|w| has(before, w))
}

/// `setenv NAME value`, `export NAME value`
fn is_set(before: &[u8]) -> bool {
    [&b"setenv "[..], b"set ", b"set-env ", b"setx "].iter().any(|word| before.ends_with(word))
}

fn names_pass(name: &[u8]) -> bool {
    let is_own = |end: &[u8]| {
        ends_with(name, end)
            && name
                .len()
                .checked_sub(end.len() + 1)
                .and_then(|at| name.get(at))
                .is_none_or(|byte| !byte.is_ascii_lowercase() || name.ends_with(b"Pass"))
    };
    is_own(b"pass") || is_own(b"pw")
}

/// `VARCHAR(64)`, and `--password PASS` of a usage line.
fn is_type_or_usage(name: &[u8], secret: &[u8]) -> bool {
    let bare = secret.strip_suffix(b"]").unwrap_or(secret);
    if name.starts_with(b"--") {
        return bare.len() <= 20
            && bare.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-'));
    }
    let letters = secret.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let size = secret.get(letters..).unwrap_or_default();
    letters >= 3
        && size.len() >= 3
        && size.starts_with(b"(")
        && size.ends_with(b")")
        && size.iter().all(|byte| byte.is_ascii_digit() || b"(), ".contains(byte))
}

/// `Linux-pip-2bfb0143…`: words and the digest of what is kept under that name.
fn is_name_with_digest(secret: &[u8]) -> bool {
    let Some(at) = secret.iter().rposition(|byte| matches!(byte, b'-' | b'_' | b':')) else {
        return false;
    };
    let (words, digest) = (&secret[..at], &secret[at + 1..]);
    matches!(digest.len(), 32 | 40 | 64)
        && entropy::is_hex(digest)
        && words.split(|byte| !byte.is_ascii_alphanumeric()).all(|word| {
            word.iter().all(u8::is_ascii_alphabetic) || word.iter().all(u8::is_ascii_digit)
        })
}

/// `auth=("user", "password")`
fn second_of_pair(
    cursor: &mut Cursor<'_>,
    name: &[u8],
    value: &Value,
) -> Result<Option<Value>, Short> {
    let opens = value.start.checked_sub(2).and_then(|at| cursor.text.get(at));
    let is_pair =
        [&b"auth"[..], b"login", b"credentials", b"creds"].iter().any(|w| ends_with(name, w));
    if !is_pair || !value.quoted || !matches!(opens, Some(b'(' | b'[')) {
        return Ok(None);
    }
    cursor.at = value.end + 1;
    if !cursor.skip(b",")? {
        return Ok(None);
    }
    cursor.skip(b" ")?;
    let second = read_value(cursor, Joint::Sign { spaced: true }, false, MAX_JUDGED_BYTES)?;
    Ok(second.filter(|second| second.quoted).map(|second| Value { scheme: true, ..second }))
}

/// The shell's own variables, which are in every environment that is printed.
fn is_directory(name: &[u8], value: &[u8]) -> bool {
    let is_shells = [&b"PWD"[..], b"OLDPWD"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let in_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    is_shells && value.starts_with(b"/") && value.iter().all(in_path)
}

/// A PIN, or the value of what can only be a secret.
fn is_secret_number(secret: &[u8], name: &[u8], kind: Kind, joint: Joint) -> bool {
    let digits = secret.iter().filter(|b| b.is_ascii_digit()).count();
    let is_pin = ends_with(name, b"pin") && (4..=12).contains(&digits) && digits == secret.len();
    let is_code = [&b"passcode"[..], b"otp"].iter().any(|end| ends_with(name, end))
        && (6..=10).contains(&digits)
        && digits == secret.len();
    is_code
        || is_pin
        || kind == Kind::Secret && digits >= 4 && joint != Joint::Blank && !names_token(name)
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len()
        .checked_sub(end.len())
        .and_then(|at| name.get(at..))
        .is_some_and(|n| n.eq_ignore_ascii_case(end))
}

fn names_token(name: &[u8]) -> bool {
    ends_with(name, b"token") || ends_with(name, b"key") || ends_with(name, b"secret")
}

/// Capitals and small letters mixed, or marks: no word of a language.
fn looks_odd(secret: &[u8]) -> bool {
    let upper = secret.iter().skip(1).filter(|b| b.is_ascii_uppercase()).count();
    let lower = secret.iter().filter(|b| b.is_ascii_lowercase()).count();
    secret.len() >= 16
        && !secret.contains(&b' ')
        && upper >= 3
        && lower >= 3
        && !secret.contains(&b'_')
}

/// Capitals in the middle: letters that were drawn.
fn is_shuffled(secret: &[u8]) -> bool {
    let upper = secret.iter().skip(1).filter(|byte| byte.is_ascii_uppercase()).count();
    let lower = secret.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    secret.len() >= 8 && upper >= 2 && lower >= 3 && upper + lower + 1 >= secret.len()
}

/// A name or a call of a program, not a value.
fn is_code(words: &str) -> bool {
    let call = value::is_call(words)
        || words.ends_with("()")
        || words.contains("get(")
        || words.contains("environ")
        || words.contains("getenv");
    let member =
        words.strip_prefix("self.").or(words.strip_prefix("args.")).or(words.strip_prefix("cfg."));
    let member = member
        .or(words.strip_prefix("settings."))
        .or(words.strip_prefix("config."))
        .or(words.strip_prefix("this."));
    call || member.is_some_and(|m| m.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.'))
}
