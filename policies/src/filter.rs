//! A seccomp profile compiled for the kernel.

use crate::bpf;
use crate::calls;
use crate::decision::{Decision, Decisions};
use crate::oci::{self, Outcome, Rule};
use crate::problem::{Fault, Problem};
use fetchml_api::agent::Refusals;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `SECCOMP_RET_USER_NOTIF`: the call waits until a listener answers.
const USER_NOTIFICATION: u32 = 0x7fc0_0000;

/// A file of seccomp rules, read and sorted by call.
#[derive(Debug)]
pub(crate) struct Ruleset {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) rules: Vec<Rule>,
    pub(crate) decisions: Decisions,
    /// From this index on the rules are the profile's own, `[calls.allow]`.
    pub(crate) of_file: usize,
    unknown: Vec<String>,
    /// Line and column of the rules in the file.
    place: (usize, usize),
}

impl Ruleset {
    /// Reads an OCI seccomp document.
    pub(crate) fn read(name: &str, file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = oci::read(file, text)?;
        let calls = oci::calls(file, text, &document)?;
        Ok(Self {
            name: name.to_owned(),
            file: file.to_owned(),
            decisions: Decisions::new(&calls, document.default),
            of_file: document.rules.len(),
            rules: document.rules,
            unknown: calls.unknown,
            place: oci::place_of(text, "syscalls"),
        })
    }

    /// These rules with calls that a profile allows beyond them, whatever their
    /// arguments.
    pub(crate) fn allowing(self: &Arc<Self>, calls: &BTreeMap<u32, String>) -> Arc<Self> {
        if calls.is_empty() {
            return Arc::clone(self);
        }
        let mut out = Self {
            name: self.name.clone(),
            file: self.file.clone(),
            rules: self.rules.clone(),
            decisions: self.decisions.clone(),
            of_file: self.of_file,
            unknown: self.unknown.clone(),
            place: self.place,
        };
        for (&number, reason) in calls {
            out.decisions.allow(number, out.rules.len());
            out.rules.push(Rule {
                names: vec![calls::name(number).unwrap_or_default().to_owned()],
                outcome: Outcome::Allow,
                conditions: Vec::new(),
                comment: reason.clone(),
            });
        }
        Arc::new(out)
    }
}

/// What a profile wants of its filter beyond the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manner {
    /// Denials are told to the agent, but for those of `quiet`.
    pub(crate) counted: bool,
    /// Calls whose denials are nobody's concern, by number.
    pub(crate) quiet: BTreeSet<u32>,
    /// Calls allowed beyond the rules, with their reasons.
    pub(crate) allowed: BTreeMap<u32, String>,
}

/// A compiled seccomp profile. Compiled once, used by every job.
#[derive(Clone, Debug, Serialize)]
pub struct Filter {
    /// Name, the stem of its file.
    pub name: String,
    /// `struct sock_filter` arrays in native byte order, in the order in which
    /// they are to be installed: one, with the ceiling in it. A denied call
    /// fails at once, and nobody is told.
    #[serde(skip)]
    pub programs: Vec<Vec<u8>>,
    /// The same with denials that wait for an answer, where the profile counts
    /// them.
    #[serde(skip)]
    pub counting: Option<Counting>,
    /// System calls that are possible, some only with certain arguments.
    pub allowed: usize,
    /// System calls that are named and never possible.
    pub denied: usize,
    /// Names that no kernel known to this version has. They get `default`.
    pub unknown: Vec<String>,
    /// What happens to a call that no rule names.
    pub default: Outcome,
    /// The rules as they were written, with their reasons.
    pub rules: Vec<Rule>,
    /// The rules by call.
    #[serde(skip)]
    pub(crate) own: Arc<Ruleset>,
    /// Those rules under the ceiling.
    #[serde(skip)]
    pub(crate) merged: Decisions,
    /// What lies above them whatever the profile says.
    #[serde(skip)]
    pub(crate) ceiling: Option<Arc<Ruleset>>,
}

