//! The judgement in words and for programs.

use fetchml_api::audit::{Report, Verdict};
use std::fmt::Write as _;

/// The judgement in one word.
#[must_use]
pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Intact => "intact",
        Verdict::Incomplete(_) => "incomplete",
        Verdict::Tampered(_) => "tampered",
        Verdict::Unreadable(_) => "unreadable",
    }
}

/// What stands behind the judgement, line by line.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    // The record that was changed may stand in its place.
    let bad = match &report.verdict {
        Verdict::Tampered(finding) => finding.seq,
        _ => u64::MAX,
    };
    // Writing to a string cannot fail.
    let _ = match &report.end {
        Some(end) if bad <= end.seq && bad > report.first => {
            writeln!(text, "records {} to {} hold", report.first, bad - 1)
        }
        Some(end) if bad <= end.seq => writeln!(text, "no record holds"),
        Some(end) => writeln!(
            text,
            "records {} to {} hold; the last has the hash {}",
            report.first, end.seq, end.hash
        ),
        None => writeln!(text, "no record holds"),
    };
    if let Some(signed) = report.signed {
        let _ =
            writeln!(text, "signed up to record {signed}, by {} checkpoints", report.checkpoints);
    }
    for remark in &report.remarks {
        let _ = writeln!(text, "note: {remark}");
    }
    text
}

/// The judgement for a program.
#[must_use]
pub fn json(report: &Report) -> String {
    let bad = match &report.verdict {
        Verdict::Tampered(finding) => serde_json::json!({
            "damage": finding.damage.word(),
            "seq": finding.seq,
            "line": finding.line,
        }),
        _ => serde_json::Value::Null,
    };
    let remarks: Vec<_> = report
        .remarks
        .iter()
        .map(|remark| serde_json::json!({ "seq": remark.seq, "words": remark.words }))
        .collect();
    serde_json::json!({
        "verdict": word(&report.verdict),
        "exit_code": report.verdict.exit_code(),
        "words": report.verdict.to_string(),
        "first": report.first,
        "records": report.records,
        "log_id": report.log_id,
        "end": report.end,
        "first_bad": bad,
        "torn_bytes": report.torn_bytes,
        "signed": report.signed,
        "checkpoints": report.checkpoints,
        "remarks": remarks,
        "journal": report.journal,
    })
    .to_string()
}
