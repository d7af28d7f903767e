//! No secret in plain text, and no placeholder: not in the configuration, and not in
//! what users ask for.

use super::Problem;
use fetchml_policies::secrets::Rules;
use sha2::{Digest, Sha256};
use std::path::Path;

/// `[secrets]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Digests of values that look like secrets and are none (`allow_literal`).
    pub allow_literal: Vec<String>,
}

impl Secrets {
    /// Whether the administrator said that this value is no secret.
    #[must_use]
    pub fn allow(&self, value: &str) -> bool {
        !self.allow_literal.is_empty() && self.allow_literal.contains(&digest(value))
    }
}

/// How a value is called without telling it: `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn digest(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(value.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text can be the digest of a value.
pub(super) fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:");
    digits
        .is_some_and(|d| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Adds what must not be in a file to its problems.
pub(super) fn refuse(
    path: &Path,
    text: &str,
    rules: &Rules,
    secrets: &Secrets,
    problems: &mut Vec<Problem>,
) {
    let (mut line, mut counted) = (1, 0);
    for finding in rules.scan_config(text) {
        let before = text.get(counted..finding.span.start).unwrap_or_default();
        line += before.matches('\n').count();
        counted += before.len();
        let value = text.get(finding.span.start..finding.span.end).unwrap_or_default();
        if secrets.allow(value) {
            continue;
        }
        let key = if finding.name.is_empty() { "this line" } else { &finding.name };
        let rule = rules.id(finding.span.rule);
        let message = match rule {
            "placeholder" => format!("{key} holds a placeholder: write the real value"),
            "default-in-reference" => {
                format!("{key} has a default in its reference: write ${{NAME}} alone")
            }
            rule => format!(
                "{key} holds a secret ({rule}): write ${{NAME}} and give it as a systemd credential \
                 or a variable; if it is none, add the digest of the value to \
                 secrets.allow_literal (printf %s VALUE | sha256sum)"
            ),
        };
        problems.push(Problem { file: path.to_owned(), line, message });
    }
}