/// A program that asks its listener about each denied call, and the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counting {
    /// A `struct sock_filter` array in native byte order. Where
    /// [`Filter::programs`] answer with an error it answers
    /// `SECCOMP_RET_USER_NOTIF`, except for quiet calls, for x32, and for
    /// errors other than the one that `refusals` have for the call.
    pub program: Vec<u8>,
    /// The errors that the listener answers with.
    pub refusals: Refusals,
}

impl Filter {
    pub(crate) fn compile(
        own: &Arc<Ruleset>,
        ceiling: Option<&Arc<Ruleset>>,
        manner: &Manner,
    ) -> Result<Self, Problem> {
        let own = &own.allowing(&manner.allowed);
        let merged = match ceiling {
            Some(above) => own.decisions.under(&above.decisions),
            None => own.decisions.clone(),
        };
        let too_long = |fault: Fault| Problem {
            place: Some(own.place),
            ..fault.in_file(&own.file, "syscalls")
        };
        let (allowed, denied) = census(&merged);
        let program = bpf::compile(&merged, &|_, outcome| outcome.code()).map_err(too_long)?;
        let counting = match manner.counted {
            true => Some(counting(merged.clone(), &manner.quiet).map_err(too_long)?),
            false => None,
        };
        Ok(Self {
            name: own.name.clone(),
            programs: vec![program],
            counting,
            allowed,
            denied,
            unknown: own.unknown.clone(),
            default: own.decisions.default.outcome,
            rules: own.rules.clone(),
            own: Arc::clone(own),
            merged,
            ceiling: ceiling.map(Arc::clone),
        })
    }

    /// Whether a call passes with any arguments.
    pub(crate) fn always_allows(&self, number: u32) -> bool {
        let rulesets = [Some(&self.own), self.ceiling.as_ref()];
        rulesets.into_iter().flatten().all(|rules| match rules.decisions.table.get(&number) {
            Some(call) => call.endings().all(|ending| ending.outcome.lets_through()),
            None => rules.decisions.default.outcome.lets_through(),
        })
    }

    /// What happens to a call of the 64-bit interface.
    #[must_use]
    pub fn outcome(&self, number: u32, args: &[u64; 6]) -> Outcome {
        match number >= calls::X32_BIT {
            true => Outcome::NO_SUCH_CALL,
            false => self.merged.ask(number, args).outcome,
        }
    }
}

/// How many calls are possible, and how many are named and are not.
fn census(decisions: &Decisions) -> (usize, usize) {
    let possible = |call: &&Decision| call.endings().any(|ending| ending.outcome.lets_through());
    let allowed = decisions.table.values().filter(possible).count();
    (allowed, decisions.table.len() - allowed)
}

/// A listener sees the call, not which rule denied it: one error a call can be
/// its answer. That is the one of the most general rule.
fn told_errno(call: &Decision) -> Option<u16> {
    call.endings().rev().find_map(|ending| match ending.outcome {
        Outcome::Errno(number) => Some(number),
        _ => None,
    })
}

fn counting(mut decisions: Decisions, quiet: &BTreeSet<u32>) -> Result<Counting, Fault> {
    for &number in quiet {
        decisions.single_out(number);
    }
    let default_errno = match decisions.default.outcome {
        Outcome::Errno(number) => number,
        _ => oci::ENOSYS,
    };
    let told = decisions.table.iter().filter_map(|(&number, call)| {
        told_errno(call).filter(|errno| *errno != default_errno).map(|errno| (number, errno))
    });
    let refusals = Refusals { default_errno, errnos: told.collect() };
    let program = bpf::compile(&decisions, &|number, outcome| match (number, outcome) {
        (Some(number), _) if quiet.contains(&number) => outcome.code(),
        (Some(number), Outcome::Errno(errno)) if refusals.errno(number) != errno => outcome.code(),
        (_, Outcome::Errno(_)) => USER_NOTIFICATION,
        _ => outcome.code(),
    })?;
    Ok(Counting { program, refusals })
}
