//! What the name of a value says about it: `db_password` holds a secret,
//! `password_file` and `max_tokens` hold none.

use crate::rules::Rules;
use crate::source::NameSource;
use serde::{Deserialize, Serialize};

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The value is a secret, however weak.
    Secret,
    /// `token` without a word that says which: a secret, or a piece of text.
    Token,
    /// The value is a secret if it looks like one.
    Maybe,
    /// The value is about a secret, or counts something.
    Harmless,
    /// The value is a digest or an identifier.
    Digest,
    /// The name says nothing.
    Unknown,
}

const SECRET: u16 = 1;
const WEAK: u16 = 1 << 1;
const TOKEN: u16 = 1 << 2;
const KEY: u16 = 1 << 3;
const MAKES: u16 = 1 << 4;
const COUNTED: u16 = 1 << 5;
const PLAIN: u16 = 1 << 6;
const ABOUT: u16 = 1 << 7;
const DIGEST: u16 = 1 << 8;
const NEUTRAL: u16 = 1 << 9;
const ASKS: u16 = 1 << 10;

/// Longest name that is looked at; more words than this are not a name.
pub(crate) const MAX_NAME_BYTES: usize = 96;
const MAX_WORDS: usize = 12;
const MAX_WORD_BYTES: usize = 24;

/// Words, and what each does to a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    /// In ascending order.
    flags: Vec<(Box<str>, u16)>,
    /// Two words with a space between them, in ascending order.
    phrases: Vec<Box<str>>,
}

impl Words {
    pub(crate) fn new(source: &NameSource) -> Self {
        let mut all = std::collections::BTreeMap::new();
        for (list, flag) in [
            (&source.secret, SECRET),
            (&source.weak, WEAK),
            (&source.token, TOKEN),
            (&source.key, KEY),
            (&source.makes, MAKES),
            (&source.counted, COUNTED),
            (&source.plain, PLAIN),
            (&source.about, ABOUT),
            (&source.digest, DIGEST),
            (&source.neutral, NEUTRAL),
            (&source.asks, ASKS),
        ] {
            for word in list {
                *all.entry(word.to_lowercase().into_boxed_str()).or_insert(0) |= flag;
            }
        }
        let mut phrases: Vec<Box<str>> =
            source.phrases.iter().map(|p| p.to_lowercase().into()).collect();
        phrases.sort();
        Self { flags: all.into_iter().collect(), phrases }
    }

    /// Words that a text must have for a name to matter.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &str> {
        let ends = self.flags.iter().filter(|(_, f)| f & (SECRET | WEAK | TOKEN | KEY) != 0);
        let ends = ends.map(|(word, _)| word.as_ref());
        ends.chain(self.phrases.iter().filter_map(|p| p.split(' ').nth(1)))
    }

    fn of(&self, word: &[u8]) -> u16 {
        if word.len() > MAX_WORD_BYTES {
            return self.glued(word);
        }
        let found = self.flags.binary_search_by(|(known, _)| {
            known.bytes().cmp(word.iter().map(u8::to_ascii_lowercase))
        });
        match found.ok().and_then(|at| self.flags.get(at)) {
            Some((_, flags)) => *flags,
            None => self.glued(word),
        }
    }

    /// A word such as `dbpassword` or `authtoken`, written without a break.
    fn glued(&self, word: &[u8]) -> u16 {
        const HEADS: [(&[u8], u16); 8] = [
            (b"password", SECRET),
            (b"passwd", SECRET),
            (b"passphrase", SECRET),
            (b"secret", SECRET),
            (b"apikey", SECRET),
            (b"credentials", SECRET),
            (b"token", TOKEN),
            (b"tokens", TOKEN),
        ];
        let ends = |head: &[u8]| {
            let start = word.len().checked_sub(head.len())?;
            let (before, end) = word.split_at(start);
            end.eq_ignore_ascii_case(head).then_some(before)
        };
        for (head, flag) in HEADS {
            if let Some(before) = ends(head) {
                let before = if before.len() > MAX_WORD_BYTES { 0 } else { self.plainly(before) };
                return if flag == TOKEN && before & COUNTED != 0 { ABOUT } else { flag };
            }
        }
        match ends(b"key") {
            Some(before) if self.plainly(before) & MAKES != 0 => SECRET,
            _ => 0,
        }
    }

    fn plainly(&self, word: &[u8]) -> u16 {
        let found = self.flags.binary_search_by(|(known, _)| {
            known.bytes().cmp(word.iter().map(u8::to_ascii_lowercase))
        });
        found.ok().and_then(|at| self.flags.get(at)).map_or(0, |(_, flags)| *flags)
    }

    fn is_phrase(&self, first: &[u8], second: &[u8]) -> bool {
        let spoken = || first.iter().chain(b" ").chain(second).map(u8::to_ascii_lowercase);
        self.phrases.binary_search_by(|known| known.bytes().cmp(spoken())).is_ok()
    }
}

