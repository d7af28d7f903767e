//! Logs as hostile jobs write them, in pieces as a pipe gives them.
#![no_main]

use fetchml_policies::secrets::{self, Piece, Redactor, Rules};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RULES: LazyLock<Rules> =
    LazyLock::new(|| secrets::load::<&str>(&[]).expect("the vendor's rules are sound"));
const INJECTED: &[u8] = b"s3cr?t w/ \"x\"";

fn redacted(pieces: &[&[u8]]) -> Vec<u8> {
    let mut redactor = Redactor::new(&RULES, &[INJECTED.to_vec()]);
    let mut result = Vec::new();
    let mut out = |piece: Piece<'_>| match piece {
        Piece::Text(text) => result.extend_from_slice(text),
        Piece::Secret(rule) => result.extend_from_slice(RULES.marker(rule).as_bytes()),
    };
    for piece in pieces {
        redactor.feed(&RULES, piece, &mut out);
    }
    redactor.finish(&RULES, &mut out);
    result
}

fuzz_target!(|input: (Vec<u8>, u16, u16)| {
    let (text, first, second) = input;
    let (first, second) = (usize::from(first) % (text.len() + 1), usize::from(second));
    let (one, rest) = text.split_at(first);
    let (two, three) = rest.split_at(second % (rest.len() + 1));
    let result = redacted(&[one, two, three]);
    // What is longer than what is held back may be cut differently.
    if text.len() < 4096 {
        assert_eq!(result, redacted(&[&text]));
    }
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&result), lines(&text));
    assert!(!result.windows(INJECTED.len()).any(|window| window == INJECTED));
});
