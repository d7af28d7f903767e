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
    let table = (0..1000).step_by(2).map(|number| (number, allowed.clone())).collect();
    let program = compile(&decisions(table), &plain).expect("it fits");
    let plain_jumps = program.chunks(8).filter(|i| i[..2] == JUMP.to_ne_bytes()).count();
    assert!(plain_jumps > 0);
    for number in 0..1000 {
        let expected = if number % 2 == 0 { Outcome::Allow } else { Outcome::NO_SUCH_CALL };
        assert_eq!(walk(&program, number), expected.code(), "{number}");
    }
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_refused() {
    let condition = |value| Condition { index: 0, comparison: Comparison::Equal, value };
    let test = |value| Test { conditions: vec![condition(value)], ending: ending(Outcome::Allow) };
    let call =
        Decision { tests: (0..2000).map(test).collect(), otherwise: ending(Outcome::NO_SUCH_CALL) };
    let fault =
        compile(&decisions(BTreeMap::from([(1, call)])), &plain).expect_err("it is too long");
    assert!(fault.message.contains("the kernel takes 4096"), "{}", fault.message);
}

/// Follows the tree for a call number of the right architecture.
fn walk(program: &[u8], number: u32) -> u32 {
    let (mut at, mut loaded) = (0, 0);
    loop {
        let instruction = &program[at * 8..at * 8 + 8];
        let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let k =
            u32::from_ne_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        at += 1;
        let holds = match code {
            LOAD_WORD => {
                loaded = if k == NR_OFFSET { number } else { ARCH_X86_64 };
                continue;
            }
            RETURN => return k,
            JUMP => {
                at += k as usize;
                continue;
            }
            JUMP_IF_EQUAL => loaded == k,
            _ => loaded >= k,
        };
        at += usize::from(instruction[if holds { 2 } else { 3 }]);
    }
}
