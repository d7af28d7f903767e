//! Turning Docker's and Podman's profiles into plain ones.
//!
//! Their rules hold or not depending on the capabilities of a container, the
//! architecture and the kernel. Here these are known, so that each rule is decided
//! once, and the result says what was decided. Nothing is passed over: what a
//! plain profile cannot say is refused with its place.

use super::raw::{RawDocument, RawRule, RawWhen, Slice, Text, outcome};
use super::{Outcome, Rule};
use crate::calls;
use crate::problem::{Fault, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// This architecture in the words of `arches`, and of `architectures`.
const ARCH: &str = "amd64";
const SECCOMP_ARCH: &str = "SCMP_ARCH_X86_64";

/// For whom the rules are decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportHost {
    /// Capabilities that the job has, `CAP_…`; none as a rule.
    pub capabilities: Vec<String>,
    /// The oldest kernel that the profile is for: version and major revision.
    pub kernel: (u32, u32),
}

/// A plain profile, and what was decided to get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The text of the profile.
    pub text: String,
    /// Decisions, in the order of the document.
    pub notes: Vec<Note>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where in the original: `syscalls[17] (bpf)`, `archMap`.
    pub key: String,
    /// What was decided, and why.
    pub decision: String,
}

/// Decides a document. `file` is its name in messages.
///
/// # Errors
/// Everything that cannot be read or cannot be said by a plain profile.
pub fn import(file: &str, text: &str, host: &ImportHost) -> Result<Imported, Vec<Problem>> {
    let text = Text { file, text };
    let (raw, slices) = text.document()?;
    let mut import = Import { text, host, notes: Vec::new(), problems: Vec::new() };
    import.architectures(&raw);
    import.listener_and_flags(&raw);
    let default = import.default(&raw);
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for slice in slices {
        match import.rule(slice) {
            Ok(Decided::Kept(rule)) => kept.push((slice, rule)),
            Ok(Decided::LeftOut(rule)) => left_out.push(rule),
            Err(found) => import.problems.extend(found),
        }
    }
    import.contradictions(&kept);
    match default {
        Some(default) if import.problems.is_empty() => {
            let rules: Vec<Rule> = kept.into_iter().map(|(_, rule)| rule).collect();
            Ok(Imported { text: write(default, &rules, left_out), notes: import.notes })
        }
        _ => Err(import.problems),
    }
}

enum Decided {
    Kept(Rule),
    /// With the reason as its comment.
    LeftOut(Rule),
}

struct Import<'a> {
    text: Text<'a>,
    host: &'a ImportHost,
    notes: Vec<Note>,
    problems: Vec<Problem>,
}

