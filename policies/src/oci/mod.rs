//! Seccomp profiles in the format of the OCI runtime specification.
//!
//! The document is read with types of our own that refuse what they do not
//! know: a reader that drops Docker's `includes` and `excludes` turns "with
//! this capability only" into "always".
//!
//! Where several rules name one call, the rules with `args` refine the one
//! without: the strictest of those whose arguments match decides, then the rule
//! without `args`, then the default. The order in the file does not matter.

mod import;
mod raw;
mod read;

pub use import::{ImportHost, Imported, Note, import};
pub(crate) use raw::place_of;
pub(crate) use read::read;

use crate::problem::{Fault, Problem, nearest, place};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use syscalls::x86_64::Sysno;

pub(crate) const ENOSYS: u16 = 38;
/// The bits that an `int` argument has.
const LOW_HALF: u64 = 0xffff_ffff;

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// As an OCI document has it.
    fn written(&self) -> serde_json::Value {
        let (operation, value, second) = match self.comparison {
            Comparison::NotEqual => ("SCMP_CMP_NE", self.value, 0),
            Comparison::Less => ("SCMP_CMP_LT", self.value, 0),
            Comparison::AtMost => ("SCMP_CMP_LE", self.value, 0),
            Comparison::Equal => ("SCMP_CMP_EQ", self.value, 0),
            Comparison::AtLeast => ("SCMP_CMP_GE", self.value, 0),
            Comparison::Greater => ("SCMP_CMP_GT", self.value, 0),
            Comparison::Masked(mask) => ("SCMP_CMP_MASKED_EQ", mask, self.value),
        };
        serde_json::json!({"index": self.index, "value": value, "valueTwo": second, "op": operation})
    }

    /// Whether these arguments pass the test.
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        self.passes(args.get(usize::from(self.index)).copied().unwrap_or_default())
    }

    /// The same where some arguments are not known; none where it depends on one.
    pub(crate) fn holds_of_known(&self, args: &[Option<u64>]) -> Option<bool> {
        args.get(usize::from(self.index)).copied().flatten().map(|arg| self.passes(arg))
    }

    /// Whether this argument passes the test.
    pub(crate) fn passes(&self, arg: u64) -> bool {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Where in the text each rule begins.
    pub(crate) offsets: Vec<usize>,
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

/// Rules with names that are of no call of this architecture, where that makes a
/// difference.
pub(crate) fn unknown_calls(file: &str, text: &str, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rules = document.rules.iter().zip(&document.offsets).enumerate();
    for (index, (rule, &offset)) in rules.filter(|(_, (r, _))| r.outcome != document.default) {
        let unknown = rule.names.iter().filter(|name| Sysno::from_str(name).is_err());
        let unknown: Vec<&str> = unknown.map(String::as_str).collect();
        if unknown.is_empty() {
            continue;
        }
        let near = |name: &&str| nearest(name, Sysno::iter().map(|call| call.name()));
        let near: Vec<&str> = unknown.iter().filter_map(near).collect();
        let remedy = match near.is_empty() {
            true => "leave them for other machines, or remove them".to_owned(),
            false => format!("did you mean {}?", near.join(", ")),
        };
        let message =
            format!("no calls of this architecture, and not decided here: {}", unknown.join(", "));
        let problem = Fault::new(message, remedy).in_file(file, format!("syscalls[{index}]"));
        problems.push(Problem { place: Some(place(text, offset)), ..problem });
    }
    problems
}

/// Sorts the rules by call. Contradictions are refused.
pub(crate) fn calls(file: &str, text: &str, document: &Document) -> Result<Calls, Vec<Problem>> {
    let mut calls = Calls::default();
    let mut unknown = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, rule) in document.rules.iter().enumerate() {
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
                let problem = fault.in_file(file, format!("syscalls[{index}] ({name})"));
                let place = document.offsets.get(index).map(|&offset| place(text, offset));
                problems.push(Problem { place, ..problem });
            } else {
                call.always.get_or_insert((rule.outcome, index));
            }
        }
    }
    calls.unknown = unknown.into_iter().collect();
    if problems.is_empty() { Ok(calls) } else { Err(problems) }
}
