//! Secrets for jobs in one line each. Nobody but the supervisor has their values.

use crate::view::style::Style;
use crate::view::table::{Cell, draw};
use crate::view::text::{time, visible};
use serde::Deserialize;

/// A secret, as the supervisor tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Kept {
    name: String,
    #[serde(rename = "for")]
    holders: Vec<String>,
    added_usec: u64,
    rotated_usec: u64,
    kept: String,
}

/// Secrets as a table, by name.
pub(crate) fn table(secrets: &[Kept], width: Option<usize>, style: Style) -> String {
    let header = ["NAME", "FOR", "ADDED", "ROTATED", "ENCRYPTED"];
    let rows: Vec<Vec<Cell>> = secrets.iter().map(row).collect();
    draw(&header, &rows, width, style)
}

fn row(secret: &Kept) -> Vec<Cell> {
    let holders = secret.holders.iter().map(|words| words.strip_prefix("user:").unwrap_or(words));
    let holders = holders.collect::<Vec<_>>().join(",");
    let rotated = Some(secret.rotated_usec).filter(|usec| *usec > 0).map(time);
    let encrypted = if secret.kept == "systemd" { "by systemd" } else { "no" };
    vec![
        visible(&secret.name).into(),
        if holders.is_empty() { "-".to_owned() } else { visible(&holders) }.into(),
        time(secret.added_usec).into(),
        rotated.unwrap_or_else(|| "-".to_owned()).into(),
        encrypted.to_owned().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;

    #[test]
    fn each_secret_says_who_may_use_it() {
        let secret = Kept {
            name: "hf-token".into(),
            holders: vec!["user:alice".into(), "group:lab".into()],
            added_usec: example::SUBMITTED,
            rotated_usec: 0,
            kept: "systemd".into(),
        };
        let text = table(&[secret], None, Style { colour: false });
        let words: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(words[..2], ["hf-token", "alice,group:lab"], "{text}");
        assert!(text.trim_end().ends_with("by systemd"), "{text}");
    }
}
