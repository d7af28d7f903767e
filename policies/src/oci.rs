//! Seccomp profiles in the format of the OCI runtime specification.
//!
//! The document is read with types of our own that refuse what they do not
//! know: a reader that drops Docker's `includes` and `excludes` turns "with
//! this capability only" into "always".
//!
//! Where several rules name one call, the rules with `args` refine the one
//! without: the strictest of those whose arguments match decides, then the rule
//! without `args`, then the default. The order in the file does not matter.

use crate::problem::{Fault, Problem};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use syscalls::x86_64::Sysno;

pub(crate) const ENOSYS: u16 = 38;
const EPERM: u16 = 1;
/// `MAX_ERRNO` of the kernel: a larger number would not be an error to libc.
const MAX_ERRNO: u32 = 4095;
/// The bits that an `int` argument has.
const LOW_HALF: u64 = 0xffff_ffff;

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The call is made.
    Allow,
    /// The call is made and logged.
    Log,
    /// The call fails with this error number.
    Errno(u16),
    /// The thread gets SIGSYS.
    Trap,
    /// The thread dies.
    KillThread,
    /// The process dies.
    KillProcess,
}

impl Outcome {
    /// As from a kernel that has no such call; libc falls back on nothing else.
    pub(crate) const NO_SUCH_CALL: Self = Self::Errno(ENOSYS);

    /// The call is made.
    #[must_use]
    pub fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// `SECCOMP_RET_…`.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Log => 0x7ffc_0000,
            Self::Errno(number) => 0x0005_0000 | u32::from(number),
            Self::Trap => 0x0003_0000,
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
        }
    }

    /// This outcome, or another one that is stricter.
    pub(crate) fn unless_stricter(self, other: Self) -> Self {
        if other.strictness() > self.strictness() { other } else { self }
    }

    /// Greater is stricter; the kernel's own order for stacked filters.
    pub(crate) fn strictness(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Log => 1,
            Self::Errno(_) => 2,
            Self::Trap => 3,
            Self::KillThread => 4,
            Self::KillProcess => 5,
        }
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Not equal.
    NotEqual,
    /// Less than.
    Less,
    /// Less than or equal.
    AtMost,
    /// Equal.
    Equal,
    /// Greater than or equal.
    AtLeast,
    /// Greater than.
    Greater,
    /// Equal after both were masked with this.
    Masked(u64),
}

/// A test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Argument number, from 0.
    pub index: u8,
    /// The comparison.
    pub comparison: Comparison,
    /// What the argument is compared with.
    pub value: u64,
}

impl Condition {
    pub(crate) fn lower(&self) -> Result<SeccompCondition, BackendError> {
        let whole = SeccompCmpArgLen::Qword;
        let (length, operation) = match self.comparison {
            Comparison::NotEqual => (whole, SeccompCmpOp::Ne),
            Comparison::Less => (whole, SeccompCmpOp::Lt),
            Comparison::AtMost => (whole, SeccompCmpOp::Le),
            Comparison::Equal => (whole, SeccompCmpOp::Eq),
            Comparison::AtLeast => (whole, SeccompCmpOp::Ge),
            Comparison::Greater => (whole, SeccompCmpOp::Gt),
            // A mask within the low half leaves the high half out of the question.
            Comparison::Masked(LOW_HALF) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq),
            Comparison::Masked(mask) if mask < LOW_HALF => {
                (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask))
            }
            Comparison::Masked(mask) => (whole, SeccompCmpOp::MaskedEq(mask)),
        };
        SeccompCondition::new(self.index, length, operation, self.value)
    }

    /// Whether these arguments pass the test.
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        let arg = args.get(usize::from(self.index)).copied().unwrap_or_default();
        match self.comparison {
            Comparison::NotEqual => arg != self.value,
            Comparison::Less => arg < self.value,
            Comparison::AtMost => arg <= self.value,
            Comparison::Equal => arg == self.value,
            Comparison::AtLeast => arg >= self.value,
            Comparison::Greater => arg > self.value,
            Comparison::Masked(mask) => arg & mask == self.value,
        }
    }
}

