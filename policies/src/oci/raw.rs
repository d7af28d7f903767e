//! A document as it is written, by Docker, Podman or hand: every key that any of
//! them knows, and nothing else. serde tells the place of a syntax error only;
//! rules are kept as slices of the text, so that each fault has its place.

use super::{Comparison, Condition, Outcome};
use crate::problem::{Fault, Problem, place};
use serde::Deserialize;
use serde_json::value::RawValue;

const EPERM: u16 = 1;
/// `MAX_ERRNO` of the kernel: a larger number would not be an error to libc.
const MAX_ERRNO: u32 = 4095;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawDocument<'a> {
    pub(super) default_action: String,
    pub(super) default_errno_ret: Option<u32>,
    /// Podman's: the same as a name.
    pub(super) default_errno: Option<String>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) arch_map: Option<Vec<RawArchitecture>>,
    pub(super) flags: Option<Vec<String>>,
    pub(super) listener_path: Option<String>,
    pub(super) listener_metadata: Option<String>,
    #[serde(borrow, default)]
    syscalls: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawArchitecture {
    pub(super) architecture: String,
    pub(super) sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawRule<'a> {
    pub(super) names: Option<Vec<String>>,
    /// Of Docker's first format.
    pub(super) name: Option<String>,
    pub(super) action: String,
    pub(super) errno_ret: Option<u32>,
    /// Podman's: the same as a name.
    pub(super) errno: Option<String>,
    #[serde(borrow, default)]
    pub(super) args: Option<Vec<&'a RawValue>>,
    pub(super) comment: Option<String>,
    pub(super) includes: Option<RawWhen>,
    pub(super) excludes: Option<RawWhen>,
}

/// When a rule belongs to the profile, `includes` and `excludes`.
#[derive(Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawWhen {
    pub(super) caps: Option<Vec<String>>,
    pub(super) arches: Option<Vec<String>>,
    pub(super) min_kernel: Option<String>,
}

impl RawWhen {
    pub(super) fn is_empty(&self) -> bool {
        let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        none(&self.caps) && none(&self.arches) && self.min_kernel.is_none()
    }
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

/// The text of a document, for places.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Text<'a> {
    /// Reads what the slice holds, or tells where it cannot be read.
    pub(super) fn parse<T: Deserialize<'a>>(
        &self,
        slice: &'a str,
        key: &str,
        remedy: &str,
    ) -> Result<T, Problem> {
        serde_json::from_str(slice).map_err(|error| {
            let (line, column) = self.place_of(slice);
            let place = match error.line() {
                0 | 1 => (line, column + error.column().saturating_sub(1)),
                further => (line + further - 1, error.column()),
            };
            let fault = Fault::new(bare_message(&error), remedy);
            Problem { place: Some(place), ..fault.in_file(self.file, key) }
        })
    }

    pub(super) fn problem(&self, slice: &str, key: &str, fault: Fault) -> Problem {
        Problem { place: Some(self.place_of(slice)), ..fault.in_file(self.file, key) }
    }

    /// A fault of a key of the document itself.
    pub(super) fn problem_of(&self, key: &str, fault: Fault) -> Problem {
        Problem { place: Some(place_of(self.text, key)), ..fault.in_file(self.file, key) }
    }

    /// Line and column of a part of the text.
    fn place_of(&self, slice: &str) -> (usize, usize) {
        place(self.text, self.offset_of(slice))
    }

    /// Where in the text a part of it begins.
    pub(super) fn offset_of(&self, slice: &str) -> usize {
        slice.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }

    /// The document, and its rules with their slices and keys.
    pub(super) fn document(&self) -> Result<(RawDocument<'a>, Vec<Slice<'a>>), Vec<Problem>> {
        let remedy = "write an OCI seccomp document: defaultAction, defaultErrnoRet, \
                      architectures, syscalls of names, action, errnoRet, args, comment";
        let mut document: RawDocument<'a> =
            self.parse(self.text, "", remedy).map_err(|problem| vec![problem])?;
        let slices = document.syscalls.take().unwrap_or_default().into_iter().enumerate();
        let slices = slices.map(|(index, raw)| Slice { index, text: raw.get() }).collect();
        Ok((document, slices))
    }

    /// One rule, with its key for messages.
    pub(super) fn rule(&self, slice: Slice<'a>) -> Result<(RawRule<'a>, String), Problem> {
        let key = format!("syscalls[{}]", slice.index);
        let remedy = "write names, action, errnoRet, args, comment";
        let rule: RawRule<'a> = self.parse(slice.text, &key, remedy)?;
        let names = rule.names.iter().flatten().chain(&rule.name);
        let key = format!("{key} ({})", names.clone().next().map_or("no name", String::as_str));
        Ok((rule, key))
    }

    /// The tests of a rule's arguments.
    pub(super) fn conditions(
        &self,
        args: &[&'a RawValue],
        key: &str,
    ) -> Result<Vec<Condition>, Vec<Problem>> {
        let mut out: Vec<Condition> = Vec::new();
        let mut problems = Vec::new();
        for raw in args {
            let slice = raw.get();
            let read = self
                .parse(slice, key, "write index, value, valueTwo and op")
                .and_then(|arg| condition(&arg, &out).map_err(|f| self.problem(slice, key, f)));
            match read {
                Ok(condition) => out.push(condition),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(out) } else { Err(problems) }
    }
}

/// Line and column of the value that a key of the document itself has; the
/// beginning where there is none. The text has been read as JSON before.
pub(crate) fn place_of(text: &str, key: &str) -> (usize, usize) {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = end_of_string(text, at);
                let is_it = depth == 1 && text.get(at + 1..end) == Some(key);
                let value =
                    text.get(end + 1..).and_then(|rest| rest.trim_start().strip_prefix(':'));
                if let Some(value) = value.filter(|_| is_it) {
                    return place(text, text.len() - value.trim_start().len());
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    (1, 1)
}

/// Where the string that begins here has its closing quote.
fn end_of_string(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset,
            _ => {}
        }
    }
    text.len()
}

/// A rule that is still text.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    pub(super) index: usize,
    pub(super) text: &'a str,
}

fn condition(arg: &RawArg, earlier: &[Condition]) -> Result<Condition, Fault> {
    if arg.index > 5 {
        return Err(Fault::new(format!("argument {} does not exist", arg.index), "use 0 to 5"));
    }
    if earlier.iter().any(|earlier| earlier.index == arg.index) {
        return Err(Fault::new(
            format!(
                "argument {} is tested twice, which some read as \"and\", others as \"or\"",
                arg.index
            ),
            "write one rule for each alternative, or one SCMP_CMP_MASKED_EQ",
        ));
    }
    let (comparison, value) = comparison(arg)?;
    Ok(Condition { index: arg.index, comparison, value })
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

pub(super) fn outcome(action: &str, errno: Option<u32>) -> Result<Outcome, Fault> {
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

/// serde_json's text without the place, which stands elsewhere.
fn bare_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
