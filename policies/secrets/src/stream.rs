//! Blotting out secrets while a text goes by.

use crate::grams::Filter;
use crate::injected::Injected;
use crate::pattern::Runs;
use crate::rules::Rules;
use crate::scan::{CONTEXT_BYTES, Carry, Finder, HOLD_BYTES, Manner, RuleId, Span};
use alloc::boxed::Box;
use alloc::vec::Vec;

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
    injected: Option<Known>,
    /// Context that was given out, then what is undecided.
    kept: Vec<u8>,
    /// Where in it the latter begins.
    held_from: usize,
    /// Up to where it was given out all the same ([`Self::release`]).
    shown: usize,
    /// Up to where it may be.
    showable: usize,
    carry: Carry,
    spans: Vec<Span>,
}

/// Injected secrets, and a filter that sees them.
#[derive(Debug)]
struct Known {
    secrets: Injected,
    filter: Box<[u8]>,
}

impl Redactor {
    /// For one text. `injected` are secrets to take out wherever they stand.
    #[must_use]
    pub fn new(rules: &Rules, injected: &[Vec<u8>]) -> Self {
        let injected = (!injected.is_empty()).then(|| {
            let secrets = Injected::new(injected);
            let filter = rules.filter().and(secrets.grams());
            Known { secrets, filter }
        });
        Self {
            injected,
            kept: Vec::new(),
            held_from: 0,
            shown: 0,
            showable: 0,
            carry: Carry::Nothing,
            spans: Vec::new(),
        }
    }

    /// Whether [`Self::release`] would give something out.
    #[must_use]
    pub fn can_release(&self) -> bool {
        self.shown < self.showable
    }

