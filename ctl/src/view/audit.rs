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

/// The first line of comma-separated values.
pub(crate) const CSV_HEADER: &str = "seq,time,event,action,result,uid,user,key_id,resource,job,transport,source_uid,pid,ip,details\n";

/// One record as comma-separated values (RFC 4180).
pub(crate) fn csv(record: &Record<'_>) -> String {
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let text = |t: &Option<fetchml_api::audit::Text<'_>>| {
        t.as_deref().map_or_else(String::new, str::to_owned)
    };
    let details: Vec<_> = record.details.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let source = &record.source;
    let fields = [
        record.seq.to_string(),
        exact_time(record.time_usec),
        record.event.to_string(),
        record.action.to_string(),
        record.result.to_string(),
        record.actor.uid.to_string(),
        text(&record.actor.user),
        text(&record.actor.key_id),
        record.resource.to_string(),
        number(record.job),
        source.transport.to_string(),
        number(source.uid.map(u64::from)),
        number(source.pid.map(u64::from)),
        text(&source.ip),
        details.join("; "),
    ];
    fields.map(|field| quoted(&visible(&field))).join(",") + "\n"
}

/// A spreadsheet must not take a field for a formula.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@']);
    if !formula && !field.contains(['"', ',']) {
        return field.to_owned();
    }
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}

/// The judgement in one word and in words.
pub(crate) fn verdict(report: &Report, style: Style) -> String {
    let tone = match report.verdict {
        Verdict::Intact => Tone::Good,
        Verdict::Incomplete(_) => Tone::Careful,
        Verdict::Tampered(_) | Verdict::Unreadable(_) => Tone::Bad,
    };
    let word = style.paint(tone, fetchml_audit_verify::word(&report.verdict));
    let mut text = format!("{word}: {}\n", visible(&report.verdict.to_string()));
    for line in fetchml_audit_verify::text(report).lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", visible(line));
    }
    text
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
            first: 1,
            signed: None,
            checkpoints: 0,
            remarks: Vec::new(),
            journal: None,
        };
        assert!(verdict(&report, PLAIN).starts_with("tampered: records 7 and 8 were swapped\n"));
        let json = fetchml_audit_verify::json(&report);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["first_bad"]["damage"], "reordered");
        assert_eq!(value["first_bad"]["seq"], 7);
        assert_eq!(value["exit_code"], 1);
    }

    #[test]
    fn a_field_is_no_formula_and_no_two_fields() {
        assert_eq!(quoted("plain text"), "plain text");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        for formula in ["=1+1", "+1", "-2+3", "@SUM(A1)", "=HYPERLINK(\"x\")"] {
            let field = quoted(formula);
            assert!(field.starts_with("\"'") && field.ends_with('"'), "{field}");
        }
        // What could hide one at the beginning is not passed on.
        assert!(!visible("\t=1+1\r").contains(['\t', '\r']));
    }
}
