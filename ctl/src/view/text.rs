//! Words for times, sizes and names.

use jiff::Timestamp;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Text from elsewhere with every control character made visible, so that a
/// job's name or a file's name cannot move the cursor or colour a screen.
pub(crate) fn visible(text: &str) -> String {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A command as it could be typed into a shell.
pub(crate) fn command(words: &[String]) -> String {
    let plain = |w: &str| {
        !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b))
    };
    let quoted: Vec<_> = words
        .iter()
        .map(|w| if plain(w) { w.clone() } else { format!("'{}'", w.replace('\'', "'\\''")) })
        .collect();
    visible(&quoted.join(" "))
}

/// Microseconds since the epoch as RFC 3339 with a full second.
pub(crate) fn time(usec: u64) -> String {
    stamp(usec).map_or_else(|| "-".into(), |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Microseconds since the epoch as RFC 3339 with microseconds.
pub(crate) fn exact_time(usec: u64) -> String {
    stamp(usec).map_or_else(|| "-".into(), |t| t.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

fn stamp(usec: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(usec).ok()?).ok()
}

/// How long ago something was.
pub(crate) fn ago(usec: u64, now_usec: u64) -> String {
    match now_usec.checked_sub(usec) {
        Some(since) if since >= 1_000_000 => {
            format!("{} ago", duration(since / 1_000_000 * 1_000_000))
        }
        _ => "now".into(),
    }
}

/// A length of time with at most two units: `850ms`, `12.3s`, `2m5s`, `2h30m`, `3d4h`.
pub(crate) fn duration(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    let pair = |big: u64, unit: &str, small: u64, rest: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{rest}") }
    };
    match seconds {
        0 if usec < 1_000 => format!("{usec}µs"),
        0 => format!("{}ms", usec / 1_000),
        1..60 => match usec % 1_000_000 / 100_000 {
            0 => format!("{seconds}s"),
            tenths => format!("{seconds}.{tenths}s"),
        },
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A size in IEC units with one digit after the point below ten: `512 B`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let unit = 1u64 << (10 * power);
    let tenths = u64::try_from(u128::from(bytes) * 10 / u128::from(unit)).unwrap_or(u64::MAX);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 && tenth != 0 => write!(out, "{whole}.{tenth} "),
        (whole, _) => write!(out, "{whole} "),
    };
    out + UNITS[power - 1]
}

/// A paragraph with a hanging indent, broken at words to fit the terminal; on
/// one line where there is none.
pub(crate) fn wrap(lead: &str, words: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{lead}{words}\n") };
    let indent = " ".repeat(lead.width());
    let mut out = String::new();
    let mut line = lead.to_owned();
    let mut empty = true;
    for word in words.split(' ') {
        if !empty && line.width() + 1 + word.width() > width {
            out.push_str(&line);
            out.push('\n');
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (4 << 30, "4 GiB")];
        for (bytes, words) in cases {
            assert_eq!(size(bytes), words);
        }
        assert_eq!(size(u64::MAX), "15 EiB");
        assert_eq!(size(100 << 20), "100 MiB");
    }

    #[test]
    fn lengths_of_time_have_two_units() {
        let cases = [
            (0, "0µs"),
            (850_000, "850ms"),
            (12_340_000, "12.3s"),
            (60_000_000, "1m"),
            (125_000_000, "2m5s"),
            (9_000_000_000, "2h30m"),
            (86_400_000_000, "1d"),
        ];
        for (usec, words) in cases {
            assert_eq!(duration(usec), words);
        }
        assert_eq!(ago(0, 3_700_000), "3s ago");
        assert_eq!(ago(5, 4), "now");
    }

    #[test]
    fn names_cannot_control_a_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\u{9b}c\u{202e}d é"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d é");
        assert_eq!(
            command(&["sh".into(), "-c".into(), "it's \u{7}".into()]),
            "sh -c 'it'\\''s \\u{7}'"
        );
        assert_eq!(command(&[String::new()]), "''");
    }

    #[test]
    fn paragraphs_hang_below_their_lead() {
        assert_eq!(wrap("fix: ", "aa bb cc dd", Some(10)), "fix: aa bb\n     cc dd\n");
        assert_eq!(wrap("fix: ", "aa bb cc dd", None), "fix: aa bb cc dd\n");
        assert_eq!(wrap("", "wordthatisverylong x", Some(5)), "wordthatisverylong\nx\n");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_763_000_000_000_001), "2025-11-13T02:13:20Z");
        assert_eq!(exact_time(1_763_000_000_000_001), "2025-11-13T02:13:20.000001Z");
        assert_eq!(time(u64::MAX), "-");
    }
}
