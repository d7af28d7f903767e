//! Reading a profile of ours: plain, without conditions on the host.

use super::raw::{RawRule, Slice, Text, outcome};
use super::{Document, Rule};
use crate::problem::{Fault, Problem};

/// Reads a document; all its faults at once.
pub(crate) fn read(file: &str, text: &str) -> Result<Document, Vec<Problem>> {
    let text = Text { file, text };
    let (raw, slices) = text.document()?;
    let mut problems = Vec::new();
    let mut fault = |key: &str, fault: Fault| problems.push(text.problem_of(key, fault));
    for name in raw.architectures.iter().flatten().filter(|name| *name != "SCMP_ARCH_X86_64") {
        let why = format!("{name:?} would open a second way into the kernel");
        fault("architectures", Fault::new(why, "list SCMP_ARCH_X86_64 alone"));
    }
    for (key, given) in [
        ("archMap", raw.arch_map.is_some()),
        ("defaultErrno", raw.default_errno.is_some()),
        ("flags", raw.flags.as_ref().is_some_and(|flags| !flags.is_empty())),
        ("listenerPath", raw.listener_path.is_some()),
        ("listenerMetadata", raw.listener_metadata.is_some()),
    ] {
        if given {
            fault(key, Fault::new("is not of a plain profile", IMPORT));
        }
    }
    let default = outcome(&raw.default_action, raw.default_errno_ret)
        .map_err(|found| fault("defaultAction", found));
    let (mut rules, mut offsets) = (Vec::new(), Vec::new());
    for slice in slices {
        offsets.push(text.offset_of(slice.text));
        match rule(&text, slice) {
            Ok(rule) => rules.push(rule),
            Err(found) => problems.extend(found),
        }
    }
    match default {
        Ok(default) if problems.is_empty() => Ok(Document { default, rules, offsets }),
        _ => Err(problems),
    }
}

const IMPORT: &str = "remove it, or let `fetchmlctl policy import` decide what it means here";

fn rule(text: &Text<'_>, slice: Slice<'_>) -> Result<Rule, Vec<Problem>> {
    let (raw, key) = text.rule(slice).map_err(|problem| vec![problem])?;
    let mut problems: Vec<Problem> =
        foreign(&raw).into_iter().map(|fault| text.problem(slice.text, &key, fault)).collect();
    let names = raw.names.unwrap_or_default();
    if names.is_empty() {
        let fault = Fault::new("names no system call", "fill in names or remove the rule");
        problems.push(text.problem(slice.text, &key, fault));
    }
    let conditions = text
        .conditions(&raw.args.unwrap_or_default(), &key)
        .map_err(|found| problems.extend(found));
    let outcome = outcome(&raw.action, raw.errno_ret)
        .map_err(|fault| problems.push(text.problem(slice.text, &key, fault)));
    match (outcome, conditions) {
        (Ok(outcome), Ok(conditions)) if problems.is_empty() => {
            Ok(Rule { names, outcome, conditions, comment: raw.comment.unwrap_or_default() })
        }
        _ => Err(problems),
    }
}

/// What Docker and Podman write and a plain profile does not have.
fn foreign(raw: &RawRule<'_>) -> Vec<Fault> {
    let mut out = Vec::new();
    for (key, when) in [("includes", &raw.includes), ("excludes", &raw.excludes)] {
        if when.as_ref().is_some_and(|when| !when.is_empty()) {
            let why = format!("{key} makes the rule depend on capabilities or kernels");
            out.push(Fault::new(why, IMPORT));
        }
    }
    for (key, given) in [("name", raw.name.is_some()), ("errno", raw.errno.is_some())] {
        if given {
            out.push(Fault::new(format!("{key} is not of a plain profile"), IMPORT));
        }
    }
    out
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