/// The last words of a name, split at punctuation and at the humps of camel case.
fn split(name: &[u8]) -> ([&[u8]; MAX_WORDS], usize) {
    let mut words: [&[u8]; MAX_WORDS] = [&[]; MAX_WORDS];
    let mut count = 0;
    let mut start = 0;
    let mut push = |word| {
        if count == MAX_WORDS {
            words.rotate_left(1);
            count -= 1;
        }
        words[count] = word;
        count += 1;
    };
    for at in 0..=name.len() {
        let here = name.get(at).copied();
        let before = at.checked_sub(1).and_then(|at| name.get(at)).copied();
        let after = name.get(at + 1).copied();
        let breaks = match (before, here) {
            (_, None) => true,
            (_, Some(byte)) if !byte.is_ascii_alphanumeric() && byte < 0x80 => true,
            (Some(b), Some(h)) if b.is_ascii_lowercase() && h.is_ascii_uppercase() => true,
            (Some(b), Some(h)) if b.is_ascii_uppercase() && h.is_ascii_uppercase() => {
                // The last capital of `APIKey` begins a word; plural `APIKEYs` does not.
                after.is_some_and(|a| a.is_ascii_lowercase())
                    && !(after == Some(b's') && name.len() == at + 2)
            }
            (Some(b), Some(h)) => b.is_ascii_digit() != h.is_ascii_digit(),
            _ => false,
        };
        if breaks {
            if at > start {
                push(&name[start..at]);
            }
            let skip = here.is_some_and(|byte| !byte.is_ascii_alphanumeric() && byte < 0x80);
            start = at + usize::from(skip);
        }
    }
    (words, count)
}

impl Rules {
    /// What a name says about its value.
    pub(crate) fn kind(&self, name: &[u8]) -> Kind {
        let name = &name[name.len().saturating_sub(MAX_NAME_BYTES)..];
        let (words, mut count) = split(name);
        let words_list = &self.data.words;
        let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
        // What changes nothing is passed over, unless it is all there is.
        while count > 0 {
            let word = words[count - 1];
            if !(is_number(word) || words_list.of(word) & NEUTRAL != 0) {
                break;
            }
            count -= 1;
        }
        let Some((last, before)) = words.get(..count).and_then(<[_]>::split_last) else {
            return Kind::Unknown;
        };
        let flags = words_list.of(last);
        let previous = before.last().copied().unwrap_or_default();
        let qualifier = if previous.is_empty() { 0 } else { words_list.of(previous) };
        if !previous.is_empty() && words_list.is_phrase(previous, last) {
            return Kind::Secret;
        }
        let makes = before.iter().any(|word| words_list.of(word) & (MAKES | SECRET) != 0);
        if flags & ABOUT != 0 {
            // Without a secret to speak of it is a name like any other.
            let of = |word: &&[u8]| words_list.of(word) & (SECRET | WEAK | TOKEN | KEY) != 0;
            return match flags & DIGEST != 0 {
                _ if before.iter().any(of) => Kind::Harmless,
                true => Kind::Digest,
                false => Kind::Unknown,
            };
        }
        if flags & SECRET != 0 {
            return if qualifier & ASKS != 0 { Kind::Harmless } else { Kind::Secret };
        }
        if flags & TOKEN != 0 {
            return match last.last() {
                _ if qualifier & (COUNTED | ASKS) != 0 => Kind::Harmless,
                _ if makes => Kind::Secret,
                Some(b's' | b'S') => Kind::Maybe,
                _ => Kind::Token,
            };
        }
        if flags & KEY != 0 {
            return match qualifier {
                q if q & PLAIN != 0 => Kind::Harmless,
                _ if makes => Kind::Secret,
                _ => Kind::Maybe,
            };
        }
        if flags & WEAK != 0 {
            return if qualifier & (COUNTED | ASKS) != 0 { Kind::Harmless } else { Kind::Maybe };
        }
        let in_digest = flags & DIGEST != 0
            || qualifier & DIGEST != 0 && matches!(previous, [b's' | b'S', b'h' | b'H', ..]);
        if in_digest { Kind::Digest } else { Kind::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::vendor;

    #[test]
    fn names_of_secrets_in_every_spelling() {
        for name in [
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "db.password",
            "spring.datasource.password",
            "api-key",
            "apiKey",
            "APIKey",
            "X-Api-Key",
            "OPENAI_API_KEY",
            "aws_secret_access_key",
            "clientSecret",
            "HF_TOKEN",
            "hfToken",
            "accessToken",
            "wandb_key",
            "dbpassword",
            "authtoken_secret",
            "privateKeyPassphrase",
            "password2",
            "secret_key_base",
            "passwords",
            "token_value_secret",
            "SharedAccessKey",
            "AccountKey",
            "encryption_key",
            "pin_code",
            "API_KEYS",
            "Authorization",
            "github_token",
            "GH_TOKEN",
            "registry-password",
            "ssl_key_password",
        ] {
            assert_eq!(vendor().kind(name.as_bytes()), Kind::Secret, "{name}");
        }
    }

    #[test]
    fn names_that_only_look_so() {
        for name in [
            "password_file",
            "secretName",
            "max_tokens",
            "pad_token",
            "eos_token_id",
            "public_key",
            "sort_key",
            "token_count",
            "token_path",
            "api_key_env",
            "num_tokens",
            "has_password",
            "api_key_id",
            "cache_key",
            "secret_arn",
            "tokens_per_second",
            "max_new_tokens",
            "maxTokens",
        ] {
            let kind = vendor().kind(name.as_bytes());
            assert!(matches!(kind, Kind::Harmless | Kind::Digest), "{name} is {kind:?}");
        }
    }

    #[test]
    fn names_that_leave_it_to_the_value() {
        for (name, kind) in [
            ("token", Kind::Token),
            ("tokens", Kind::Maybe),
            ("key", Kind::Maybe),
            ("pin", Kind::Maybe),
            ("auth", Kind::Maybe),
            ("sha256", Kind::Digest),
            ("git_commit", Kind::Digest),
            ("learning_rate", Kind::Unknown),
            ("compass", Kind::Unknown),
            ("monkey", Kind::Unknown),
        ] {
            assert_eq!(vendor().kind(name.as_bytes()), kind, "{name}");
        }
    }
}
