//! What a value by itself says: that it is empty, masked, a placeholder, a reference
//! to somewhere else, or something that everybody may read.

use crate::entropy;
use crate::flat::{Section, Texts};
use crate::pattern::{self, Attempt, Runs, Step};
use crate::rules::{Rules, Shape};
use crate::scan::MAX_JUDGED_BYTES;
use crate::work;
use alloc::string::String;

/// Longest value that can stand for nothing, be a mask or a placeholder.
const MAX_WORDS_BYTES: usize = 64;

/// `${NAME}` and what looks like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    None,
    /// Exactly `${NAME}`.
    Whole,
    /// `${NAME:-text}` or another form with a text of its own.
    WithDefault,
    /// `$NAME` or `$${NAME}`, which are not expanded.
    Wrong,
    /// A form of another tool: a template, a path to a secret, a name in a vault.
    Elsewhere,
    /// `${NAME}` with other text around it.
    Beside,
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// How a value refers to another place.
pub(crate) fn reference(value: &str) -> Reference {
    let value = value.trim();
    if let Some(inner) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !inner.contains("${")
    {
        return match inner {
            name if is_name(name) => Reference::Whole,
            // GitHub's, OmegaConf's, and names with dots.
            inner if inner.starts_with('{') => Reference::Elsewhere,
            _ if inner.contains(":-") || inner.contains(":=") || inner.contains('-') => {
                let (_, default) =
                    inner.split_once('-').or(inner.split_once('=')).unwrap_or(("", ""));
                if default.is_empty() { Reference::Whole } else { Reference::WithDefault }
            }
            _ if inner.starts_with("oc.env:") && inner.contains(',') => {
                let default = inner.rsplit(',').next().unwrap_or_default().trim();
                let none = matches!(default, "null" | "None" | "none" | "" | "''" | "\"\"");
                if none { Reference::Whole } else { Reference::WithDefault }
            }
            _ => Reference::Elsewhere,
        };
    }
    if value.starts_with("$${") {
        return Reference::Wrong;
    }
    if value.strip_prefix('$').is_some_and(is_name) {
        return Reference::Wrong;
    }
    if is_elsewhere(value) {
        return Reference::Elsewhere;
    }
    if value.contains("${") { Reference::Beside } else { Reference::None }
}

fn is_elsewhere(value: &str) -> bool {
    const BEGINNINGS: [&str; 30] = [
        "$ANSIBLE_VAULT;",
        "op://",
        "vault:",
        "vault://",
        "sm://",
        "gsm://",
        "awssm://",
        "ssm:",
        "ssm://",
        "keyring:",
        "keyring://",
        "secret://",
        "secrets://",
        "secretsmanager:",
        "ref+",
        "env:",
        "env://",
        "file:",
        "file://",
        "ENC[",
        "!vault",
        "arn:aws:",
        "projects/",
        "@Microsoft.KeyVault(",
        "os.environ",
        "os.getenv",
        "getenv(",
        "process.env",
        "config.",
        "{{",
    ];
    let lower = |n: usize| value.get(..n);
    let begins = |b: &&str| lower(b.len()).is_some_and(|v| v.eq_ignore_ascii_case(b));
    BEGINNINGS.iter().any(begins)
        || value.starts_with("$(")
        || value.starts_with("$__")
        || is_file(value)
        || value.starts_with("%(") && value.ends_with(")s")
        || value.starts_with("<%=")
        || value.contains("{{") && value.contains("}}")
        || value.strip_prefix('%').and_then(|v| v.strip_suffix('%')).is_some_and(is_name)
        || is_path(value)
        || value
            .split_once(':')
            .is_some_and(|(name, path)| is_name(&name.replace('-', "_")) && is_path(path))
}

/// `!secret db_password`, `!Ref DbPassword`: a tag of YAML, and what it is to find.
pub(crate) fn is_tagged(value: &str) -> bool {
    let Some((tag, what)) = value.strip_prefix('!').and_then(|rest| rest.split_once(' ')) else {
        return false;
    };
    let is_word = |c: char| c.is_ascii_alphabetic() || "/:_.".contains(c);
    !tag.is_empty() && tag.chars().all(is_word) && !what.trim().is_empty()
}

/// `load_secret("/run/secrets/key")`, `vault.read(path)["data"]`: a call of a program, up to
/// its first argument at least. Names of functions are words, which few passwords begin with.
pub(crate) fn is_call(value: &str) -> bool {
    let Some((name, _)) = value.split_once('(') else { return false };
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    name.len() >= 3
        && begins
        && name.chars().all(|c| c.is_ascii_alphabetic() || "_.:".contains(c))
        && name.split(['.', ':']).all(|word| !looks_shuffled(word))
}

/// Capitals within: no name of a function, but for those of camel case.
fn looks_shuffled(word: &str) -> bool {
    let caps = word.chars().skip(1).filter(char::is_ascii_uppercase).count();
    caps * 3 > word.len()
}

