//! Passwords beside the name of who has them: in URLs, options and headers.

use super::{Finder, Found, MAX_JUDGED_BYTES, Span, TOKEN, WORDLIKE, is_border};
use crate::charset::CharSet;
use crate::entropy;
use crate::rules;
use crate::url::{self, UserInfo};
use crate::work;

impl Finder<'_> {
    /// `https://user:password@host`
    pub(super) fn url(&self, text: &[u8], hit: usize, last: bool) -> Found {
        // JSON may escape the slashes, a query everything.
        let rest = text.get(hit..).unwrap_or_default();
        let start = if rest.starts_with(b"://") {
            hit + 3
        } else if rest.starts_with(b":\\/\\/") {
            hit + 5
        } else if rest.len() < 9 && !last {
            return Found::Open(hit);
        } else if rest.get(..9).is_some_and(|r| r.eq_ignore_ascii_case(b"%3A%2F%2F")) {
            return encoded_url(text, hit + 9, last);
        } else {
            return Found::No;
        };
        match url::user_info(text, start, last) {
            UserInfo::None => Found::No,
            UserInfo::Open => Found::Open(hit),
            UserInfo::Secret(start, end) => {
                let secret = text.get(start..end).unwrap_or_default();
                if self.is_spoken_of(secret) {
                    return Found::No;
                }
                let rule = rules::URL_PASSWORD;
                let rule = self.any_shape(text, start).map_or(rule, |span| span.rule);
                Found::Yes(Span { start, end, rule })
            }
        }
    }

    /// `-u user:password` and `--user user:password`, as curl takes them.
    pub(super) fn login(&self, text: &[u8], hit: usize, last: bool) -> Found {
        let rest = text.get(hit..).unwrap_or_default();
        let blank = |at: usize| text.get(at).is_some_and(u8::is_ascii_whitespace);
        let word = if rest.starts_with(b"-u ") && (hit == 0 || blank(hit - 1)) {
            3
        } else if text.get(hit.saturating_sub(2)..hit).is_some_and(|before| before.ends_with(b"-"))
        {
            match rest.get(4) {
                Some(b' ' | b'=') => 5,
                None if !last => return Found::Open(hit),
                _ => return Found::No,
            }
        } else {
            return Found::No;
        };
        let rest = rest.get(word..).unwrap_or_default();
        let quote = CharSet::of(b"'\"").run(rest).min(1);
        let shown = rest.get(quote..).unwrap_or_default();
        let ends = |byte: &u8| match rest.first() {
            Some(mark @ (b'\'' | b'"')) => byte == mark || *byte == b'\n',
            _ => byte.is_ascii_whitespace(),
        };
        let judged = shown.get(..MAX_JUDGED_BYTES).unwrap_or(shown);
        let judged_end = judged.iter().position(ends);
        if judged_end.is_none() && judged.len() < MAX_JUDGED_BYTES && !last {
            return Found::Open(hit);
        }
        let pair = judged.get(..judged_end.unwrap_or(judged.len())).unwrap_or_default();
        work::read(pair.len());
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return Found::No };
        let (user, secret) = (&pair[..colon], &pair[colon + 1..]);
        let is_id =
            secret.iter().all(u8::is_ascii_digit) || user == secret || secret.starts_with(b"/");
        if user.is_empty() || secret.len() < 3 || is_id || self.is_spoken_of(secret) {
            return Found::No;
        }
        let end = match judged_end.or_else(|| shown.iter().position(ends)) {
            Some(end) => end,
            None if last => shown.len(),
            None => return Found::Open(hit),
        };
        work::read(end);
        let start = hit + word + quote;
        Found::Yes(Span { start: start + colon + 1, end: start + end, rule: rules::NAMED })
    }

    /// `Bearer …` and `Basic …` wherever they stand.
    pub(super) fn bearer(&self, text: &[u8], hit: usize, last: bool) -> Found {
        if !is_border(text, hit) {
            return Found::No;
        }
        let rest = text.get(hit..).unwrap_or_default();
        let word = WORDLIKE.run(rest);
        let scheme = rest.get(..word).unwrap_or_default();
        let is_basic = scheme.eq_ignore_ascii_case(b"basic");
        if !is_basic && !scheme.eq_ignore_ascii_case(b"bearer") {
            return if word == rest.len() && !last { Found::Open(hit) } else { Found::No };
        }
        let blanks = rest.get(word..).unwrap_or_default();
        let blanks = blanks.iter().take_while(|b| matches!(b, b' ' | b'+')).count();
        let start = hit + word + blanks;
        let rest = text.get(start..).unwrap_or_default();
        let run = TOKEN.run(rest.get(..MAX_JUDGED_BYTES).unwrap_or(rest));
        if start + run == text.len() && !last {
            return Found::Open(start);
        }
        let token = rest.get(..run).unwrap_or_default();
        let token = token.strip_suffix(b".").unwrap_or(token);
        let looks = if is_basic {
            crate::config::base64(token).is_some_and(|plain| plain.contains(&b':'))
        } else {
            token.len() >= 12 && entropy::is_suspicious(token)
        };
        if blanks == 0 || !looks || self.is_spoken_of(token) {
            return Found::No;
        }
        let run = if run == MAX_JUDGED_BYTES { TOKEN.run(rest) } else { run };
        if start + run == text.len() && !last {
            return Found::Open(start);
        }
        let stop = usize::from(run > 0 && rest.get(run - 1) == Some(&b'.'));
        let rule = self.any_shape(text, start).map_or(rules::AUTHORIZATION, |span| span.rule);
        Found::Yes(Span { start, end: start + run - stop, rule })
    }
}

/// `%3A%2F%2Fuser%3Apassword%40host`
fn encoded_url(text: &[u8], start: usize, last: bool) -> Found {
    let rest = text.get(start..).unwrap_or_default();
    let run = CharSet::of(b"0-9A-Za-z%_.~+!-").run(rest.get(..512).unwrap_or(rest));
    if run == rest.len() && !last && run < 512 {
        return Found::Open(start);
    }
    let part = rest.get(..run).unwrap_or_default();
    let find =
        |wanted: &[u8]| part.windows(3).position(|window| window.eq_ignore_ascii_case(wanted));
    match (find(b"%3A"), find(b"%40")) {
        (Some(colon), Some(at))
            if colon + 3 < at && find(b"%2F").is_none_or(|slash| slash > at) =>
        {
            let rule = rules::URL_PASSWORD;
            Found::Yes(Span { start: start + colon + 3, end: start + at, rule })
        }
        _ => Found::No,
    }
}
