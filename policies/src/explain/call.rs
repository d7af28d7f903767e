//! System calls.

use super::{By, Case, Explanation, Grounds, Verdict};
use crate::calls;
use crate::decision::Ending;
use crate::filter::{Filter, Ruleset};
use crate::oci::Outcome;
use crate::problem::{PolicyError, choices_of_many};
use crate::profile::{Denials, Profile};
use syscalls::x86_64::Sysno;

/// Key of the rules that a profile has beyond its seccomp profile.
const OWN_RULES: &str = "calls.allow";

/// Whether the call of this name or number is made. Arguments that are `None` or
/// missing are unknown: where they decide, every case is told.
///
/// # Errors
/// [`PolicyError::UnknownCall`].
pub fn call(
    profile: &Profile,
    filter: &Filter,
    name_or_number: &str,
    args: &[Option<u64>],
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
    let shown: Vec<String> =
        args.iter().map(|arg| arg.map_or("_".to_owned(), |arg| format!("{arg:#x}"))).collect();
    let question = if args.is_empty() { name } else { format!("{name}({})", shown.join(", ")) };
    let mut cases = cases(filter, number, args);
    for grounds in cases.iter_mut().filter_map(|case| case.rule.as_mut()) {
        if grounds.key == OWN_RULES {
            grounds.file.clone_from(&profile.name);
        }
    }
    let told = told(profile, filter, number);
    let last = cases.pop().unwrap_or_else(unknown_interface);
    if cases.iter().any(|case| case.outcome != last.outcome) {
        cases.push(last);
        return Ok(Explanation {
            question,
            profile: profile.name.clone(),
            verdict: Verdict::Depends,
            outcome: format!("the arguments decide{told}"),
            by: By::Profile,
            rule: None,
            cases,
        });
    }
    Ok(Explanation {
        question,
        profile: profile.name.clone(),
        verdict: last.verdict,
        outcome: match last.verdict {
            Verdict::Denied => format!("{}{told}", last.outcome),
            _ => last.outcome,
        },
        by: last.by,
        rule: last.rule,
        cases: Vec::new(),
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

/// A call that does not enter by the interface of x86-64.
fn unknown_interface() -> Case {
    Case {
        when: String::new(),
        verdict: Verdict::Denied,
        outcome: words(Outcome::NO_SUCH_CALL),
        by: By::Sandbox,
        rule: None,
    }
}

fn case(rules: &Ruleset, by: By, ending: Ending, when: String) -> Case {
    let grounds = |index: usize| Grounds {
        file: rules.file.clone(),
        key: match index < rules.of_file {
            true => format!("syscalls[{index}]"),
            false => OWN_RULES.to_owned(),
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

/// What the arguments that are not known can make of a call; one case where they
/// do not matter. The ceiling's refusals come first: they hold whatever the
/// profile says. None for a call by another interface.
fn cases(filter: &Filter, number: u32, args: &[Option<u64>]) -> Vec<Case> {
    if number >= calls::X32_BIT {
        return Vec::new();
    }
    let when = |conditions: &[crate::oci::Condition]| {
        let parts: Vec<_> = conditions.iter().map(|c| calls::condition(number, c)).collect();
        parts.join(", ")
    };
    let own = filter.own.decisions.of(number).given(args);
    let above = filter.ceiling.as_deref().map(|rules| (rules, rules.decisions.of(number)));
    let above = above.map(|(rules, decision)| (rules, decision.given(args)));
    let mut out: Vec<Case> = Vec::new();
    if let Some((rules, decision)) = &above {
        let refusing = decision.tests.iter().filter(|test| !test.ending.outcome.lets_through());
        out.extend(
            refusing.map(|test| case(rules, By::Ceiling, test.ending, when(&test.conditions))),
        );
    }
    let stricter = |ending: Ending, when: String| match &above {
        Some((rules, above))
            if ending.outcome.unless_stricter(above.otherwise.outcome) != ending.outcome =>
        {
            case(rules, By::Ceiling, above.otherwise, when)
        }
        _ => case(&filter.own, By::Profile, ending, when),
    };
    for test in &own.tests {
        let told = stricter(test.ending, when(&test.conditions));
        out.retain(|earlier| (&earlier.when, &earlier.outcome) != (&told.when, &told.outcome));
        out.push(told);
    }
    out.push(stricter(own.otherwise, String::new()));
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
            // The table of names describes the interface, not the error.
            let text = match outcome {
                Outcome::NO_SUCH_CALL => Some("Function not implemented"),
                _ => error.description(),
            };
            match (error.name(), text) {
                (Some(name), Some(text)) => format!("fails with {name} ({text})"),
                _ => format!("fails with error {number}"),
            }
        }
        Outcome::Trap => "ends in SIGSYS".to_owned(),
        Outcome::KillThread => "ends the thread".to_owned(),
        Outcome::KillProcess => "ends the process".to_owned(),
    }
}