impl Import<'_> {
    fn note(&mut self, key: &str, decision: impl Into<String>) {
        self.notes.push(Note { key: key.to_owned(), decision: decision.into() });
    }

    fn fault(&mut self, key: &str, message: impl Into<String>, remedy: &str) {
        self.problems.push(self.text.problem_of(key, Fault::new(message, remedy)));
    }

    fn architectures(&mut self, raw: &RawDocument<'_>) {
        let listed = raw.architectures.iter().flatten();
        let mapped: Vec<_> = raw.arch_map.iter().flatten().collect();
        if raw.architectures.as_ref().is_some_and(|list| !list.is_empty()) && !mapped.is_empty() {
            let why = "stands beside architectures, and readers disagree on which one holds";
            self.fault("archMap", why, "remove one of the two");
            return;
        }
        let ours = mapped.iter().find(|entry| entry.architecture == SECCOMP_ARCH);
        let others: Vec<&String> = match ours {
            Some(entry) => entry.sub_architectures.iter().flatten().collect(),
            None => listed.clone().filter(|name| *name != SECCOMP_ARCH).collect(),
        };
        let named = listed.clone().any(|name| name == SECCOMP_ARCH) || ours.is_some();
        let any = !mapped.is_empty() || listed.clone().next().is_some();
        let key = if mapped.is_empty() { "architectures" } else { "archMap" };
        if any && !named {
            let why = format!("the profile is not for this architecture ({SECCOMP_ARCH})");
            self.fault(key, why, "import a profile that names it");
        }
        for name in others {
            self.note(key, format!("{name} is left out: calls by other entries never pass"));
        }
    }

    fn listener_and_flags(&mut self, raw: &RawDocument<'_>) {
        for (key, given) in
            [("listenerPath", &raw.listener_path), ("listenerMetadata", &raw.listener_metadata)]
        {
            if given.as_ref().is_some_and(|text| !text.is_empty()) {
                let why = "asks for a listener outside the job, and there is none";
                self.fault(key, why, "remove it, and decide the calls with SCMP_ACT_NOTIFY");
            }
        }
        for flag in raw.flags.iter().flatten() {
            let decision = match flag.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => "the filter is installed before there is a thread",
                "SECCOMP_FILTER_FLAG_LOG" => "denials are counted by the job's agent instead",
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => {
                    "left out: mitigations of the processor stay as the system has them"
                }
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => "left out: it is for a listener",
                other => {
                    let why = format!("unknown flag {other:?}");
                    self.fault("flags", why, "remove it after reading what it changes");
                    continue;
                }
            };
            self.note("flags", format!("{flag}: {decision}"));
        }
    }

    fn default(&mut self, raw: &RawDocument<'_>) -> Option<Outcome> {
        let decided = errno(raw.default_errno_ret, raw.default_errno.as_deref())
            .and_then(|number| outcome(&raw.default_action, number));
        match decided {
            Ok(default) if default.lets_through() => {
                let why = "lets through every call that no rule names, also those of kernels to \
                           come";
                self.fault("defaultAction", why, "import a profile that denies by default");
                None
            }
            Ok(default) => Some(default),
            Err(fault) => {
                self.problems.push(self.text.problem_of("defaultAction", fault));
                None
            }
        }
    }

    fn rule(&mut self, slice: Slice<'_>) -> Result<Decided, Vec<Problem>> {
        let text = Text { file: self.text.file, text: self.text.text };
        let (raw, key) = text.rule(slice).map_err(|problem| vec![problem])?;
        let one = |fault| vec![text.problem(slice.text, &key, fault)];
        let names = names(&raw).map_err(one)?;
        let reason = self.host.decide(&raw).map_err(one)?;
        if let Some(why) = reason {
            self.note(&key, format!("left out: {why}"));
            let outcome = Outcome::NO_SUCH_CALL;
            return Ok(Decided::LeftOut(Rule {
                names,
                outcome,
                conditions: Vec::new(),
                comment: why,
            }));
        }
        let conditions = text.conditions(raw.args.as_deref().unwrap_or_default(), &key)?;
        let outcome = errno(raw.errno_ret, raw.errno.as_deref())
            .and_then(|number| outcome(&raw.action, number))
            .map_err(one)?;
        let (known, unknown): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| calls::is_name(name));
        if !unknown.is_empty() {
            let decision = format!("not calls of this architecture: {}", unknown.join(", "));
            self.note(&key, decision);
        }
        let comment = match (&raw.includes, &raw.excludes, raw.comment) {
            (_, _, Some(own)) if !own.is_empty() => own,
            (None, None, _) => format!("Rule {} of the original.", slice.index),
            _ => format!("Rule {} of the original, whose conditions hold.", slice.index),
        };
        Ok(Decided::Kept(Rule { names: known, outcome, conditions, comment }))
    }

    /// Two rules for one call with different actions. Where one of them has no
    /// args, runtimes disagree on which one decides; where both have some, the
    /// stricter one decides here if both match.
    fn contradictions(&mut self, kept: &[(Slice<'_>, Rule)]) {
        let mut told = BTreeSet::new();
        for (at, (slice, rule)) in kept.iter().enumerate() {
            for (other, against) in &kept[..at] {
                let twice = rule.names.iter().find(|name| against.names.contains(name));
                let Some(name) = twice.filter(|_| against.outcome != rule.outcome) else {
                    continue;
                };
                if !told.insert(name.clone()) {
                    continue;
                }
                let key = format!("syscalls[{}] ({name})", slice.index);
                let other = other.index;
                if !rule.conditions.is_empty() && !against.conditions.is_empty() {
                    let decision = format!(
                        "has another action than syscalls[{other}]: where both match, the \
                         stricter one decides"
                    );
                    self.note(&key, decision);
                    continue;
                }
                let why = format!(
                    "has another action than syscalls[{other}], one of them without args: \
                     runtimes disagree on which one decides"
                );
                let fault = Fault::new(why, "keep one of the two");
                self.problems.push(self.text.problem(slice.text, &key, fault));
            }
        }
    }
}

impl ImportHost {
    /// Why a rule does not hold for this host, if it does not. As Docker decides:
    /// of `excludes` any match counts, of `includes` each list must match, and of
    /// its capabilities all.
    fn decide(&self, raw: &RawRule<'_>) -> Result<Option<String>, Fault> {
        let empty = RawWhen::default();
        let excludes = raw.excludes.as_ref().unwrap_or(&empty);
        let includes = raw.includes.as_ref().unwrap_or(&empty);
        let has = |cap: &&String| self.capabilities.contains(cap);
        let here = |arches: &[String]| arches.iter().any(|arch| arch == ARCH);
        if excludes.arches.as_deref().is_some_and(here) {
            return Ok(Some(format!("it is not for {ARCH}")));
        }
        if let Some(cap) = excludes.caps.iter().flatten().find(has) {
            return Ok(Some(format!("it is only without {cap}")));
        }
        if let Some(least) = &excludes.min_kernel
            && self.kernel >= version(least)?
        {
            return Ok(Some(format!("it is only for kernels before {least}")));
        }
        if let Some(arches) = includes.arches.as_deref().filter(|list| !list.is_empty())
            && !here(arches)
        {
            return Ok(Some(format!("it is only for {}", arches.join(", "))));
        }
        if let Some(cap) = includes.caps.iter().flatten().find(|cap| !has(cap)) {
            return Ok(Some(format!("it is only with {cap}")));
        }
        if let Some(least) = &includes.min_kernel
            && self.kernel < version(least)?
        {
            return Ok(Some(format!("it is only for kernels from {least}")));
        }
        Ok(None)
    }
}

/// Version and major revision, as Docker reads `minKernel`.
fn version(text: &str) -> Result<(u32, u32), Fault> {
    let parts = text.split_once('.').map(|(one, two)| (one.parse().ok(), two.parse().ok()));
    match parts {
        Some((Some(version), Some(revision))) if version > 0 => Ok((version, revision)),
        _ => Err(Fault::new(
            format!("minKernel {text:?} is no version"),
            "write version and major revision, such as \"4.8\"",
        )),
    }
}

fn names(raw: &RawRule<'_>) -> Result<Vec<String>, Fault> {
    match (&raw.name, &raw.names) {
        (Some(_), Some(names)) if !names.is_empty() => {
            Err(Fault::new("has both name and names", "keep names"))
        }
        (Some(name), _) if !name.is_empty() => Ok(vec![name.clone()]),
        (_, Some(names)) if !names.is_empty() => Ok(names.clone()),
        _ => Err(Fault::new("names no system call", "fill in names or remove the rule")),
    }
}

/// A number, and a name that must mean the same.
fn errno(number: Option<u32>, name: Option<&str>) -> Result<Option<u32>, Fault> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(number) };
    let named = (1..4096u32)
        .find(|n| i32::try_from(*n).is_ok_and(|n| syscalls::Errno::new(n).name() == Some(name)));
    match (named, number) {
        (None, _) => Err(Fault::new(format!("unknown error {name:?}"), "use a name from errno(3)")),
        (Some(named), Some(number)) if named != number => Err(Fault::new(
            format!("{name} is error {named}, not {number}"),
            "keep one of errno and errnoRet",
        )),
        (named, _) => Ok(named),
    }
}

