//! Passwords in URLs: `scheme://user:password@host`.

use crate::entropy;
use crate::work;

/// Where the secret of a URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserInfo {
    None,
    /// From here to there.
    Secret(usize, usize),
    /// The text ends before it is decided.
    Open,
}

/// Looks at what follows the `://` that ends before `start`.
pub(crate) fn user_info(text: &[u8], start: usize, last: bool) -> UserInfo {
    const ENDS: &[u8] = b" \t\r\n\"'<>`\\|\x1b,;(){}";
    let rest = text.get(start..).unwrap_or_default();
    // A reference in the place of the password has braces of its own.
    let mut end = None;
    let mut depth = 0usize;
    let mut host_begins = None;
    for (at, byte) in rest.iter().enumerate().take(512) {
        work::read(1);
        match byte {
            b'{' if at > 0 && rest[at - 1] == b'$' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'@' => host_begins = Some(at),
            b'/' | b'?' | b'#' if depth == 0 && (host_begins.is_some() || !later_at(rest, at)) => {
                end = Some(at);
                break;
            }
            _ if depth == 0 && ENDS.contains(byte) && !is_inside(rest, at) => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    // An `@` that is yet to come may say otherwise of what seemed to be the end.
    let seen = end.map_or(512, |end| if host_begins.is_none() { end + WINDOW_BYTES } else { end });
    let may_go_on = end.is_none_or(|end| {
        let before = rest.get(..end).unwrap_or_default();
        // Only a path is told from a password by the port before it.
        let is_path = matches!(rest.get(end), Some(b'/' | b'?' | b'#'));
        if is_path { has_colon(before) } else { before.contains(&b':') }
    });
    if may_go_on && !last && rest.len() < seen && !is_over(rest, end) {
        return UserInfo::Open;
    }
    let Some(at) = host_begins else { return UserInfo::None };
    let info = rest.get(..at).unwrap_or_default();
    match info.iter().position(|byte| *byte == b':') {
        Some(colon) if colon + 1 < at => UserInfo::Secret(start + colon + 1, start + at),
        Some(_) => UserInfo::None,
        // A token as the user, as git and Sentry have it.
        None if info.len() >= 16 && entropy::is_suspicious(info) => {
            UserInfo::Secret(start, start + at)
        }
        None => UserInfo::None,
    }
}

/// How far ahead an `@` is looked for.
const WINDOW_BYTES: usize = 48;

/// A user and the beginning of a password, not a host and its port.
fn has_colon(before: &[u8]) -> bool {
    let colon = before.iter().position(|byte| *byte == b':');
    let after = colon.and_then(|colon| before.get(colon + 1..));
    after.is_some_and(|after| after.is_empty() || !after.iter().all(u8::is_ascii_digit))
}

/// Whether something that no URL goes on behind has been seen.
fn is_over(rest: &[u8], end: Option<usize>) -> bool {
    let behind = end.and_then(|end| rest.get(end..)).unwrap_or_default();
    behind.iter().any(|byte| b" \t\r\n\"'<>`".contains(byte))
}

/// A password may have a slash that should have been escaped: then an `@` follows
/// soon, after a colon, and before anything that ends a URL.
fn later_at(rest: &[u8], slash: usize) -> bool {
    let before = rest.get(..slash).unwrap_or_default();
    let Some(colon) = before.iter().position(|b| *b == b':') else { return false };
    // A port is no password.
    let after_colon = before.get(colon + 1..).unwrap_or_default();
    if after_colon.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let window = rest.get(slash..(slash + WINDOW_BYTES).min(rest.len())).unwrap_or_default();
    let stop = window.iter().position(|b| b" \t\r\n\"'<>`?".contains(b)).unwrap_or(window.len());
    window.get(..stop).unwrap_or_default().contains(&b'@')
}

/// Some characters that usually end a URL are within a password when an `@` follows
/// before the next blank.
fn is_inside(rest: &[u8], at: usize) -> bool {
    if !matches!(rest.get(at), Some(b',' | b';' | b'(' | b')' | b'{' | b'}' | b'|')) {
        return false;
    }
    let before = rest.get(..at).unwrap_or_default();
    if before.contains(&b'@') || !before.contains(&b':') {
        return false;
    }
    let window = rest.get(at..(at + WINDOW_BYTES).min(rest.len())).unwrap_or_default();
    let stop = window.iter().position(|b| b" \t\r\n\"'<>`/".contains(b)).unwrap_or(window.len());
    window.get(..stop).unwrap_or_default().contains(&b'@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(text: &str) -> Option<&str> {
        match user_info(text.as_bytes(), text.find("://").expect("a URL") + 3, true) {
            UserInfo::Secret(start, end) => text.get(start..end),
            _ => None,
        }
    }

    #[test]
    fn the_password_alone() {
        assert_eq!(secret("postgres://bob:s3cr@t@db:5432/x"), Some("s3cr@t"));
        assert_eq!(secret("redis://:pa/ss@cache/0"), Some("pa/ss"));
        assert_eq!(secret("see https://a:${PW}@h/p."), Some("${PW}"));
        for none in [
            "https://example.org/a@b",
            "http://h:8080/x?m=a@b",
            "git+ssh://git@host/x.git",
            "s3://bucket/key",
            "http://localhost:5432/db",
            "https://host/@scope/pkg",
        ] {
            assert_eq!(secret(none), None, "{none}");
        }
        let text = b"http://bob:ab";
        assert_eq!(user_info(text, 7, false), UserInfo::Open);
        let text = b"http://bob:123{";
        assert_eq!(user_info(text, 7, false), UserInfo::Open);
    }

    proptest! {
        /// What is decided of a beginning stays true whatever follows.
        #[test]
        fn a_beginning_is_decided_as_the_whole_is(rest in "[ab1:/@?#{}$,;(| \\\\]{0,120}") {
            let text = format!("://{rest}");
            let whole = user_info(text.as_bytes(), 3, true);
            for end in 3..text.len() {
                let begun = user_info(&text.as_bytes()[..end], 3, false);
                prop_assert!(begun == UserInfo::Open || begun == whole, "{:?} {:?}", &text[..end], begun);
            }
        }
    }
}
