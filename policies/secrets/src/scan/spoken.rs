//! Secrets that sentences announce: "initial password for admin: …", "Unseal Key 1: …".

use super::reading::{Cursor, Short};
use crate::charset::CharSet;
use crate::work;

/// What stands between the name of a secret and the colon before it, at most.
const MAX_BETWEEN_BYTES: usize = 120;
/// How such an announcement goes on.
const BEGINNINGS: [&[u8]; 9] = [
    b"from config",
    b"for ",
    b"of ",
    b"is generated",
    b"was generated",
    b"generated ",
    b"has been ",
    b"(",
    b"to ",
];
/// It tells something else.
const OTHERWISE: [&[u8]; 16] = [
    b"fail",
    b"error",
    b"invalid",
    b"incorrect",
    b"wrong",
    b"must",
    b"not ",
    b"expire",
    b"reject",
    b"denied",
    b"missing",
    b"require",
    b"file",
    b"path",
    b"mismatch",
    b"prompt",
];

/// Whether an announcement goes on here. The cursor is behind its colon then.
pub(super) fn is_announced(cursor: &mut Cursor<'_>) -> Result<bool, Short> {
    let mut begins = false;
    for beginning in BEGINNINGS {
        begins |= cursor.looks_at(beginning)?;
    }
    if !begins {
        return Ok(false);
    }
    const WORDS: CharSet = CharSet::of(b"0-9A-Za-z @._()'`/<>+,#-");
    let rest = cursor.rest();
    let shown = rest.get(..MAX_BETWEEN_BYTES).unwrap_or(rest);
    let run = WORDS.run(shown);
    work::read(run);
    let between = shown.get(..run).unwrap_or_default();
    let after = match (shown.get(run), shown.get(run + 1)) {
        (Some(b':'), after) => after,
        (None, _) if shown.len() < MAX_BETWEEN_BYTES && !cursor.last => return Err(Short),
        _ => return Ok(false),
    };
    let has = |word: &[u8]| between.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    if OTHERWISE.iter().any(|word| has(word)) {
        return Ok(false);
    }
    match after {
        None if !cursor.last => Err(Short),
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            cursor.at += run + 1;
            cursor.at += CharSet::of(b" \t").run(cursor.rest());
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// `│ db_password │ … │`: the next column of a table. The cursor is in it then.
pub(super) fn is_in_table(cursor: &mut Cursor<'_>, name: usize) -> Result<bool, Short> {
    for border in ["│", "┃", "|"] {
        let before = cursor.text.get(name.saturating_sub(16)..name).unwrap_or_default();
        let before = before.trim_ascii_end();
        if before.ends_with(border.as_bytes()) && cursor.skip(border.as_bytes())? {
            cursor.at += CharSet::of(b" \t").run(cursor.rest());
            return Ok(true);
        }
    }
    Ok(false)
}

/// Skips the number of `Unseal Key 1: …`. The cursor is at the sign then.
pub(super) fn skip_number(cursor: &mut Cursor<'_>) -> Result<(), Short> {
    let rest = cursor.rest();
    let run = CharSet::of(b"#0-9").run(rest.get(..5).unwrap_or(rest));
    match rest.get(run) {
        None if run > 0 && !cursor.last => Err(Short),
        Some(b':' | b'=') if run > 0 => {
            cursor.at += run;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A value alone on the line below: `Password:` and, maybe indented, the password.
pub(super) fn step_down(cursor: &mut Cursor<'_>) -> Result<bool, Short> {
    let rest = cursor.rest();
    let blanks = CharSet::of(b" \t\r\n").run(rest.get(..64).unwrap_or(rest));
    if blanks == rest.len() && blanks < 64 && !cursor.last {
        return Err(Short);
    }
    let lines = rest.get(..blanks).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
    if !(1..=2).contains(&lines) {
        return Ok(false);
    }
    let below = rest.get(blanks..).unwrap_or_default();
    let below = below.get(..130).unwrap_or(below);
    let end = below.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    work::read(end.unwrap_or(below.len()));
    if end.is_none() && below.len() < 130 && !cursor.last {
        return Err(Short);
    }
    let word = below.get(..end.unwrap_or(below.len())).unwrap_or_default();
    // Base64 ends with signs that elsewhere stand between a name and a value.
    let padding = word.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = word.get(..word.len() - padding).unwrap_or_default();
    let alone = (8..=128).contains(&word.len())
        && word.iter().all(|byte| byte.is_ascii_graphic())
        && !digits.iter().any(|byte| b":=<>".contains(byte))
        && crate::entropy::is_suspicious(word);
    if alone {
        cursor.at += blanks;
    }
    Ok(alone)
}