/// One group of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// System calls.
    pub names: Vec<String>,
    /// What happens to them.
    pub outcome: Outcome,
    /// When: all of these hold. Empty: always.
    pub conditions: Vec<Condition>,
    /// The reason, as the file gives it.
    pub comment: String,
}

/// A checked document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) default: Outcome,
    pub(crate) rules: Vec<Rule>,
}

/// All that is said about one call.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The rule without conditions: outcome and index in the file.
    pub(crate) always: Option<(Outcome, usize)>,
    /// The rules with conditions, in the order of the file.
    pub(crate) conditional: Vec<(Outcome, Vec<Condition>, usize)>,
}

/// The rules by call number.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) table: BTreeMap<u32, Call>,
    /// Names without a number on this architecture.
    pub(crate) unknown: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawDocument {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<RawArg>>,
    #[serde(default)]
    comment: String,
    // Docker's own, not part of the OCI format: named here to refuse them by name.
    includes: Option<serde_json::Value>,
    excludes: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawArg {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Reads a document; all its faults at once.
pub(crate) fn read(file: &str, text: &str) -> Result<Document, Vec<Problem>> {
    let raw: RawDocument = serde_json::from_str(text).map_err(|error| {
        vec![Problem {
            file: file.to_owned(),
            place: Some((error.line(), error.column())),
            key: String::new(),
            message: bare_message(&error),
            remedy:
                "write an OCI seccomp document: defaultAction, defaultErrnoRet, architectures, \
                     syscalls of names, action, errnoRet, args, comment"
                    .to_owned(),
        }]
    })?;
    let mut problems = Vec::new();
    for name in raw.architectures.iter().filter(|name| *name != "SCMP_ARCH_X86_64") {
        let fault = Fault::new(
            format!("{name:?} would open a second way into the kernel"),
            "list SCMP_ARCH_X86_64 alone",
        );
        problems.push(fault.in_file(file, "architectures"));
    }
    let default = outcome(&raw.default_action, raw.default_errno_ret)
        .map_err(|fault| problems.push(fault.in_file(file, "defaultAction")));
    let mut rules = Vec::new();
    for (index, raw) in raw.syscalls.into_iter().enumerate() {
        let key =
            format!("syscalls[{index}] ({})", raw.names.first().map_or("no name", String::as_str));
        match rule(raw) {
            Ok(rule) => rules.push(rule),
            Err(faults) => {
                problems.extend(faults.into_iter().map(|f| f.in_file(file, key.as_str())))
            }
        }
    }
    match default {
        Ok(default) if problems.is_empty() => Ok(Document { default, rules }),
        _ => Err(problems),
    }
}

/// Sorts the rules by call. Contradictions are refused.
pub(crate) fn calls(file: &str, rules: &[Rule]) -> Result<Calls, Vec<Problem>> {
    let mut calls = Calls::default();
    let mut unknown = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for name in &rule.names {
            let Ok(number) = Sysno::from_str(name) else {
                unknown.insert(name.clone());
                continue;
            };
            let call = calls.table.entry(number as u32).or_default();
            if !rule.conditions.is_empty() {
                call.conditional.push((rule.outcome, rule.conditions.clone(), index));
            } else if call.always.is_some_and(|(earlier, _)| earlier != rule.outcome) {
                let fault = Fault::new(
                    format!("{name} is named twice without args and with different actions"),
                    "keep one of the two",
                );
                problems.push(fault.in_file(file, "syscalls"));
            } else {
                call.always.get_or_insert((rule.outcome, index));
            }
        }
    }
    calls.unknown = unknown.into_iter().collect();
    if problems.is_empty() { Ok(calls) } else { Err(problems) }
}

fn rule(raw: RawRule) -> Result<Rule, Vec<Fault>> {
    let mut faults = Vec::new();
    for (key, value) in [("includes", &raw.includes), ("excludes", &raw.excludes)] {
        if value.as_ref().is_some_and(|value| !is_empty(value)) {
            faults.push(Fault::new(
                format!(
                    "{key} makes the rule depend on capabilities or kernels, which is not supported"
                ),
                format!(
                    "decide the case: remove the rule, or remove {key} and let the rule hold always"
                ),
            ));
        }
    }
    if raw.names.is_empty() {
        faults.push(Fault::new("names no system call", "fill in names or remove the rule"));
    }
    let conditions = match conditions(raw.args.unwrap_or_default()) {
        Ok(conditions) => conditions,
        Err(fault) => {
            faults.push(fault);
            Vec::new()
        }
    };
    match outcome(&raw.action, raw.errno_ret) {
        Ok(outcome) if faults.is_empty() => {
            Ok(Rule { names: raw.names, outcome, conditions, comment: raw.comment })
        }
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

fn conditions(args: Vec<RawArg>) -> Result<Vec<Condition>, Fault> {
    let mut out: Vec<Condition> = Vec::new();
    for arg in args {
        if arg.index > 5 {
            return Err(Fault::new(format!("argument {} does not exist", arg.index), "use 0 to 5"));
        }
        if out.iter().any(|earlier| earlier.index == arg.index) {
            return Err(Fault::new(
                format!(
                    "argument {} is tested twice, which some read as \"and\", others as \"or\"",
                    arg.index
                ),
                "write one rule for each alternative, or one SCMP_CMP_MASKED_EQ",
            ));
        }
        let (comparison, value) = comparison(&arg)?;
        out.push(Condition { index: arg.index, comparison, value });
    }
    Ok(out)
}

fn comparison(arg: &RawArg) -> Result<(Comparison, u64), Fault> {
    let plain = match arg.op.as_str() {
        "SCMP_CMP_NE" => Comparison::NotEqual,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::AtMost,
        "SCMP_CMP_EQ" => Comparison::Equal,
        "SCMP_CMP_GE" => Comparison::AtLeast,
        "SCMP_CMP_GT" => Comparison::Greater,
        "SCMP_CMP_MASKED_EQ" if arg.value_two & !arg.value != 0 => {
            return Err(Fault::new(
                format!(
                    "valueTwo {:#x} has bits that the mask {:#x} removes",
                    arg.value_two, arg.value
                ),
                "put the mask into value and the wanted bits into valueTwo",
            ));
        }
        "SCMP_CMP_MASKED_EQ" => return Ok((Comparison::Masked(arg.value), arg.value_two)),
        other => {
            return Err(Fault::new(
                format!("unknown comparison {other:?}"),
                "use SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ",
            ));
        }
    };
    Ok((plain, arg.value))
}

fn outcome(action: &str, errno: Option<u32>) -> Result<Outcome, Fault> {
    let outcome = match action {
        "SCMP_ACT_ALLOW" => Outcome::Allow,
        "SCMP_ACT_LOG" => Outcome::Log,
        "SCMP_ACT_TRAP" => Outcome::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Outcome::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Outcome::KillProcess,
        "SCMP_ACT_ERRNO" => {
            let number = errno.unwrap_or(u32::from(EPERM));
            // Error 0 would be a success that never happened.
            match u16::try_from(number) {
                Ok(short) if (1..=MAX_ERRNO).contains(&number) => return Ok(Outcome::Errno(short)),
                _ => {
                    return Err(Fault::new(
                        format!("error number {number} is out of range"),
                        "use 1 to 4095",
                    ));
                }
            }
        }
        other => {
            return Err(Fault::new(
                format!("action {other:?} is not supported"),
                "use SCMP_ACT_ALLOW, ERRNO, LOG, TRAP, KILL_THREAD or KILL_PROCESS",
            ));
        }
    };
    match errno {
        Some(number) if number != 0 => Err(Fault::new(
            format!("{action} has no error number, {number} was given"),
            "remove errnoRet",
        )),
        _ => Ok(outcome),
    }
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// serde_json's text without the place, which stands elsewhere.
fn bare_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