    /// Gives out what is held back, as far as no secret can be in it: of `password=` the
    /// name, of a word that is not at its end what is there. For a text that somebody
    /// watches and that has not gone on for a while. What is decided later is decided as
    /// if nothing had been given out.
    pub fn release(&mut self, mut out: impl FnMut(Piece<'_>)) {
        if let Some(held @ [_, ..]) = self.kept.get(self.shown..self.showable) {
            out(Piece::Text(held));
            self.shown = self.showable;
        }
    }

    /// Takes the next piece of the text, and gives out what is decided.
    pub fn feed(&mut self, rules: &Rules, text: &[u8], out: impl FnMut(Piece<'_>)) {
        self.go(rules, text, false, out);
    }

    /// Gives out the rest: nothing follows.
    pub fn finish(&mut self, rules: &Rules, out: impl FnMut(Piece<'_>)) {
        self.go(rules, &[], true, out);
        self.kept.clear();
        (self.held_from, self.shown, self.showable) = (0, 0, 0);
        self.carry = Carry::Nothing;
    }

    fn go(&mut self, rules: &Rules, text: &[u8], last: bool, mut out: impl FnMut(Piece<'_>)) {
        // Only the beginning is put behind what was kept; the rest is read in place.
        let mut text = text;
        if !self.kept.is_empty() {
            let joined = (2 * HOLD_BYTES).min(text.len());
            self.kept.extend_from_slice(text.get(..joined).unwrap_or_default());
            let is_all = joined == text.len();
            let kept = core::mem::take(&mut self.kept);
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
        self.shown = 0;
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
        self.shown = 0;
        let decided = self.search(rules, &first, before.len(), last && is_all, &mut out);
        if is_all || decided < before.len() + CONTEXT_BYTES {
            self.keep(first, decided);
            if !is_all {
                self.go(rules, text.get(taken..).unwrap_or_default(), last, out);
            }
            return;
        }
        let from = decided - before.len();
        self.shown = 0;
        let decided = self.search(rules, text, from, last, &mut out);
        self.keep_end(text, decided);
    }

    /// Searches `text` from `from` on and gives out what is decided and not shown yet.
    fn search(
        &mut self,
        rules: &Rules,
        text: &[u8],
        from: usize,
        last: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) -> usize {
        let Self { injected, carry, spans, .. } = self;
        let known = injected.as_ref();
        // Made from the rules' own filter, it has that one's length.
        let filter = known.and_then(|known| Filter::of(&known.filter));
        let finder = Finder {
            rules,
            filter: filter.unwrap_or_else(|| rules.filter()),
            injected: known.map(|known| &known.secrets),
            manner: Manner::Log,
            runs: &Runs::default(),
        };
        spans.clear();
        let decided = finder.find(text, from, last, carry, spans);
        let mut at = from.max(self.shown);
        for span in spans.iter().filter(|span| span.end > self.shown) {
            let plain = text.get(at..span.start).unwrap_or_default();
            if !plain.is_empty() {
                out(Piece::Text(plain));
            }
            if span.rule != RuleId(u16::MAX) {
                out(Piece::Secret(span.rule));
            }
            at = span.end;
        }
        let plain = text.get(at..decided.until).unwrap_or_default();
        if !plain.is_empty() {
            out(Piece::Text(plain));
        }
        self.shown = self.shown.max(decided.until);
        self.showable = decided.harmless_until;
        decided.until
    }

    fn keep(&mut self, mut kept: Vec<u8>, decided: usize) {
        kept.drain(..self.forget(decided));
        self.kept = kept;
    }

    fn keep_end(&mut self, text: &[u8], decided: usize) {
        let before = self.forget(decided);
        self.kept.clear();
        self.kept.extend_from_slice(text.get(before..).unwrap_or_default());
    }

    /// Places are counted from the first byte of the context; the result is where that is.
    fn forget(&mut self, decided: usize) -> usize {
        let before = decided.saturating_sub(CONTEXT_BYTES);
        self.held_from = decided - before;
        self.shown = self.shown.saturating_sub(before);
        self.showable = self.showable.saturating_sub(before);
        before
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::injected::{BASE64, base64_inside};
    use crate::rules::tests::vendor;
    use proptest::prelude::*;

    pub(crate) fn redacted(pieces: &[&[u8]], injected: &[Vec<u8>]) -> String {
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
            "PWD=/work OLDPWD=/data/scans pwd: /work",
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
        assert_eq!(feed("Epoch 1: "), 8, "an option may follow the blank");
        assert_eq!(feed("loss 0.25\n"), 19);
        assert_eq!(feed("x password="), 21, "the name waits for its value");
    }

    /// What each piece gives out, and what is shown when nothing follows for a while.
    fn watched(pieces: &[&str], injected: &[Vec<u8>]) -> Vec<String> {
        let mut redactor = Redactor::new(vendor(), injected);
        let mut shown = Vec::new();
        for piece in pieces.iter().map(Some).chain([None]) {
            let mut text = Vec::new();
            let mut out = |piece: Piece<'_>| match piece {
                Piece::Text(more) => text.extend_from_slice(more),
                Piece::Secret(rule) => text.extend_from_slice(vendor().marker(rule).as_bytes()),
            };
            match piece {
                Some(piece) => redactor.feed(vendor(), piece.as_bytes(), &mut out),
                None => redactor.finish(vendor(), &mut out),
            }
            redactor.release(&mut out);
            assert!(!redactor.can_release());
            shown.push(String::from_utf8_lossy(&text).into_owned());
        }
        shown
    }

    #[test]
    fn who_watches_sees_all_that_can_be_no_secret() {
        let bar = ["\r 47%|####", "  | loss", "=0.2", "5 tok", "ens: 12", " it/s"];
        let rest = ["\r 47%|####", "  | loss", "=0.2", "5 tok", "ens: ", "12 it/s", ""];
        assert_eq!(watched(&bar, &[]), rest, "a number waits, it might be a PIN");
        let name = ["x pass", "word", "=hunt", "er2-Zq9 y"];
        let shown = ["x pass", "word", "=", "[redacted:named-secret] y", ""];
        assert_eq!(watched(&name, &[]), shown);
        let key = ["a gh", "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq", "17\n"];
        assert_eq!(watched(&key, &[]), ["a gh", "", "[redacted:github-token]\n", ""]);
        let injected = ["it is ho", "rse-batt", "ery", " end"];
        let secrets = [b"horse-battery".to_vec()];
        let shown = ["it is ", "", "[redacted:injected-secret]", " end", ""];
        assert_eq!(watched(&injected, &secrets), shown);
    }

    #[test]
    fn what_tells_a_key_may_stand_at_its_end() {
        let key = format!("{}+AStQxIzAw==", "aB3/".repeat(19));
        let line = format!("key {key} fin");
        let hidden = "key [redacted:azure-storage-key] fin";
        for cut in 1..line.len() {
            let (one, other) = line.split_at(cut);
            assert_eq!(redacted(&[one.as_bytes(), other.as_bytes()], &[]), hidden, "{cut}");
            // A key that stops within its first bytes is not told from a word.
            let shown = watched(&[one, other], &[]).concat();
            assert!(!shown.contains("aB3/aB3/aB3/aB3/aB3/"), "{cut}: {shown}");
        }
    }

    #[test]
    fn what_stands_before_the_end_of_a_key_is_not_given_out_for_want_of_what_follows() {
        for (key, rule) in [
            (format!("{}+AStQxIzAw==", "aB3/".repeat(19)), "azure-storage-key"),
            ("9f3b1c7e5a2d48f6b0c1d2e3f4a5b697-us12".to_owned(), "mailchimp-key"),
        ] {
            let line = format!("conn {key}\n");
            for cut in 6..line.len() {
                let (one, other) = line.split_at(cut);
                let shown = redacted(&[one.as_bytes(), other.as_bytes()], &[]);
                assert_eq!(shown, format!("conn [redacted:{rule}]\n"), "{cut}");
            }
        }
    }

    #[test]
    fn what_begins_as_a_rule_has_it_ends_as_the_injected_secret_does() {
        for secret in ["correct horse battery staple", "Zq9\"x; rest<of>it", "a&b&c&d&e&f"] {
            let injected = [secret.as_bytes().to_vec()];
            for name in ["password=", "password: ", "token = ", ""] {
                let line = format!("{name}{secret} end\n");
                let whole = redacted(&[line.as_bytes()], &injected);
                for word in secret.split([' ', ';', '&', '<', '>', '"']).filter(|w| w.len() > 3) {
                    assert!(!whole.contains(word), "{line:?} {whole:?}");
                }
                for cut in 1..line.len() {
                    let (one, other) = line.split_at(cut);
                    let shown = redacted(&[one.as_bytes(), other.as_bytes()], &injected);
                    assert_eq!(shown, whole, "{cut}");
                }
            }
        }
    }

    #[test]
    fn an_injected_secret_longer_than_what_is_held_is_gone_as_well() {
        let mut lot = 1u32;
        let mut draw = || {
            lot = lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + lot.to_be_bytes()[1] % 90)
        };
        let secret: String = (0..8192).map(|_| draw()).collect();
        let injected = [secret.clone().into_bytes()];
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for text in [secret, hex] {
            let line = format!("x {text} y\n");
            for size in [100, 1000, 5000, 70_000] {
                let pieces: Vec<&[u8]> = line.as_bytes().chunks(size).collect();
                let shown = redacted(&pieces, &injected);
                let left = shown.replace("[redacted:injected-secret]", "");
                assert_eq!(left, "x  y\n", "{size}");
            }
        }
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
            let pieces: Vec<_> = pieces.iter().map(|p| str::from_utf8(p).expect("ASCII")).collect();
            let shown = watched(&pieces, &[]).concat();
            for secret in ["hunter2", "abc\\\"d", "MIIEpAIBAAKCAQEA7bq3", "AQ3EGZX7K2M4N5P6R", "123def456"] {
                prop_assert!(whole(&text).contains(secret) || !shown.contains(secret), "{} in {:?}", secret, shown);
            }
        }
    }
}
