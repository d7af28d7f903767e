//! What the name of a value says about it: `db_password` holds a secret,
//! `password_file` and `max_tokens` hold none.

use crate::flat::{self, Draft, Section, TEXT_BYTES, Texts};
use crate::rules::Rules;
use crate::source::NameSource;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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

/// Bytes of a word within rules: where its text is, and its flags.
const WORD_BYTES: usize = TEXT_BYTES + 2;

/// Writes words into rules, in ascending order, and gives those that a text must have
/// for a name to matter.
pub(crate) fn write(source: &NameSource, draft: &mut Draft) -> Vec<Box<str>> {
    let mut all: BTreeMap<Box<str>, u16> = BTreeMap::new();
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
    for (word, flags) in &all {
        let place = draft.text(word.as_bytes());
        draft.part(Section::Words).extend(place.into_iter().chain(flags.to_le_bytes()));
    }
    let mut phrases: Vec<Box<str>> =
        source.phrases.iter().map(|p| p.to_lowercase().into()).collect();
    phrases.sort();
    draft.texts(Section::Phrases, phrases.iter().map(|phrase| phrase.as_bytes()));
    let ends = phrases.iter().filter_map(|p| p.split(' ').nth(1)).map(Into::into);
    let matter = |(_, flags): &(_, u16)| flags & (SECRET | WEAK | TOKEN | KEY) != 0;
    let words = all.clone().into_iter().filter(matter).map(|(word, _)| word);
    words.chain(ends).collect()
}

/// Words, and what each does to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'r> {
    pub(crate) words: &'r [u8],
    /// Two words with a space between them.
    pub(crate) phrases: Texts<'r>,
}

impl Words<'_> {
    fn of(&self, word: &[u8]) -> u16 {
        if word.len() > MAX_WORD_BYTES {
            return self.glued(word);
        }
        match self.listed(word) {
            Some(flags) => flags,
            None => self.glued(word),
        }
    }

    fn listed(&self, word: &[u8]) -> Option<u16> {
        let lower = || word.iter().map(u8::to_ascii_lowercase);
        let (words, _) = self.words.as_chunks::<WORD_BYTES>();
        let found = words.binary_search_by(|[a, b, c, d, e, f, ..]| {
            let known = flat::text(self.phrases.pool, [*a, *b, *c, *d, *e, *f]);
            known.iter().copied().cmp(lower())
        });
        let [.., low, high] = words.get(found.ok()?)?;
        Some(u16::from_le_bytes([*low, *high]))
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
        self.listed(word).unwrap_or(0)
    }

    fn is_phrase(&self, first: &[u8], second: &[u8]) -> bool {
        let spoken = || first.iter().chain(b" ").chain(second).map(u8::to_ascii_lowercase);
        self.phrases.has(|known| known.iter().copied().cmp(spoken()))
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
        let words_list = self.words();
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
        let of_digest = || {
            let words = [&b"checksum"[..], b"digest", b"sha"];
            words.iter().any(|word| previous.eq_ignore_ascii_case(word))
        };
        if flags & (SECRET | TOKEN | KEY | WEAK | ABOUT) == 0 {
            let in_digest = flags & DIGEST != 0
                || qualifier & DIGEST != 0 && matches!(previous, [b's' | b'S', b'h' | b'H', ..]);
            return if in_digest || of_digest() { Kind::Digest } else { Kind::Unknown };
        }
        // A name of what somebody else has made: `existingSecretPasswordKey`.
        if before.iter().any(|word| word.eq_ignore_ascii_case(b"existing")) {
            return Kind::Harmless;
        }
        if of_digest() {
            return Kind::Digest;
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
        let is_public =
            |word: &&[u8]| [&b"public"[..], b"pub"].iter().any(|p| word.eq_ignore_ascii_case(p));
        if flags & (TOKEN | KEY) != 0 && before.iter().any(is_public) {
            return Kind::Harmless;
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
        Kind::Unknown
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
