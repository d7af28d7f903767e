//! What is decided about each call, and by which rule: the rules of a file in
//! the order in which they are asked, and two files laid on each other.

use crate::oci::{Calls, Comparison, Condition, Outcome};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// An outcome, and the index of the rule that says so. None where no rule names
/// the call, and where two files were laid on each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) rule: Option<usize>,
}

/// One step: when all conditions hold, this is the ending.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) ending: Ending,
}

/// All steps for one call; the first test that holds decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) tests: Vec<Test>,
    pub(crate) otherwise: Ending,
}

impl Decision {
    fn always(ending: Ending) -> Self {
        Self { tests: Vec::new(), otherwise: ending }
    }

    /// Every ending there is, in order.
    pub(crate) fn endings(&self) -> impl DoubleEndedIterator<Item = Ending> {
        self.tests.iter().map(|test| test.ending).chain([self.otherwise])
    }

    fn ask(&self, args: &[u64; 6]) -> Ending {
        let holds = |test: &&Test| test.conditions.iter().all(|condition| condition.holds(args));
        self.tests.iter().find(holds).map_or(self.otherwise, |test| test.ending)
    }

    /// What is left to decide where some arguments are known: without the steps
    /// that cannot hold, and none after one that does.
    pub(crate) fn given(&self, args: &[Option<u64>]) -> Self {
        let mut out = Self::always(self.otherwise);
        for test in &self.tests {
            let mut open = test.conditions.clone();
            if open.iter().any(|condition| condition.holds_of_known(args) == Some(false)) {
                continue;
            }
            open.retain(|condition| condition.holds_of_known(args).is_none());
            if open.is_empty() {
                out.otherwise = test.ending;
                break;
            }
            out.tests.push(Test { conditions: open, ending: test.ending });
        }
        out
    }

    /// The stricter of both for every combination of arguments: the steps of
    /// `ceiling`, each followed by those of `self`. On equal strictness `self`
    /// decides, as the kernel takes the error of the filter installed last.
    fn under(&self, ceiling: &Self) -> Self {
        let mut tests: Vec<Test> = Vec::new();
        for outer in &ceiling.tests {
            let mut inner = self.endings().map(|ending| stricter(ending, outer.ending));
            let first = stricter(self.otherwise, outer.ending);
            if inner.all(|ending| ending.outcome == first.outcome) {
                tests.push(Test { conditions: outer.conditions.clone(), ending: first });
                continue;
            }
            for test in &self.tests {
                if let Some(conditions) = both(&outer.conditions, &test.conditions) {
                    let ending = stricter(test.ending, outer.ending);
                    tests.push(Test { conditions, ending });
                }
            }
            tests.push(Test { conditions: outer.conditions.clone(), ending: first });
        }
        tests.extend(self.tests.iter().map(|test| Test {
            conditions: test.conditions.clone(),
            ending: stricter(test.ending, ceiling.otherwise),
        }));
        let mut out = Self { tests, otherwise: stricter(self.otherwise, ceiling.otherwise) };
        out.shorten();
        out
    }

    /// Leaves out steps that can change nothing.
    fn shorten(&mut self) {
        let mut kept: Vec<Test> = Vec::new();
        for test in self.tests.drain(..) {
            let implied = |earlier: &Test| {
                earlier.conditions.iter().all(|condition| test.conditions.contains(condition))
            };
            if !kept.iter().any(implied) {
                kept.push(test);
            }
        }
        while kept.last().is_some_and(|last| last.ending.outcome == self.otherwise.outcome) {
            kept.pop();
        }
        self.tests = kept;
    }
}

fn stricter(profile: Ending, ceiling: Ending) -> Ending {
    Ending { outcome: profile.outcome.unless_stricter(ceiling.outcome), rule: None }
}

/// Both lists at once; none when they cannot hold together.
fn both(one: &[Condition], other: &[Condition]) -> Option<Vec<Condition>> {
    let mut out = one.to_vec();
    for condition in other {
        if one.iter().any(|earlier| excludes(earlier, condition)) {
            return None;
        }
        if !out.contains(condition) {
            out.push(*condition);
        }
    }
    Some(out)
}

/// Two tests for equality that no value passes. Of other pairs it is not said.
pub(crate) fn excludes(one: &Condition, other: &Condition) -> bool {
    let bits = |condition: &Condition| match condition.comparison {
        Comparison::Equal => Some((u64::MAX, condition.value)),
        Comparison::Masked(mask) => Some((mask, condition.value)),
        _ => None,
    };
    match (one.index == other.index, bits(one), bits(other)) {
        (true, Some((mask, value)), Some((other_mask, other_value))) => {
            (value ^ other_value) & mask & other_mask != 0
        }
        _ => false,
    }
}

/// The same outcomes for the same arguments, written in the same order.
pub(crate) fn same(one: &Decision, other: &Decision) -> bool {
    let steps = |decision: &Decision| -> Vec<_> {
        let tests = decision.tests.iter();
        tests.map(|test| (test.conditions.clone(), test.ending.outcome)).collect()
    };
    one.otherwise.outcome == other.otherwise.outcome && steps(one) == steps(other)
}

/// The decisions of a file, or of a file under a ceiling.
#[derive(Clone, Debug)]
pub(crate) struct Decisions {
    pub(crate) table: BTreeMap<u32, Decision>,
    pub(crate) default: Ending,
}

impl Decisions {
    pub(crate) fn new(calls: &Calls, default: Outcome) -> Self {
        let default = Ending { outcome: default, rule: None };
        let table = calls.table.iter().map(|(&number, call)| {
            let ending = |outcome, rule| Ending { outcome, rule: Some(rule) };
            let test = |(outcome, conditions, rule): &(Outcome, Vec<Condition>, usize)| Test {
                conditions: conditions.clone(),
                ending: ending(*outcome, *rule),
            };
            let mut tests: Vec<Test> = call.conditional.iter().map(test).collect();
            tests.sort_by_key(|test| Reverse(test.ending.outcome.strictness()));
            let otherwise = call.always.map_or(default, |(outcome, rule)| ending(outcome, rule));
            (number, Decision { tests, otherwise })
        });
        Self { table: table.collect(), default }
    }

    /// These under a ceiling: of both outcomes the stricter.
    pub(crate) fn under(&self, ceiling: &Self) -> Self {
        let numbers: BTreeSet<u32> =
            self.table.keys().chain(ceiling.table.keys()).copied().collect();
        let default = stricter(self.default, ceiling.default);
        let merge = |number: u32| self.of(number).under(&ceiling.of(number));
        let table = numbers
            .into_iter()
            .map(|number| (number, merge(number)))
            .filter(|(_, decision)| *decision != Decision::always(default));
        Self { table: table.collect(), default }
    }

    /// What is decided about one call.
    pub(crate) fn of(&self, number: u32) -> Decision {
        self.table.get(&number).cloned().unwrap_or_else(|| Decision::always(self.default))
    }

    /// Lets a call through whatever its arguments, by the rule of this index.
    pub(crate) fn allow(&mut self, number: u32, rule: usize) {
        let ending = Ending { outcome: Outcome::Allow, rule: Some(rule) };
        self.table.insert(number, Decision::always(ending));
    }

    /// Gives a call a line of its own, as it is by default.
    pub(crate) fn single_out(&mut self, number: u32) {
        self.table.entry(number).or_insert_with(|| Decision::always(self.default));
    }

    /// What happens to a call of this architecture, x32 aside.
    pub(crate) fn ask(&self, number: u32, args: &[u64; 6]) -> Ending {
        self.table.get(&number).map_or(self.default, |decision| decision.ask(args))
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
