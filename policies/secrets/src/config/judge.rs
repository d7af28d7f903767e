//! Whether a value is a secret. The first rule that says something decides.

use super::{Entry, base64};
use crate::charset::CharSet;
use crate::entropy;
use crate::names::Kind;
use crate::rules::{self, Rules};
use crate::scan::{Manner, RuleId, Span};
use crate::value::{self, Reference};
use crate::work;
use alloc::string::String;
use alloc::vec::Vec;

/// A secret in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub span: Span,
    /// The name of the value, where it has one.
    pub name: String,
}

impl Finding {
    pub(crate) fn new(span: Span) -> Self {
        Self { span, name: String::new() }
    }

    /// Shapes say most, then what is wrong with a reference, then names, then entropy.
    pub(crate) fn weight(&self) -> u8 {
        match self.span.rule {
            rules::ENTROPY => 0,
            rules::NAMED | rules::BASIC_CREDENTIALS => 1,
            rules::COOKIE | rules::AUTHORIZATION => 2,
            _ => 3,
        }
    }
}

/// What a table that is named after a secret may call the secret itself.
const VALUE_NAMES: [&str; 7] =
    ["value", "default", "plain", "plaintext", "text", "content", "literal"];
/// Tokens longer than this are data.
const MAX_TOKEN_BYTES: usize = 200;

impl Rules {
    /// Whether a value is none for what it is or for what it is in, whatever its name says.
    pub(crate) fn is_none(&self, entry: &Entry<'_>) -> bool {
        let value = entry.value.trim();
        let (parent, own) = entry.name.rsplit_once('.').unwrap_or(("", &entry.name));
        // Sealed secrets are encrypted for a cluster.
        parent.rsplit('.').any(|p| p.eq_ignore_ascii_case("encryptedData"))
            || value::is_fingerprint(entry.name.as_bytes(), value.as_bytes())
            || value::is_tagged(value)
            || entry.is_bare && value::is_call(value)
            || value::is_object_name(own.as_bytes(), value)
            || self.is_list_of_names(own, value)
    }

    /// `secrets: [db_password, hf_token]` names those that somebody else has.
    fn is_list_of_names(&self, own: &str, value: &str) -> bool {
        let own = own.to_lowercase();
        ["secrets", "credentials", "keys", "tokens"].iter().any(|end| own.ends_with(end))
            && value.contains(['_', '-'])
            && value.bytes().all(|b| b.is_ascii_alphabetic() || b"_-".contains(&b))
            && matches!(self.kind(value.as_bytes()), Kind::Secret | Kind::Token)
    }

    /// Judges one value; adds to `found`.
    pub(crate) fn judge(&self, entry: &Entry<'_>, found: &mut Vec<Finding>) {
        work::read(entry.name.len() + entry.value.len());
        let kind = self.kind_in(&entry.name);
        let (value, _) = without_invisible(&entry.value);
        let value = value.trim();
        let mut tell = |rule: RuleId, within: Option<(usize, usize)>| {
            let (start, end) = match within {
                Some((from, to)) => (entry.start + from, entry.start + to),
                None => (entry.start, entry.end),
            };
            let span = Span { start, end: end.max(start + 1), rule };
            found.push(Finding { span, name: entry.name.clone() });
        };
        if self.is_void(value.as_bytes()) {
            return;
        }
        let is_secret = match kind {
            Kind::Secret | Kind::Token => true,
            Kind::Maybe => self.is_probably(value, &entry.name),
            _ => false,
        };
        match value::reference(value) {
            Reference::Whole | Reference::Elsewhere => return,
            Reference::WithDefault if is_secret => return tell(rules::DEFAULT_IN_REFERENCE, None),
            Reference::Wrong if is_secret && !entry.in_comment => {
                return tell(rules::NOT_A_REFERENCE, None);
            }
            Reference::WithDefault | Reference::Wrong => return,
            Reference::Beside if is_safe_beside(value) => return,
            Reference::Beside
                if matches!(kind, Kind::Secret | Kind::Token)
                    && !value.contains("://")
                    && !entry.in_comment =>
            {
                return tell(rules::BESIDE_REFERENCE, None);
            }
            Reference::Beside | Reference::None => {}
        }
        // Known shapes within what escapes, base64 or invisible characters hid.
        if (value != entry.value.trim() || entry.value.len() != entry.end - entry.start)
            && let Some(span) = self.spans(value.as_bytes(), Manner::Config).first()
        {
            return tell(span.rule, None);
        }
        if let Some(rule) = self.in_base64(value) {
            return tell(rule, None);
        }
        if self.is_placeholder(value) && !entry.in_comment {
            return tell(rules::PLACEHOLDER, None);
        }
        if is_secret && self.is_literal(value, kind, entry) {
            return tell(rules::NAMED, None);
        }
        if matches!(kind, Kind::Unknown | Kind::Maybe) && self.is_known_harmless(value) {
            return;
        }
        if matches!(kind, Kind::Unknown | Kind::Maybe | Kind::Secret) && !entry.in_comment {
            for (start, token) in tokens(value) {
                if self.is_high_entropy(token, &entry.name, token.len() == value.len()) {
                    let exact = value.len() == entry.end - entry.start;
                    tell(rules::ENTROPY, exact.then_some((start, start + token.len())));
                }
            }
        }
    }

