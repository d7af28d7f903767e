//! What a filter lets through and no filter of the vendor does.
//!
//! The vendor's profiles are what every user may have. Whatever a site's profile
//! allows beyond all of them is a privilege, whichever file it comes from. Where it
//! cannot be proved that a call stays within them it counts as beyond: the mistake
//! costs somebody a role, the other one would cost the machine.

use crate::calls;
use crate::decision::{Decision, Decisions, excludes};
use crate::oci::{Comparison, Condition};

/// The calls by name, those of which the vendor lets a part through as `NAME with
/// more arguments`.
pub(crate) fn beyond(own: &Decisions, vendor: &[Decisions]) -> Vec<String> {
    let mut out = Vec::new();
    for (&number, decision) in &own.table {
        let theirs: Vec<Decision> = vendor.iter().map(|decisions| decisions.of(number)).collect();
        if is_within(decision, &theirs) {
            continue;
        }
        let name = calls::name(number).map_or_else(|| format!("call {number}"), str::to_owned);
        let partly = theirs.iter().any(lets_some_through);
        out.push(if partly { format!("{name} with more arguments") } else { name });
    }
    out
}

fn lets_some_through(decision: &Decision) -> bool {
    decision.endings().any(|ending| ending.outcome.lets_through())
}

/// Whether everything that one decision lets through is let through by one of the
/// others, each step by any of them.
fn is_within(own: &Decision, others: &[Decision]) -> bool {
    let mut refused: Vec<&[Condition]> = Vec::new();
    for test in &own.tests {
        if !test.ending.outcome.lets_through() {
            refused.push(&test.conditions);
        } else if !others.iter().any(|other| allows(other, &test.conditions, &refused)) {
            return false;
        }
    }
    !own.otherwise.outcome.lets_through() || others.iter().any(|other| allows(other, &[], &refused))
}

/// Whether a decision lets through all arguments that pass the `given` conditions,
/// those that pass one of the `refused` lists left aside.
fn allows(decision: &Decision, given: &[Condition], refused: &[&[Condition]]) -> bool {
    for test in &decision.tests {
        let meets = |condition: &Condition| given.iter().any(|one| implies(one, condition));
        let lets_through = test.ending.outcome.lets_through();
        if test.conditions.iter().any(|condition| given.iter().any(|one| excludes(one, condition)))
        {
            continue;
        }
        if lets_through && test.conditions.iter().all(meets) {
            return true;
        }
        let aside = |list: &&[Condition]| list.iter().all(|one| test.conditions.contains(one));
        if !lets_through && !refused.iter().any(aside) {
            return false;
        }
    }
    decision.otherwise.outcome.lets_through()
}

/// Whether every value that passes the one test passes the other.
fn implies(one: &Condition, other: &Condition) -> bool {
    let fixed = (one.comparison == Comparison::Equal).then_some(one.value);
    one == other || one.index == other.index && fixed.is_some_and(|value| other.passes(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Ruleset;

    const SOCKET: u32 = 41;

    fn decisions(rules: &str) -> Decisions {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [{rules}]}}"#
        );
        Ruleset::read("x", "x.json", &text).expect("a good document").decisions.clone()
    }

    fn family(value: u64, action: &str) -> String {
        format!(
            r#"{{"names": ["socket"], "action": "SCMP_ACT_{action}",
                 "args": [{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#
        )
    }

    const ALWAYS: &str = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}"#;

    #[track_caller]
    fn assert_beyond(own: &str, vendor: &[&str], expected: &[&str]) {
        let vendor: Vec<_> = vendor.iter().map(|rules| decisions(rules)).collect();
        assert_eq!(beyond(&decisions(own), &vendor), expected, "{own}");
    }

    #[test]
    fn what_some_vendor_profile_lets_through_is_not_beyond() {
        let (unix, inet) = (family(1, "ALLOW"), family(2, "ALLOW"));
        let both = format!("{unix}, {inet}");
        assert_beyond(ALWAYS, &[ALWAYS], &[]);
        assert_beyond(&unix, &[&both], &[]);
        assert_beyond(&both, &[&unix, &inet], &[]);
        assert_beyond(&unix, &[ALWAYS], &[]);
        let not_inet = format!("{ALWAYS}, {}", family(2, "ERRNO"));
        assert_beyond(&not_inet, &[&not_inet], &[]);
        assert_beyond(&unix, &[&not_inet], &[]);
    }

    #[test]
    fn one_argument_more_is_beyond() {
        let (unix, inet) = (family(1, "ALLOW"), family(2, "ALLOW"));
        let more = ["socket with more arguments"];
        assert_beyond(&format!("{unix}, {inet}"), &[&unix], &more);
        assert_beyond(ALWAYS, &[&unix, &inet], &more);
        assert_beyond(ALWAYS, &[&format!("{ALWAYS}, {}", family(2, "ERRNO"))], &more);
        assert_beyond(ALWAYS, &[r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#], &["socket"]);
    }

    #[test]
    fn nothing_beyond_is_missed_for_arguments_that_are_asked() {
        let all = [family(1, "ALLOW"), family(2, "ALLOW"), family(2, "ERRNO"), ALWAYS.to_owned()];
        let sets: Vec<Decisions> = (0..1u32 << all.len())
            .map(|bits| {
                let chosen = all.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
                let rules: Vec<_> = chosen.map(|(_, rule)| rule.clone()).collect();
                decisions(&rules.join(", "))
            })
            .collect();
        for own in &sets {
            for vendor in sets.chunks(2) {
                let passes = |decisions: &Decisions, value| {
                    decisions.ask(SOCKET, &[value, 0, 0, 0, 0, 0]).outcome.lets_through()
                };
                let more = (0..4).any(|value| {
                    passes(own, value) && !vendor.iter().any(|other| passes(other, value))
                });
                assert!(!more || !beyond(own, vendor).is_empty(), "{own:?} under {vendor:?}");
            }
        }
    }
}
