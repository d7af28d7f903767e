//! Secrets known by heart that begin in another one, wherever the text is cut.

use crate::rules::tests::vendor;
use crate::stream::tests::redacted;
use crate::{Piece, Redactor};

const INJECTED: &str = "pa$$w0rd-1234";

/// What is shown when so many bytes come first, then the rest in pieces of this size.
fn shown(text: &str, first: usize, size: usize, injected: &str) -> String {
    let (one, rest) = text.as_bytes().split_at(first);
    let pieces: Vec<&[u8]> = std::iter::once(one).chain(rest.chunks(size)).collect();
    redacted(&pieces, &[injected.as_bytes().to_vec()])
}

#[test]
fn an_injected_secret_behind_a_token_that_is_too_long_is_gone_as_a_whole() {
    let long = "q".repeat(5000);
    for (before, after, hidden) in [
        ("password=", " x\n", "password=[redacted:named-secret] x\n"),
        ("password=\"", "\" x\n", "password=\"[redacted:named-secret]\" x\n"),
        ("{\"token\": \"Zq9", "\", \"n\": 1}\n", ""),
        ("sk-Ab1xY9kQ", " x\n", "[redacted:sk-api-key] x\n"),
    ] {
        let body = if before.contains("Zq9") { "aB3dE5".repeat(850) } else { long.clone() };
        let line = format!("{before}{body}{INJECTED}{after}");
        let end = before.len() + body.len();
        let hidden = match hidden {
            "" => "{\"token\": \"[redacted:named-secret]\", \"n\": 1}\n",
            hidden => hidden,
        };
        for first in end - 3..line.len() {
            for size in [1, 3, line.len()] {
                let text = shown(&line, first, size, INJECTED);
                assert_eq!(text, hidden, "{before} {first} {size}");
            }
        }
        // Small pieces from the first on: it is cut where so much was held back.
        for first in 0..40 {
            let text = shown(&line, first, 997, INJECTED);
            assert_eq!(text, hidden, "{before} {first}");
        }
    }
}

#[test]
fn one_that_goes_on_behind_the_token_is_gone_as_well() {
    for injected in ["horse battery staple", "pa\"x rest of it", "a b c d e f"] {
        for before in ["password=\"", "token: ", "sk-", "-----BEGIN PRIVATE KEY-----\n"] {
            let close = if before.ends_with('"') { "\"" } else { "" };
            let line = format!("{before}{}{injected}{close} end\n", "Ab1xY9kQ".repeat(640));
            for first in (0..60).chain(line.len() - 40..line.len()) {
                let text = shown(&line, first, 4099, injected);
                for word in injected.split([' ', '"']) {
                    assert!(word.len() < 3 || !text.contains(word), "{first} {before} {text}");
                }
                assert!(text.ends_with(" end\n"), "{first} {before} {text}");
            }
        }
    }
}

#[test]
fn one_that_begins_in_the_line_of_a_key_is_gone_to_its_end() {
    let injected = "q7Lk9Zx2\nw0rds so";
    let key = format!(
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq3{injected} and more, here\nthe next line\n"
    );
    for first in 0..key.len() {
        for size in [1, 7, key.len()] {
            let text = shown(&key, first, size, injected);
            assert!(!text.contains("w0rds"), "{first} {size} {text}");
            assert!(text.ends_with(" and more, here\nthe next line\n"), "{first} {size} {text}");
        }
    }
}

#[test]
fn what_only_begins_as_an_injected_secret_is_shown_again_at_once() {
    let mut redactor = Redactor::new(vendor(), &[INJECTED.as_bytes().to_vec()]);
    let mut text = Vec::new();
    let mut out = |piece: Piece<'_>| {
        if let Piece::Text(more) = piece {
            text.extend_from_slice(more);
        }
    };
    let long = format!("password=\"{}pa", "q".repeat(5000));
    redactor.feed(vendor(), long.as_bytes(), &mut out);
    redactor.feed(vendor(), b"$$", &mut out);
    redactor.feed(vendor(), b"nothing\" and more\n", &mut out);
    redactor.finish(vendor(), &mut out);
    assert_eq!(String::from_utf8_lossy(&text), "password=\"$$nothing\" and more\n");
}