/// `user/password`, `user:password`
pub(crate) fn second_of_pair(value: &str) -> Option<&str> {
    let (user, secret) = value.split_once(['/', ':'])?;
    let is_user = user.len() >= 2 && user.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let plain = !secret.contains(['/', ':']);
    (is_user && plain && entropy::is_passwordlike(secret.as_bytes())).then_some(secret)
}

/// `raw/2025/x.dcm`, `feat:43:2d22`: a key of a cache or a store, which begins with a word.
pub(crate) fn is_store_key(value: &str) -> bool {
    let Some((first, _)) = value.split_once(['/', ':']) else { return false };
    first.bytes().filter(u8::is_ascii_lowercase).count() >= 2
        && first
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
}

/// `5.9=h7c1fcde_1`, a version and its build as conda writes them.
pub(crate) fn is_version(value: &str) -> bool {
    let version = value.split('=').next().unwrap_or(value);
    version.len() < value.len()
        && version.contains('.')
        && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The fingerprint of a key of OpenPGP, under a name of one.
pub(crate) fn is_fingerprint(name: &[u8], value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"0x").unwrap_or(value);
    let has = |word: &[u8]| name.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    matches!(digits.len(), 8 | 16 | 40)
        && digits.iter().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b))
        && (has(b"gpg") || has(b"pgp") || has(b"signing"))
}

/// A path to a file, which can hold a secret and is none.
pub(crate) fn is_path(value: &str) -> bool {
    let begins = ["/", "./", "../", "~/"].iter().any(|b| value.starts_with(b))
        || matches!(value.as_bytes(), [d, b':', b'\\' | b'/', ..] if d.is_ascii_alphabetic());
    let slashes = value.bytes().filter(|b| *b == b'/' || *b == b'\\').count();
    let plain = |c: char| c.is_alphanumeric() || "/\\._-~:@+ ${}".contains(c);
    let wordy = value.split(['/', '\\']).any(|part| {
        part.len() >= 3
            && part.bytes().filter(u8::is_ascii_lowercase).count() * 10 >= part.len() * 7
    });
    begins && slashes >= 2 && wordy && value.chars().all(plain)
}

/// `kube-system/bootstrap-token-x7k2`, under `secret`: where a cluster keeps one.
pub(crate) fn is_object_name(name: &[u8], value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.ends_with(b"secret") || name.ends_with(b"secrets") || name.ends_with(b"key"))
        && value.split('/').count() == 2
        && value.contains('-')
        && value.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_lowercase()))
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.-".contains(&b))
}

/// `certs/tls.key`: a file by the end of its name.
fn is_file(value: &str) -> bool {
    const ENDS: [&str; 19] = [
        "key", "pem", "crt", "cer", "json", "txt", "yaml", "yml", "toml", "env", "jks", "p12",
        "pfx", "gpg", "asc", "ini", "cfg", "token", "secret",
    ];
    let Some((stem, end)) = value.rsplit_once('.') else { return false };
    let wordy = stem.bytes().filter(u8::is_ascii_lowercase).count() * 10 >= stem.len() * 7;
    ENDS.contains(&end)
        && stem.len() >= 2
        && wordy
        && stem.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
}

/// A mask: somebody has taken the secret out already.
pub(crate) fn is_mask(value: &[u8]) -> bool {
    let Some(first) = value.first() else { return true };
    if value.len() > MAX_WORDS_BYTES * 2 {
        return false;
    }
    let same = value.iter().all(|byte| byte == first);
    let has = |part: &[u8]| value.windows(part.len()).any(|w| w.eq_ignore_ascii_case(part));
    value.len() >= 3 && same && (!first.is_ascii_alphanumeric() || matches!(first, b'x' | b'X'))
        || has(b"***")
        || has("…".as_bytes())
        || has("•••".as_bytes())
        || has(b"redacted")
        || has(b"[masked")
        || has(b"<masked")
        || has(b"[hidden")
        || has(b"<hidden")
        || has(b"[filtered")
        || value.len() >= 6 && value.ends_with(b"...")
        || value.len() >= 6 && same_but_prefix(value)
}

/// `sk-xxxxxxxx`, `AKIAXXXXXXXX`: after a prefix nothing but one letter.
fn same_but_prefix(value: &[u8]) -> bool {
    let Some(last) = value.last() else { return false };
    let run = value.iter().rev().take_while(|byte| *byte == last).count();
    (matches!(last, b'x' | b'X' | b'*' | b'.' | b'_' | b'0')) && run >= 8 && run * 2 >= value.len()
}

impl Rules {
    /// No value at all.
    pub(crate) fn is_void(&self, value: &[u8]) -> bool {
        value.is_empty() || listed(self.texts(Section::Void), value)
    }

    /// Nothing secret, or a word about a secret.
    pub(crate) fn is_nothing(&self, value: &[u8]) -> bool {
        self.is_void(value) || listed(self.texts(Section::Nothing), value)
    }

