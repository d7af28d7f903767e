use super::*;
use proptest::prelude::*;

const ENOENT: Outcome = Outcome::Errno(2);
const EPERM: Outcome = Outcome::Errno(1);

fn ending(outcome: Outcome) -> Ending {
    Ending { outcome, rule: None }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Allow,
        Outcome::Log,
        EPERM,
        ENOENT,
        Outcome::Trap,
        Outcome::KillProcess,
    ])
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::AtMost),
        Just(Comparison::Equal),
        Just(Comparison::AtLeast),
        Just(Comparison::Greater),
        (0..8u64).prop_map(Comparison::Masked),
    ];
    (0..2u8, comparison, 0..8u64).prop_map(|(index, comparison, value)| Condition {
        index,
        comparison,
        value: match comparison {
            Comparison::Masked(mask) => value & mask,
            _ => value,
        },
    })
}

fn decision() -> impl Strategy<Value = Decision> {
    let test = (prop::collection::vec(condition(), 1..3), outcome())
        .prop_map(|(conditions, outcome)| Test { conditions, ending: ending(outcome) });
    (prop::collection::vec(test, 0..4), outcome())
        .prop_map(|(tests, outcome)| Decision { tests, otherwise: ending(outcome) })
}

proptest! {
    #[test]
    fn two_files_on_each_other_are_the_stricter_of_both(own in decision(), above in decision()) {
        let merged = own.under(&above);
        for first in 0..9 {
            for second in 0..9 {
                let args = [first, second, 0, 0, 0, 0];
                let (one, other) = (own.ask(&args).outcome, above.ask(&args).outcome);
                let expected =
                    if other.strictness() > one.strictness() { other } else { one };
                prop_assert_eq!(merged.ask(&args).outcome, expected, "{:?}", args);
            }
        }
    }
}

#[test]
fn steps_that_say_the_same_are_not_repeated() {
    let masked = |value| Condition { index: 1, comparison: Comparison::Masked(0xff), value };
    let refuse = |value| Test { conditions: vec![masked(value)], ending: ending(EPERM) };
    let own = Decision {
        tests: vec![refuse(1), refuse(2), refuse(3)],
        otherwise: ending(Outcome::Allow),
    };
    let above = Decision { tests: vec![refuse(1), refuse(2)], otherwise: ending(Outcome::Allow) };
    assert_eq!(own.under(&above).tests.len(), 3);

    let allow = Test { conditions: vec![masked(0)], ending: ending(Outcome::Allow) };
    let clone = Decision { tests: vec![allow], otherwise: ending(EPERM) };
    assert_eq!(clone.under(&clone), clone);
}