    /// What a name says, with those of the tables around it.
    fn kind_in(&self, name: &str) -> Kind {
        let (parent, own) = name.rsplit_once('.').unwrap_or(("", name));
        let kind = self.kind(own.as_bytes());
        if kind != Kind::Unknown {
            // `password.file`, `token.max`
            return kind;
        }
        // `[db.password]`, and below it `value = `; `variable "db_password"` with a default.
        let around = parent.rsplit('.').next().unwrap_or(parent);
        if VALUE_NAMES.iter().any(|value| own.eq_ignore_ascii_case(value)) {
            match self.kind(around.as_bytes()) {
                Kind::Secret | Kind::Token if !around.to_lowercase().ends_with('s') => {
                    return Kind::Secret;
                }
                kind @ (Kind::Harmless | Kind::Digest) => return kind,
                _ => {}
            }
        }
        // `[secrets]` and `tokens:` make secrets of what looks like one.
        let parents = parent.rsplit('.').take(2);
        let in_secrets = parents.filter(|p| !p.is_empty()).any(|p| {
            let last = p.to_lowercase();
            last.ends_with("secrets")
                || last.ends_with("credentials")
                || last.ends_with("secret")
                || last.ends_with("passwords")
                || last.ends_with("api_keys")
                || last.ends_with("apikeys")
                || last == "tokens"
                || last == "keys"
                || last == "auth"
                || last == "stringdata"
        });
        if in_secrets { Kind::Maybe } else { Kind::Unknown }
    }

    /// A literal under the name of a secret, however weak.
    fn is_literal(&self, value: &str, kind: Kind, entry: &Entry<'_>) -> bool {
        let bytes = value.as_bytes();
        if entry.in_comment {
            return entropy::is_suspicious(bytes) && !value.contains(' ')
                || entropy::is_passwordlike(bytes)
                    && !value.contains(' ')
                    && (kind == Kind::Secret
                        || ["pw", "pass"]
                            .iter()
                            .any(|end| entry.name.to_lowercase().ends_with(end)));
        }
        // A number of tokens, a special piece of text.
        let is_number = value.parse::<f64>().is_ok();
        if kind == Kind::Token || entry.name.to_lowercase().ends_with("tokens") {
            let special = value.starts_with('<') && value.ends_with('>')
                || value.starts_with('[') && value.ends_with(']');
            return !is_number && !special && value.chars().any(char::is_alphanumeric);
        }
        if value.starts_with(['{', '[']) && value.ends_with(['}', ']']) {
            return false;
        }
        // Several words are a sentence about it, unless it says that it is one.
        let is_prose = value.split_whitespace().count() > 4
            && value.contains(' ')
            && !entry.name.to_lowercase().contains("phrase")
            && !entry.name.to_lowercase().contains("mnemonic");
        !is_prose
    }

    /// Under a name that only may hold a secret.
    fn is_probably(&self, value: &str, name: &str) -> bool {
        let bytes = value.as_bytes();
        let lower = name.to_lowercase();
        if lower.ends_with("pin") || lower.ends_with("pins") {
            return (4..=12).contains(&value.len()) && bytes.iter().all(u8::is_ascii_digit);
        }
        if lower.ends_with("auth") && value::second_of_pair(value).is_some() {
            return true;
        }
        if bytes.iter().all(|b| b.is_ascii_digit() || b".,-_: ".contains(b)) || value.contains(' ')
        {
            return false;
        }
        if self.is_known_harmless(value)
            || value.contains("://")
            || value::is_path(value)
            || value::is_version(value)
        {
            return false;
        }
        if base64(bytes)
            .is_some_and(|p| p.contains(&b':') && p.iter().all(|b| (b' '..=b'~').contains(b)))
        {
            return true;
        }
        if lower.ends_with("pass") || lower.ends_with("pw") {
            return entropy::is_passwordlike(bytes);
        }
        bytes.len() >= 8 && entropy::is_suspicious(bytes) && !has_words(value)
    }