    /// Somebody has yet to write something here.
    pub(crate) fn is_placeholder(&self, value: &str) -> bool {
        if value.len() > MAX_WORDS_BYTES || value.len() < 4 {
            return false;
        }
        let inner = value.strip_prefix('<').and_then(|v| v.strip_suffix('>'));
        let inner = inner.or(value.strip_prefix('[').and_then(|v| v.strip_suffix(']')));
        let bare = inner.unwrap_or(value);
        // Prose can begin with the same words, a placeholder is one word or in brackets.
        if inner.is_none() && bare.contains(' ') && !bare.bytes().all(|b| !b.is_ascii_lowercase()) {
            return false;
        }
        let squashed: String = bare
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let words = self.texts(Section::Placeholders);
        let known = |text: &str| words.iter().any(|word| text.as_bytes().starts_with(word));
        if known(&squashed) || squashed.ends_with("changeme") || squashed.ends_with("replaceme") {
            return true;
        }
        let yours = squashed.starts_with("your") || squashed.starts_with("my");
        let ends = ["key", "token", "password", "secret", "here", "passwd", "pass", "credentials"];
        let named = ends.iter().any(|end| squashed.ends_with(end));
        let shouted = inner.is_some() || bare.contains(['_', '-']);
        named && shouted && (yours || inner.is_some() || squashed.ends_with("here"))
    }

    /// Whether a token of unknown meaning is known to be harmless.
    pub(crate) fn allows(&self, token: &[u8]) -> bool {
        let runs = Runs::default();
        let whole =
            |steps| pattern::match_at(steps, token, 0, true, &runs) == Attempt::Yes(token.len());
        self.allowed().any(whole)
    }

    /// Whether what matched a shape is only an example of the form: its body is one
    /// letter over and over, or a mask. A long one is judged by its beginning.
    pub(crate) fn is_example(&self, shape: Shape, matched: &[u8]) -> bool {
        let prefix = match self.steps_of(shape).next() {
            Some(Step::Literal(text)) => text.len(),
            _ => 0,
        };
        let body = matched.get(prefix..).unwrap_or_default();
        let body = body.get(..MAX_JUDGED_BYTES).unwrap_or(body);
        work::read(body.len());
        if shape.checksum && crate::checksum::holds(body) {
            return false;
        }
        let mut seen = [false; 256];
        body.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        let distinct = seen.iter().filter(|s| **s).count();
        body.len() >= 8 && (distinct <= 3 || entropy_is_of_a_sentence(body))
    }
}

/// `your-api-key-goes-here-please`: small letters and hyphens in words.
fn entropy_is_of_a_sentence(body: &[u8]) -> bool {
    let digits = body.iter().filter(|b| b.is_ascii_digit()).count();
    let upper = body.iter().filter(|b| b.is_ascii_uppercase()).count();
    let breaks = body.iter().filter(|b| matches!(b, b'-' | b'_')).count();
    digits == 0
        && breaks >= 2
        && (upper == 0 || upper + breaks == body.len())
        && entropy::bits(body) < 4.0
}

fn listed(list: Texts<'_>, value: &[u8]) -> bool {
    if value.len() > MAX_WORDS_BYTES {
        return false;
    }
    let lower = || value.iter().map(u8::to_ascii_lowercase);
    list.has(|known| known.iter().copied().cmp(lower()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::vendor;

    #[test]
    fn references_by_their_form() {
        for (value, expected) in [
            ("${HF_TOKEN}", Reference::Whole),
            ("${HF_TOKEN:-abc}", Reference::WithDefault),
            ("${HF_TOKEN-abc}", Reference::WithDefault),
            ("${HF_TOKEN:-}", Reference::Whole),
            ("$HF_TOKEN", Reference::Wrong),
            ("$${HF_TOKEN}", Reference::Wrong),
            ("${{ secrets.HF_TOKEN }}", Reference::Elsewhere),
            ("${oc.env:HF_TOKEN}", Reference::Elsewhere),
            ("{{ vault_password }}", Reference::Elsewhere),
            ("/run/secrets/token", Reference::Elsewhere),
            ("op://vault/item/field", Reference::Elsewhere),
            ("abc${HF_TOKEN}", Reference::Beside),
            ("/9x/a", Reference::None),
            ("$1abc", Reference::None),
        ] {
            assert_eq!(reference(value), expected, "{value}");
        }
    }

    #[test]
    fn placeholders_and_masks() {
        for value in [
            "CHANGE_ME",
            "change-me",
            "<your-token>",
            "YOUR_API_KEY",
            "REPLACE_ME",
            "<API_KEY>",
            "ChangeMe123",
        ] {
            assert!(vendor().is_placeholder(value), "{value}");
        }
        for value in ["your model is here", "<pad>", "<|endoftext|>", "bert-base", "mymodel"] {
            assert!(!vendor().is_placeholder(value), "{value}");
        }
        for value in ["********", "sk-ab***", "xxxx", "[REDACTED]", "sk-xxxxxxxxxxxxxxxx"] {
            assert!(is_mask(value.as_bytes()), "{value}");
        }
        assert!(!is_mask(b"hunter2") && !is_mask(b"aaaa"));
    }
}
