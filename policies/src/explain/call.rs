//! System calls.

use super::{By, Case, Explanation, Grounds, Verdict};
use crate::calls;
use crate::decision::Ending;
use crate::filter::{Filter, Ruleset};
use crate::oci::Outcome;
use crate::problem::{PolicyError, choices_of_many};
use crate::profile::{Denials, Profile};
use syscalls::x86_64::Sysno;

/// Whether the call of this name or number is made. Without `args` every case is
/// told where the arguments decide; missing ones of a list that is given are 0.
///
/// # Errors
/// [`PolicyError::UnknownCall`].
pub fn call(
    profile: &Profile,
    filter: &Filter,
    name_or_number: &str,
    args: &[u64],
) -> Result<Explanation, PolicyError> {
    let number = calls::number(name_or_number).ok_or_else(|| PolicyError::UnknownCall {
        name: name_or_number.to_owned(),
        remedy: choices_of_many(
            name_or_number,
            Sysno::iter().map(|call| call.name()),
            "use a name from syscalls(2), or a number",
        ),
    })?;
    let name = calls::name(number).map_or_else(|| format!("system call {number}"), str::to_owned);
    let shown: Vec<String> = args.iter().map(|arg| format!("{arg:#x}")).collect();
    let question = if args.is_empty() { name } else { format!("{name}({})", shown.join(", ")) };
    let cases = if args.is_empty() { cases(filter, number) } else { Vec::new() };
    let mut decided = decide(filter, number, args);
    if let Some(grounds) = decided.rule.as_mut().filter(|rule| rule.key == "calls.allow") {
        grounds.file.clone_from(&profile.name);
    }
    let told = told(profile, filter, number);
    Ok(if cases.len() > 1 {
        Explanation {
            question,
            profile: profile.name.clone(),
            verdict: Verdict::Depends,
            outcome: format!("the arguments decide{told}"),
            by: By::Profile,
            rule: None,
            cases,
        }
    } else {
        Explanation {
            question,
            profile: profile.name.clone(),
            verdict: decided.verdict,
            outcome: match decided.verdict {
                Verdict::Denied => format!("{}{told}", decided.outcome),
                _ => decided.outcome,
            },
            by: decided.by,
            rule: decided.rule,
            cases: Vec::new(),
        }
    })
}

/// Whether a denial is seen, for the end of a sentence.
fn told(profile: &Profile, filter: &Filter, number: u32) -> &'static str {
    let quiet = || profile.quiet_calls.iter().any(|name| calls::number(name) == Some(number));
    match profile.denials {
        _ if number >= calls::X32_BIT => "",
        Denials::Silent => "; not counted (denials = \"silent\")",
        Denials::Count if quiet() => "; not counted (quiet_calls)",
        Denials::Count if filter.counting.is_some() => "; denials are counted",
        Denials::Count => "",
    }
}

fn decide(filter: &Filter, number: u32, args: &[u64]) -> Case {
    let mut all = [0; 6];
    all.iter_mut().zip(args).for_each(|(to, from)| *to = *from);
    if number >= calls::X32_BIT {
        return Case {
            when: String::new(),
            verdict: Verdict::Denied,
            outcome: words(Outcome::NO_SUCH_CALL),
            by: By::Sandbox,
            rule: None,
        };
    }
    let own = filter.own.decisions.ask(number, &all);
    let above = filter.ceiling.as_deref().map(|rules| (rules, rules.decisions.ask(number, &all)));
    match above {
        Some((rules, ending)) if own.outcome.unless_stricter(ending.outcome) != own.outcome => {
            case(rules, By::Ceiling, ending, String::new())
        }
        _ => case(&filter.own, By::Profile, own, String::new()),
    }
}

fn case(rules: &Ruleset, by: By, ending: Ending, when: String) -> Case {
    let grounds = |index: usize| Grounds {
        file: rules.file.clone(),
        key: match index < rules.of_file {
            true => format!("syscalls[{index}]"),
            false => "calls.allow".to_owned(),
        },
        reason: rules.rules.get(index).map(|rule| rule.comment.clone()).unwrap_or_default(),
    };
    Case {
        when,
        verdict: if ending.outcome.lets_through() { Verdict::Allowed } else { Verdict::Denied },
        outcome: words(ending.outcome),
        by: if ending.rule.is_some() { by } else { By::Default },
        rule: ending.rule.map(grounds),
    }
}

/// What arguments can make of a call. The ceiling's refusals come first: they
/// hold whatever the profile says.
fn cases(filter: &Filter, number: u32) -> Vec<Case> {
    let when = |conditions: &[crate::oci::Condition]| {
        let parts: Vec<_> = conditions.iter().map(|c| calls::condition(number, c)).collect();
        parts.join(", ")
    };
    let mut out: Vec<Case> = Vec::new();
    if let Some(rules) = filter.ceiling.as_deref()
        && let Some(decision) = rules.decisions.table.get(&number)
    {
        let refusing = decision.tests.iter().filter(|test| !test.ending.outcome.lets_through());
        out.extend(
            refusing.map(|test| case(rules, By::Ceiling, test.ending, when(&test.conditions))),
        );
    }
    if let Some(decision) = filter.own.decisions.table.get(&number) {
        for test in &decision.tests {
            let told = case(&filter.own, By::Profile, test.ending, when(&test.conditions));
            out.retain(|earlier| (&earlier.when, &earlier.outcome) != (&told.when, &told.outcome));
            out.push(told);
        }
    }
    if !out.is_empty() {
        // What neither list of tests names: as for arguments that pass none.
        let rest = filter.own.decisions.table.get(&number).map(|decision| decision.otherwise);
        out.push(case(
            &filter.own,
            By::Profile,
            rest.unwrap_or(filter.own.decisions.default),
            String::new(),
        ));
    }
    out
}

/// An outcome in words.
#[must_use]
pub fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Allow => "is made".to_owned(),
        Outcome::Log => "is made, and logged".to_owned(),
        Outcome::Errno(number) => {
            let error = syscalls::Errno::new(i32::from(number));
            match (error.name(), error.description()) {
                (Some(name), Some(text)) => format!("fails with {name} ({text})"),
                _ => format!("fails with error {number}"),
            }
        }
        Outcome::Trap => "ends in SIGSYS".to_owned(),
        Outcome::KillThread => "ends the thread".to_owned(),
        Outcome::KillProcess => "ends the process".to_owned(),
    }
}
