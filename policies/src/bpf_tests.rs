use super::proof::{decode, execute};
use super::*;
use crate::decision::{Ending, Test};
use crate::oci::Comparison;

fn ending(outcome: Outcome) -> Ending {
    Ending { outcome, rule: None }
}

fn decisions(table: BTreeMap<u32, Decision>) -> Decisions {
    Decisions { table, default: ending(Outcome::NO_SUCH_CALL) }
}

fn plain(_: Option<u32>, outcome: Outcome) -> u32 {
    outcome.code()
}

#[test]
fn far_leaves_are_reached_by_plain_jumps() {
    // Every second number has a leaf of its own: the lower half of the tree is
    // longer than a conditional jump reaches.
    let allowed = Decision { tests: Vec::new(), otherwise: ending(Outcome::Allow) };
    let table = (0..4000).step_by(2).map(|number| (number, allowed.clone())).collect();
    let program = compile(&decisions(table), &plain).expect("it fits");
    let plain_jumps = program.chunks(8).filter(|i| i[..2] == JUMP.to_ne_bytes()).count();
    assert!(plain_jumps > 0);
    for number in 0..4000 {
        let expected = if number % 2 == 0 { Outcome::Allow } else { Outcome::NO_SUCH_CALL };
        let verdict = execute(&decode(&program), ARCH_X86_64, number, &[0; 6]);
        assert_eq!(verdict, expected.code(), "{number}");
    }
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_refused() {
    let condition = |value| Condition { index: 0, comparison: Comparison::Equal, value };
    let test = |value| Test { conditions: vec![condition(value)], ending: ending(Outcome::Allow) };
    let call =
        Decision { tests: (0..5000).map(test).collect(), otherwise: ending(Outcome::NO_SUCH_CALL) };
    let fault =
        compile(&decisions(BTreeMap::from([(1, call)])), &plain).expect_err("it is too long");
    assert!(fault.message.contains("the kernel takes 4096"), "{}", fault.message);
}

#[test]
fn what_ends_alike_is_written_once() {
    let condition = |value| Condition { index: 0, comparison: Comparison::Equal, value };
    let test = |value| Test { conditions: vec![condition(value)], ending: ending(Outcome::Allow) };
    let call = |values: std::ops::Range<u64>| Decision {
        tests: values.map(test).collect(),
        otherwise: ending(Outcome::NO_SUCH_CALL),
    };
    let length = |table: BTreeMap<u32, Decision>| {
        compile(&decisions(table), &plain).expect("it fits").len() / 8
    };
    let alone = length(BTreeMap::from([(1, call(0..9))]));
    // Two tests of the number lead to the second call, whose own are there already.
    assert_eq!(length(BTreeMap::from([(1, call(0..9)), (5, call(0..9))])), alone + 2);
    // A further value loads and compares two words: the outcome is there already.
    assert_eq!(length(BTreeMap::from([(1, call(0..10))])), alone + 4);
}
