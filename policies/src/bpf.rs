//! From rules to a BPF program.
//!
//! seccompiler writes the tests of the arguments. The choice by call number is
//! a search tree of our own: seccompiler asks for one number after the other,
//! five instructions a call, and the kernel runs the program once for every
//! number when it is installed. For 300 calls that costs each job 0.64 ms, the
//! tree 0.05 ms.

use crate::assemble::{Step, assemble};
use crate::calls::X32_BIT;
use crate::decision::{Decision, Decisions};
use crate::oci::{Condition, Outcome};
use crate::problem::Fault;
use seccompiler::{BpfProgram, SeccompRule, sock_filter};
use std::collections::BTreeMap;

/// Longest program the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// `AUDIT_ARCH_X86_64`.
const ARCH_X86_64: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data`.
const NR_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// What the kernel is told for an outcome of a call; without a number, of every
/// call that has no line of its own.
pub(crate) type Code<'a> = &'a dyn Fn(Option<u32>, Outcome) -> u32;

/// What stands at the end of a path through the tree.
#[derive(Clone, Copy, PartialEq)]
enum Leaf {
    Return(u32),
    /// Arguments decide: the block of this call.
    Block(u32),
}

/// Compiles decisions to the bytes of a `struct sock_filter` array.
pub(crate) fn compile(decisions: &Decisions, code: Code<'_>) -> Result<Vec<u8>, Fault> {
    let mut blocks: BTreeMap<u32, BpfProgram> = BTreeMap::new();
    for (&number, call) in decisions.table.iter().filter(|(_, call)| !call.tests.is_empty()) {
        blocks.insert(number, block(call, &|outcome| code(Some(number), outcome))?);
    }
    let mut steps = vec![
        Step::Plain { code: LOAD_WORD, k: ARCH_OFFSET },
        Step::Test { code: JUMP_IF_EQUAL, k: ARCH_X86_64, yes: 3, no: 2 },
        Step::Return(Outcome::KillProcess.code()),
        Step::Plain { code: LOAD_WORD, k: NR_OFFSET },
    ];
    let mut calls = Vec::new();
    tree(&segments(decisions, code), &mut steps, &mut calls);
    append(&mut steps, &calls, &blocks);
    let program = assemble(&steps);
    if program.len() > MAX_INSTRUCTIONS {
        let length = program.len();
        return Err(Fault::new(
            format!("compiles to {length} instructions, and the kernel takes {MAX_INSTRUCTIONS}"),
            "write fewer rules with args",
        ));
    }
    Ok(encode(&program))
}

/// Ranges of call numbers with one leaf each, by their first number.
fn segments(decisions: &Decisions, code: Code<'_>) -> Vec<(u32, Leaf)> {
    let default = Leaf::Return(code(None, decisions.default.outcome));
    let mut out = vec![(0, default)];
    let mut push = |first: u32, leaf: Leaf| match out.last_mut() {
        Some(last) if last.1 == leaf => {}
        Some(last) if last.0 == first => last.1 = leaf,
        _ => out.push((first, leaf)),
    };
    for (&number, call) in &decisions.table {
        let leaf = match call.tests.is_empty() {
            false => Leaf::Block(number),
            true => Leaf::Return(code(Some(number), call.otherwise.outcome)),
        };
        push(number, leaf);
        if !decisions.table.contains_key(&(number + 1)) {
            push(number + 1, default);
        }
    }
    // The x32 interface runs the same calls under other numbers. A kernel
    // without it answers ENOSYS, and so does every filter, also one that
    // allows by default.
    push(X32_BIT, Leaf::Return(Outcome::NO_SUCH_CALL.code()));
    out
}

/// Halves the ranges until one is left. Where a block belongs its call is noted.
fn tree(segments: &[(u32, Leaf)], steps: &mut Vec<Step>, calls: &mut Vec<(usize, u32)>) {
    let at = steps.len();
    match segments {
        [] => {}
        [(_, Leaf::Return(code))] => steps.push(Step::Return(*code)),
        [(_, Leaf::Block(number))] => {
            calls.push((at, *number));
            steps.push(Step::Jump(at));
        }
        _ => {
            let (low, high) = segments.split_at(segments.len() / 2);
            steps.push(Step::Jump(at));
            tree(low, steps, calls);
            let (yes, no) = (steps.len(), at + 1);
            steps[at] = Step::Test { code: JUMP_IF_AT_LEAST, k: high[0].0, yes, no };
            tree(high, steps, calls);
        }
    }
}

/// Puts the blocks behind the tree and leads to them.
fn append(steps: &mut Vec<Step>, calls: &[(usize, u32)], blocks: &BTreeMap<u32, BpfProgram>) {
    for (at, number) in calls {
        let start = steps.len();
        steps[*at] = Step::Jump(start);
        let block = blocks[number].iter().enumerate();
        steps.extend(block.map(|(offset, instruction)| Step::of(instruction, start + offset)));
    }
}

/// The tests of one call's arguments, one after the other.
fn block(call: &Decision, code: &dyn Fn(Outcome) -> u32) -> Result<BpfProgram, Fault> {
    let mut out = BpfProgram::new();
    let mut loaded: Option<sock_filter> = None;
    for test in &call.tests {
        let rule = test
            .conditions
            .iter()
            .map(Condition::lower)
            .collect::<Result<Vec<_>, _>>()
            .and_then(SeccompRule::new)
            .map_err(|error| Fault::new(error.to_string(), "correct the rule's args"))?;
        let rule = BpfProgram::from(rule);
        let tests = tests_of(&rule);
        // Comparisons leave the accumulator alone: a list of values for one
        // argument loads it once.
        match (tests, loaded) {
            ([load, compare], Some(earlier)) if *load == earlier => out.push(compare.clone()),
            _ => out.extend_from_slice(tests),
        }
        loaded = match tests {
            [load, _] if load.code == LOAD_WORD => Some(load.clone()),
            _ => None,
        };
        out.push(statement(RETURN, code(test.ending.outcome)));
    }
    out.push(statement(RETURN, code(call.otherwise.outcome)));
    Ok(out)
}

/// A rule of seccompiler begins with a jump over a jump to the next rule of its
/// own chain. That target does not exist here, and the kernel refuses a program
/// with a jump past its end even where nothing reaches it.
fn tests_of(rule: &[sock_filter]) -> &[sock_filter] {
    match rule {
        [over, chain, tests @ ..] if (over.code, over.k, chain.code) == (JUMP, 1, JUMP) => tests,
        _ => rule,
    }
}

fn encode(program: &[sock_filter]) -> Vec<u8> {
    let mut out = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        out.extend_from_slice(&instruction.code.to_ne_bytes());
        out.extend_from_slice(&[instruction.jt, instruction.jf]);
        out.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    out
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

#[cfg(test)]
#[path = "bpf_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod proof;
