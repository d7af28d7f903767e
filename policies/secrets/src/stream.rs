//! Blotting out secrets while a text goes by.

use crate::grams::{Filter, GRAM_BYTES, Gram, Table, gram};
use crate::rules::{self, Rules};
use crate::scan::{CONTEXT_BYTES, Carry, Finder, Found, HOLD_BYTES, Manner, RuleId, Span};
use std::collections::BTreeSet;

/// A shorter secret would be found in every other line.
const MIN_INJECTED_BYTES: usize = 6;
/// Lines of a longer secret that are looked for by themselves.
const MIN_LINE_BYTES: usize = 12;

/// Secrets that are known by heart, in every form in which a program shows them.
#[derive(Debug)]
pub(crate) struct Injected {
    pub(crate) table: Table,
    forms: Vec<Box<[u8]>>,
}

impl Injected {
    fn new(secrets: &[Vec<u8>]) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            let secret = secret.trim_ascii_end();
            let lines = secret.split(|b| *b == b'\n').map(|line| line.trim_ascii());
            let long = lines.filter(|line| line.len() >= MIN_LINE_BYTES);
            for text in std::iter::once(secret).chain(long) {
                if text.len() >= MIN_INJECTED_BYTES {
                    forms.extend(spellings(text));
                }
            }
        }
        // The longest first, so that a part does not hide the whole.
        let mut forms: Vec<Box<[u8]>> = forms.into_iter().map(Vec::into_boxed_slice).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.truncate(usize::from(u16::MAX));
        let entries = forms
            .iter()
            .zip(0u16..)
            .filter_map(|(form, number)| Some((gram(*form.first_chunk::<GRAM_BYTES>()?), number)));
        let table = Table::new(entries.collect::<Vec<(Gram, u16)>>());
        Self { table, forms }
    }

    pub(crate) fn at(&self, text: &[u8], at: usize, gram: Gram, last: bool) -> Found {
        let rest = text.get(at..).unwrap_or_default();
        let mut open = false;
        for form in self.table.targets(gram).filter_map(|n| self.forms.get(usize::from(n))) {
            if rest.starts_with(form) {
                // A longer form may still come.
                return if open {
                    Found::Open
                } else {
                    let end = at + form.len();
                    Found::Yes(Span { start: at, end, rule: rules::INJECTED })
                };
            }
            open |= !last && form.starts_with(rest);
        }
        if open { Found::Open } else { Found::No }
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

const BASE64: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The digits that the secret alone decides, when so many bytes (mod 3) stand
/// before it in what was encoded.
fn base64_inside(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
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

/// One step of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text as it is.
    Text(&'t [u8]),
    /// Here was a secret.
    Secret(RuleId),
}

/// Takes the secrets out of a text that comes in pieces. What may be the beginning
/// of one, at most 4 KiB, is held back until it is decided.
#[derive(Debug)]
pub struct Redactor {
    filter: Filter,
    injected: Option<Injected>,
    /// Context that was given out, then what is held back.
    kept: Vec<u8>,
    /// Where in it the latter begins.
    held_from: usize,
    carry: Carry,
    spans: Vec<Span>,
}

impl Redactor {
    /// For one text. `injected` are secrets to take out wherever they stand.
    #[must_use]
    pub fn new(rules: &Rules, injected: &[Vec<u8>]) -> Self {
        let injected = (!injected.is_empty()).then(|| Injected::new(injected));
        let mut tables = vec![&rules.data.table];
        tables.extend(injected.as_ref().map(|injected| &injected.table));
        Self {
            filter: Filter::of(&tables),
            injected,
            kept: Vec::new(),
            held_from: 0,
            carry: Carry::Nothing,
            spans: Vec::new(),
        }
    }

    /// Whether something is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held_from < self.kept.len()
    }

    /// Takes the next piece of the text, and gives out what is decided.
    pub fn feed(&mut self, rules: &Rules, text: &[u8], out: impl FnMut(Piece<'_>)) {
        self.go(rules, text, false, out);
    }

    /// Gives out the rest: nothing follows.
    pub fn finish(&mut self, rules: &Rules, out: impl FnMut(Piece<'_>)) {
        self.go(rules, &[], true, out);
        self.kept.clear();
        self.held_from = 0;
        self.carry = Carry::Nothing;
    }

    fn go(&mut self, rules: &Rules, text: &[u8], last: bool, mut out: impl FnMut(Piece<'_>)) {
        // Only the beginning is put behind what was kept; the rest is read in place.
        let mut text = text;
        if !self.kept.is_empty() {
            let joined = (2 * HOLD_BYTES).min(text.len());
            self.kept.extend_from_slice(text.get(..joined).unwrap_or_default());
            let is_all = joined == text.len();
            let kept = std::mem::take(&mut self.kept);
            let decided = self.search(rules, &kept, self.held_from, last && is_all, &mut out);
            if is_all {
                self.keep(kept, decided);
                return;
            }
            // The end of the joined piece lies in `text` as well: go on there.
            let left = kept.len() - decided;
            if left <= joined {
                text = text.get(joined - left..).unwrap_or_default();
                let before = decided.saturating_sub(CONTEXT_BYTES);
                let before = kept.get(before..decided).unwrap_or_default();
                return self.go_behind(rules, before, text, last, out);
            }
            self.keep(kept, decided);
            return self.go(rules, text.get(joined..).unwrap_or_default(), last, out);
        }
        let decided = self.search(rules, text, 0, last, &mut out);
        self.keep_end(text, decided);
    }

    /// The search in place, with context that lies elsewhere: it matters for the
    /// first names alone, so the first line is searched in a copy.
    fn go_behind(
        &mut self,
        rules: &Rules,
        before: &[u8],
        text: &[u8],
        last: bool,
        mut out: impl FnMut(Piece<'_>),
    ) {
        let mut first = before.to_vec();
        let taken = text.len().min(HOLD_BYTES + CONTEXT_BYTES);
        first.extend_from_slice(text.get(..taken).unwrap_or_default());
        let is_all = taken == text.len();
        let decided = self.search(rules, &first, before.len(), last && is_all, &mut out);
        if is_all || decided < before.len() + CONTEXT_BYTES {
            self.keep(first, decided);
            if !is_all {
                self.go(rules, text.get(taken..).unwrap_or_default(), last, out);
            }
            return;
        }
        let from = decided - before.len();
        let decided = self.search(rules, text, from, last, &mut out);
        self.keep_end(text, decided);
    }

    /// Searches `text` from `from` on and gives out what is decided.
    fn search(
        &mut self,
        rules: &Rules,
        text: &[u8],
        from: usize,
        last: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) -> usize {
        let Self { filter, injected, carry, spans, .. } = self;
        let finder = Finder { rules, filter, injected: injected.as_ref(), manner: Manner::Log };
        spans.clear();
        let decided = finder.find(text, from, last, carry, spans);
        let mut at = from;
        for span in spans.iter() {
            let plain = text.get(at..span.start).unwrap_or_default();
            if !plain.is_empty() {
                out(Piece::Text(plain));
            }
            if span.rule != RuleId(u16::MAX) {
                out(Piece::Secret(span.rule));
            }
            at = span.end;
        }
        let plain = text.get(at..decided).unwrap_or_default();
        if !plain.is_empty() {
            out(Piece::Text(plain));
        }
        decided.max(at)
    }

    fn keep(&mut self, mut kept: Vec<u8>, decided: usize) {
        let before = decided.saturating_sub(CONTEXT_BYTES);
        kept.drain(..before);
        self.kept = kept;
        self.held_from = decided - before;
    }

    fn keep_end(&mut self, text: &[u8], decided: usize) {
        let before = decided.saturating_sub(CONTEXT_BYTES);
        self.kept.clear();
        self.kept.extend_from_slice(text.get(before..).unwrap_or_default());
        self.held_from = decided - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::vendor;
    use proptest::prelude::*;

    fn redacted(pieces: &[&[u8]], injected: &[Vec<u8>]) -> String {
        let mut redactor = Redactor::new(vendor(), injected);
        let mut result = Vec::new();
        let mut out = |piece: Piece<'_>| match piece {
            Piece::Text(text) => result.extend_from_slice(text),
            Piece::Secret(rule) => result.extend_from_slice(vendor().marker(rule).as_bytes()),
        };
        for piece in pieces {
            redactor.feed(vendor(), piece, &mut out);
        }
        redactor.finish(vendor(), &mut out);
        String::from_utf8_lossy(&result).into_owned()
    }

    fn whole(text: &str) -> String {
        redacted(&[text.as_bytes()], &[])
    }

    #[test]
    fn every_spelling_of_an_assignment() {
        let secret = "hunter2-Zq9";
        for line in [
            "password=@",
            "password: @",
            "\"password\": \"@\"",
            "{'password': '@', 'user': 'bob'}",
            "DB_PASSWORD=@ next=1",
            "{\\\"password\\\":\\\"@\\\",\\\"a\\\":1}",
            "--password @ --lr 0.1",
            "--password=@",
            "GET /x?user=a&password=@&b=1",
            "\u{1b}[32mpassword\u{1b}[0m=\u{1b}[1m@\u{1b}[0m end",
            "X-Api-Key: @",
            "api_key='@', n=1)",
            "  password:   @   # note",
            "('password', '@')",
            "Server=db;Password=@;Port=1",
            "<password>@</password>",
            "password => \"@\"",
            "password is @",
            "os.environ[\"HF_TOKEN\"] = \"@\"",
            "Authorization: Bearer @",
            "secret='@'",
            "client_secret:@",
            "line\\npassword=@\\nnext",
            "password := @",
            "SecretConfig(password='@', n=3)",
        ] {
            let line = format!("see {line} fin");
            let hidden = whole(&line.replace('@', secret));
            assert!(!hidden.contains(secret), "{line}: {hidden}");
            let (before, after) = line.split_once('@').expect("a place");
            assert!(hidden.starts_with(before), "{line}: {hidden}");
            assert!(hidden.ends_with(after), "{line}: {hidden}");
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for line in [
            "max_tokens=4096 tokens: 512 tokens/s: 33.4",
            "pad_token='<pad>' eos_token_id=2",
            "password=******** token=[REDACTED]",
            "api_key=None secret: null",
            "password: ${DB_PASSWORD}",
            "password_file=/run/secrets/x",
            "token: /root/.cache/huggingface/token",
            "pin_memory=True",
            "password must be at least 8 characters",
            "invalid password: must not be empty",
            "key: value",
            "https://example.org/a?b=c postgres://localhost:5432/db",
            "git@github.com:a/b.git",
            "auth=None",
            "Your token has been saved to /root/.cache/huggingface/token",
            "Token is valid (permission: write).",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "passed: 12, bypass=1",
            "token = os.environ['HF_TOKEN']",
            "next token: hello",
            "secret santa",
            "use_auth_token=False",
        ] {
            assert_eq!(whole(line), line);
        }
    }

    #[test]
    fn keys_in_armour_lose_all_lines_and_no_line_end() {
        let text = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq3\nMIIEpAIBAAKCAQEA7bq3\n-----END RSA PRIVATE KEY-----\nb\n";
        let marker = "[redacted:private-key]";
        assert_eq!(whole(text), format!("a\n--{marker}\n{marker}\n{marker}\n{marker}\nb\n"));
    }

    #[test]
    fn injected_secrets_in_each_form() {
        let secret = b"s3cr?t w/ \"x\"".to_vec();
        for before in ["", "a", "ab"] {
            let plain = [before.as_bytes(), &secret, b"tail"].concat();
            let mut digits = base64_inside(&plain, 0, &BASE64);
            digits.truncate(plain.len() * 8 / 6);
            let text = String::from_utf8(digits).expect("ASCII");
            let hidden = redacted(&[text.as_bytes()], std::slice::from_ref(&secret));
            assert!(hidden.contains("[redacted:injected-secret]"), "{text} {hidden}");
        }
        for form in ["s3cr?t w/ \"x\"", "s3cr%3Ft%20w%2F%20%22x%22", "s3cr?t w/ \\\"x\\\""] {
            let hidden =
                redacted(&[format!("x {form} y").as_bytes()], std::slice::from_ref(&secret));
            assert_eq!(hidden, "x [redacted:injected-secret] y", "{form}");
        }
    }

    #[test]
    fn nothing_is_held_that_can_be_no_secret() {
        let mut redactor = Redactor::new(vendor(), &[]);
        let mut shown = Vec::new();
        let mut feed = |text: &str| {
            let mut out = |piece: Piece<'_>| {
                if let Piece::Text(text) = piece {
                    shown.extend_from_slice(text);
                }
            };
            redactor.feed(vendor(), text.as_bytes(), &mut out);
            shown.len()
        };
        assert_eq!(feed("Epoch 1: "), 9);
        assert_eq!(feed("loss 0.25\n"), 19);
        assert_eq!(feed("x password="), 21, "the name waits for its value");
    }

    #[test]
    fn a_token_longer_than_what_is_held_is_gone_to_its_end() {
        let long = format!("a sk-{} b\n", "Ab1xY9kQ".repeat(15_000));
        for size in [100, 5000, 65_536] {
            let pieces: Vec<&[u8]> = long.as_bytes().chunks(size).collect();
            assert_eq!(redacted(&pieces, &[]), "a [redacted:sk-api-key] b\n", "{size}");
        }
    }

    proptest! {
        /// Wherever a text is cut, the result is the same.
        #[test]
        fn pieces_change_nothing(
            words in proptest::collection::vec(prop_oneof![
                Just("password=hunter2 "), Just("\n"), Just("\"api_key\": \"abc\\\"d\", "), Just("://bob:pa@host/ "),
                Just("-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq3\n-----END PRIVATE KEY-----\n"),
                Just("AKIAQ3EGZX7K2M4N5P6R "), Just("Bearer abc123def456ghi7 "), Just("token: x is y "),
                Just("loss=0.25 step=3 "), Just("Cookie: a=b; c=d\n"), Just("https://h:1/p "), Just("se"), Just("\u{1b}[1m"),
            ], 0..40),
            cuts in proptest::collection::vec(1usize..60, 1..80),
        ) {
            let text = words.concat();
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(redacted(&pieces, &[]), whole(&text));
        }
    }
}
