//! `name = value` in all its spellings: JSON, escaped JSON, Python, YAML, headers,
//! options, queries, XML, with colours in between.

use super::reading::{Cursor, Joint, NAME, Short, Value, cookie, joint, read_value};
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
        let kind = self.rules.kind(name);
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

    fn value_of(
        &self,
        cursor: &mut Cursor<'_>,
        name_start: usize,
        name: &[u8],
        kind: Kind,
    ) -> Result<Option<Span>, Short> {
        let before = name_start.checked_sub(1).and_then(|at| cursor.text.get(at)).copied();
        let Some(joint) = joint(cursor, before, name, kind)? else { return Ok(None) };
        let colon = cursor.at.checked_sub(1).and_then(|at| cursor.text.get(at)) == Some(&b':');
        if before == Some(b':') && colon && matches!(joint, Joint::Sign { spaced: false }) {
            // A part of a longer name: arn:aws:secretsmanager:…:secret:….
            return Ok(None);
        }
        let is_cookie = ends_with(name, b"cookie") && matches!(joint, Joint::Sign { spaced: true });
        if is_cookie {
            return cookie(cursor, ends_with(name, b"set-cookie"));
        }
        let in_query = matches!(before, Some(b'?' | b'&'));
        let begins = cursor.at;
        let value = read_value(cursor, joint, in_query, MAX_JUDGED_BYTES)?;
        let Some(mut value) = value else { return Ok(None) };
        let secret = cursor.text.get(value.start..value.end).unwrap_or_default();
        if !self.is_secret(secret, name, kind, joint, &value, in_query) {
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
        joint: Joint,
        value: &Value,
        in_query: bool,
    ) -> bool {
        work::read(secret.len());
        let is_number = secret.iter().all(|b| b.is_ascii_digit() || b".,%eE+-_".contains(b));
        // The most common case first: a count of tokens.
        if is_number && !is_secret_number(secret, name, kind, joint) {
            return false;
        }
        if is_directory(name, secret) {
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
            return secret.len() >= 4;
        }
        if kind != Kind::Secret && self.rules.allows(secret) {
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
            _ => secret.len() >= 8 && (entropy::is_suspicious(secret) || self.is_pair(secret)),
        };
        // "password: must be changed" speaks of one, and so does "token refresh".
        let is_word =
            secret.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'-' | b'_'));
        match joint {
            // wandb login 0123…
            Joint::Blank if kind != Kind::Secret || names_token(name) && name.len() < 7 => {
                secret.len() >= 32 && entropy::is_hex(secret)
            }
            Joint::Blank => {
                strong && entropy::is_passwordlike(secret) && !value.in_sentence_word(secret)
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
    is_pin || kind == Kind::Secret && digits >= 4 && joint != Joint::Blank && !names_token(name)
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

/// A name or a call of a program, not a value.
fn is_code(words: &str) -> bool {
    let call = words.ends_with("()")
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
