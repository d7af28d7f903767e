//! Audit records and the judgement on a log.

use crate::view::style::{Style, Tone};
use crate::view::text::{exact_time, visible};
use fetchml_api::audit::{Outcome, Record, Report, Verdict};
use std::fmt::Write as _;

/// One record in one line: number, time, event, result, who, what.
pub(crate) fn record(record: &Record<'_>, style: Style) -> String {
    let tone = match record.result {
        Outcome::Success => Tone::Good,
        Outcome::Failure => Tone::Bad,
        Outcome::Denied => Tone::Careful,
    };
    let result = style.paint(tone, &format!("{:<7}", record.result));
    let actor = match &record.actor.user {
        Some(user) => visible(user),
        None => record.actor.uid.to_string(),
    };
    let mut line = format!(
        "{:>6}  {}  {:<14}  {result}  {actor:<10}  {}",
        record.seq,
        exact_time(record.time_usec),
        visible(&record.event),
        visible(&record.resource),
    );
    for (name, value) in &record.details {
        // Writing to a string cannot fail.
        let _ = write!(line, "  {}={}", visible(name), visible(value));
    }
    line.push('\n');
    line
}

/// The judgement in one word and in words.
pub(crate) fn verdict(report: &Report, style: Style) -> String {
    let tone = match report.verdict {
        Verdict::Intact => Tone::Good,
        Verdict::Incomplete(_) => Tone::Careful,
        Verdict::Tampered(_) | Verdict::Unreadable(_) => Tone::Bad,
    };
    let word = style.paint(tone, word(&report.verdict));
    let mut text = format!("{word}: {}\n", visible(&report.verdict.to_string()));
    // Writing to a string cannot fail.
    let _ = match &report.end {
        Some(end) => {
            writeln!(text, "{} records hold; the last has the hash {}", report.records, end.hash)
        }
        None => writeln!(text, "no record holds"),
    };
    text
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Intact => "intact",
        Verdict::Incomplete(_) => "incomplete",
        Verdict::Tampered(_) => "tampered",
        Verdict::Unreadable(_) => "unreadable",
    }
}

/// The judgement for a program.
pub(crate) fn json(report: &Report) -> String {
    let bad = match &report.verdict {
        Verdict::Tampered(finding) => serde_json::json!({
            "damage": format!("{:?}", finding.damage).to_lowercase(),
            "seq": finding.seq,
            "line": finding.line,
        }),
        _ => serde_json::Value::Null,
    };
    serde_json::json!({
        "verdict": word(&report.verdict),
        "exit_code": report.verdict.exit_code(),
        "words": report.verdict.to_string(),
        "records": report.records,
        "log_id": report.log_id,
        "end": report.end,
        "first_bad": bad,
        "torn_bytes": report.torn_bytes,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::audit::{Damage, Finding};

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn a_judgement_names_the_first_bad_record() {
        let finding = Finding {
            damage: Damage::Reordered,
            seq: 7,
            line: 8,
            words: "records 7 and 8 were swapped".into(),
        };
        let report = Report {
            verdict: Verdict::Tampered(finding),
            records: 6,
            log_id: None,
            end: None,
            torn_bytes: 0,
        };
        assert!(verdict(&report, PLAIN).starts_with("tampered: records 7 and 8 were swapped\n"));
        let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
        assert_eq!(value["first_bad"]["damage"], "reordered");
        assert_eq!(value["first_bad"]["seq"], 7);
        assert_eq!(value["exit_code"], 1);
    }
}