    fn is_high_entropy(&self, token: &str, name: &str, alone: bool) -> bool {
        let bytes = token.as_bytes();
        if bytes.len() > MAX_TOKEN_BYTES || token.contains("://") || self.is_known_harmless(token) {
            return false;
        }
        if value::is_path(token) || has_words(token) {
            return false;
        }
        if entropy::is_hex(bytes) {
            return alone && !name.is_empty() && bytes.len() >= 32 && entropy::bits(bytes) > 3.0;
        }
        entropy::is_random(bytes)
    }

    /// A structure that everybody may read.
    pub(crate) fn is_known_harmless(&self, value: &str) -> bool {
        let last = value.rsplit(' ').next().unwrap_or(value);
        let first = value.split(' ').next().unwrap_or(value);
        if value.starts_with("data:")
            || value.starts_with("ssh-")
            || value.starts_with("ecdsa-sha2-")
            || value.starts_with("sk-ssh-")
        {
            return true;
        }
        // Certificates, public keys, signatures.
        if value.starts_with("-----BEGIN ") && !value.contains("PRIVATE KEY") {
            return true;
        }
        if value.contains(" ecdsa-sha2-") || value.contains(" ssh-") {
            return true;
        }
        // Lines of lock files and of sha256sum.
        self.allows(value.as_bytes())
            || self.allows(last.as_bytes())
            || value.contains("--hash=")
            || value.contains("  ") && entropy::is_hex(first.as_bytes())
    }

    /// A secret behind one layer of base64.
    fn in_base64(&self, value: &str) -> Option<RuleId> {
        tokens(value).find_map(|(_, token)| {
            if !(16..=8192).contains(&token.len()) {
                return None;
            }
            let plain = base64(token.as_bytes())?;
            let printable = plain
                .iter()
                .filter(|b| (b' '..=b'~').contains(b) || b.is_ascii_whitespace())
                .count();
            if printable != plain.len() {
                return None;
            }
            self.spans(&plain, Manner::Config).first().map(|span| span.rule)
        })
    }
}

/// `https://user:${PASSWORD}@host`, `Bearer ${TOKEN}`: the reference is all of the secret.
fn is_safe_beside(value: &str) -> bool {
    const SCHEMES: [&str; 5] = ["bearer ", "basic ", "token ", "apikey ", "bot "];
    let lower = value.to_lowercase();
    let bare = SCHEMES
        .iter()
        .find_map(|scheme| lower.starts_with(scheme).then(|| value.get(scheme.len()..)));
    if let Some(Some(rest)) = bare {
        return matches!(value::reference(rest.trim()), Reference::Whole);
    }
    // Several references with punctuation between them.
    let mut rest = value;
    let mut literal = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        literal.push_str(before);
        let Some((inner, after)) = after.split_once('}') else { return false };
        if inner.contains(":-") || inner.is_empty() {
            return false;
        }
        rest = after;
    }
    literal.push_str(rest);
    literal.chars().all(|c| !c.is_alphanumeric())
}

/// Zero-width characters and their kin, which a person does not see.
fn without_invisible(text: &str) -> (alloc::borrow::Cow<'_, str>, bool) {
    let is_invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{202a}'..='\u{202e}' | '\u{180e}');
    if text.contains(is_invisible) {
        (text.chars().filter(|c| !is_invisible(*c)).collect::<String>().into(), true)
    } else {
        (text.into(), false)
    }
}

/// The words of a value that could be tokens, and where they begin.
fn tokens(value: &str) -> impl Iterator<Item = (usize, &str)> {
    const TOKEN: CharSet = CharSet::of(b"0-9A-Za-z+/=_.:~@%-");
    let mut at = 0;
    core::iter::from_fn(move || {
        let bytes = value.as_bytes();
        while at < bytes.len() && !TOKEN.has(bytes[at]) {
            at += 1;
        }
        let start = at;
        at += TOKEN.run(bytes.get(at..).unwrap_or_default());
        // What is behind an equals sign within is the token.
        let token = value.get(start..at)?;
        let inner = token.trim_end_matches('=').rfind('=').map_or(0, |eq| eq + 1);
        (at > start).then(|| (start + inner, &token[inner..]))
    })
}

/// Names are made of words: of their parts, most letters stand in some.
fn has_words(token: &str) -> bool {
    let parts = token.split(['/', '.', '-', '_', ':', '@']);
    let (mut letters, mut in_words, mut count) = (0usize, 0usize, 0usize);
    for part in parts {
        count += 1;
        letters += part.len();
        let lower = part.bytes().skip(1).all(|b| b.is_ascii_lowercase());
        let upper = part.bytes().all(|b| b.is_ascii_uppercase());
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        if part.len() >= 2 && (lower || upper || digits) {
            in_words += part.len();
        }
    }
    count > 1 && in_words * 2 >= letters
}