/// The text of a plain profile. Calls of rules that were left out are named with
/// the reason, so that the reason can be shown when one is denied.
fn write(default: Outcome, kept: &[Rule], left_out: Vec<Rule>) -> String {
    let mut taken: BTreeSet<String> = kept.iter().flat_map(|rule| rule.names.clone()).collect();
    let mut rules: Vec<Value> =
        kept.iter().filter(|rule| !rule.names.is_empty()).map(written).collect();
    for mut rule in left_out {
        rule.names.retain(|name| calls::is_name(name) && taken.insert(name.clone()));
        rule.outcome = default;
        rule.comment = format!("Left out: {}.", rule.comment);
        if !rule.names.is_empty() {
            rules.push(written(&rule));
        }
    }
    let (action, number) = action(default);
    let mut document = Map::new();
    document.insert("defaultAction".to_owned(), json!(action));
    document.extend(number.map(|number| ("defaultErrnoRet".to_owned(), json!(number))));
    document.insert("architectures".to_owned(), json!([SECCOMP_ARCH]));
    document.insert("syscalls".to_owned(), Value::Array(rules));
    format!("{:#}\n", Value::Object(document))
}

fn action(outcome: Outcome) -> (&'static str, Option<u16>) {
    match outcome {
        Outcome::Allow => ("SCMP_ACT_ALLOW", None),
        Outcome::Log => ("SCMP_ACT_LOG", None),
        Outcome::Errno(number) => ("SCMP_ACT_ERRNO", Some(number)),
        Outcome::Trap => ("SCMP_ACT_TRAP", None),
        Outcome::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Outcome::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

fn written(rule: &Rule) -> Value {
    let mut out = Map::new();
    out.insert("comment".to_owned(), json!(rule.comment));
    out.insert("names".to_owned(), json!(rule.names));
    let (action, number) = action(rule.outcome);
    out.insert("action".to_owned(), json!(action));
    out.extend(number.map(|number| ("errnoRet".to_owned(), json!(number))));
    if !rule.conditions.is_empty() {
        let args: Vec<Value> = rule.conditions.iter().map(super::Condition::written).collect();
        out.insert("args".to_owned(), Value::Array(args));
    }
    Value::Object(out)
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
