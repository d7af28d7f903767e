//! The kernel's side of seccomp for tests, and a second reading of the policy
//! files that shares no code with the crate.

use fetchml_policies::{Counting, Outcome};
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;
use syscalls::x86_64::Sysno;

pub(crate) const X86_64: u32 = 0xc000_003e;

/// `struct seccomp_data`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) arch: u32,
    pub(crate) number: u32,
    pub(crate) args: [u64; 6],
}

/// The outcome of installed programs: the strictest, and of equally strict ones
/// the last installed.
pub(crate) fn run(programs: &[Vec<u8>], call: &Call) -> Outcome {
    let verdict =
        programs.iter().map(|program| execute(program, call).0).reduce(|earlier, later| {
            if action(later) <= action(earlier) { later } else { earlier }
        });
    outcome(verdict.expect("there is a program"))
}

/// The outcome of a program that asks a listener, and whether it was asked.
pub(crate) fn listen(counting: &Counting, call: &Call) -> (Outcome, bool) {
    match execute(&counting.program, call).0 {
        0x7fc0_0000 => (Outcome::Errno(counting.refusals.errno(call.number)), true),
        verdict => (outcome(verdict), false),
    }
}

/// The stricter one, and of equally strict ones the last installed.
pub(crate) fn stricter(earlier: Outcome, later: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Allow => 0,
        Outcome::Log => 1,
        Outcome::Errno(_) => 2,
        Outcome::Trap => 3,
        Outcome::KillThread => 4,
        Outcome::KillProcess => 5,
    };
    if rank(earlier) > rank(later) { earlier } else { later }
}

/// Instructions executed until the verdict.
pub(crate) fn steps(program: &[u8], call: &Call) -> usize {
    execute(program, call).1
}

/// The kernel compares actions as signed numbers: KILL_PROCESS is the smallest.
fn action(verdict: u32) -> i32 {
    (verdict & 0xffff_0000).cast_signed()
}

fn outcome(verdict: u32) -> Outcome {
    match verdict & 0xffff_0000 {
        0x7fff_0000 => Outcome::Allow,
        0x7ffc_0000 => Outcome::Log,
        0x0005_0000 => Outcome::Errno((verdict & 0xffff).try_into().expect("16 bits")),
        0x0003_0000 => Outcome::Trap,
        0 => Outcome::KillThread,
        0x8000_0000 => Outcome::KillProcess,
        other => panic!("unknown action {other:#x}"),
    }
}

/// What the kernel checks before it takes a program (`bpf_check_classic` and
/// `seccomp_check_filter`).
pub(crate) fn accepts(program: &[u8]) -> Result<(), String> {
    let (instructions, []) = program.as_chunks::<8>() else {
        return Err("the length is no multiple of an instruction's".to_owned());
    };
    let count = instructions.len();
    if !(1..=4096).contains(&count) {
        return Err(format!("{count} instructions"));
    }
    for (at, instruction) in instructions.iter().enumerate() {
        let [c0, c1, jt, jf, k @ ..] = *instruction;
        let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes(k) as usize);
        let left = count - at - 1;
        let fine = match code {
            0x20 => k < 64 && k.is_multiple_of(4),
            0x05 => k < left,
            0x15 | 0x25 | 0x35 | 0x45 => usize::from(jt.max(jf)) < left,
            0x06 | 0x54 => true,
            _ => false,
        };
        if !fine {
            return Err(format!("instruction {at} of {count}: {instruction:x?}"));
        }
    }
    match instructions.last() {
        Some([6, 0, ..]) => Ok(()),
        last => Err(format!("ends with {last:x?}")),
    }
}

fn execute(program: &[u8], call: &Call) -> (u32, usize) {
    let data = data(call);
    let (mut at, mut accumulator, mut steps) = (0usize, 0u32, 0usize);
    loop {
        let instruction = program.get(at * 8..at * 8 + 8).expect("the program ends with a verdict");
        let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let (jt, jf) = (usize::from(instruction[2]), usize::from(instruction[3]));
        let k = u32::from_ne_bytes(instruction[4..8].try_into().expect("four bytes"));
        at += 1;
        steps += 1;
        let mut branch = |taken: bool| at += if taken { jt } else { jf };
        match code {
            0x20 => {
                let offset = k as usize;
                accumulator =
                    u32::from_ne_bytes(data[offset..offset + 4].try_into().expect("four bytes"));
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x45 => branch(accumulator & k != 0),
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x} is not known here"),
        }
    }
}

fn data(call: &Call) -> [u8; 64] {
    let mut out = [0; 64];
    out[..4].copy_from_slice(&call.number.to_ne_bytes());
    out[4..8].copy_from_slice(&call.arch.to_ne_bytes());
    for (index, arg) in call.args.iter().enumerate() {
        out[16 + index * 8..24 + index * 8].copy_from_slice(&arg.to_ne_bytes());
    }
    out
}

/// A policy file as it is written.
pub(crate) struct Written {
    default: Outcome,
    rules: Vec<Value>,
    by_number: BTreeMap<u32, Vec<usize>>,
}

impl Written {
    pub(crate) fn read(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).expect("the file is JSON");
        let rules = document["syscalls"].as_array().expect("syscalls is a list").clone();
        let mut by_number: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, rule) in rules.iter().enumerate() {
            for name in rule["names"].as_array().expect("names is a list") {
                let number = Sysno::from_str(name.as_str().expect("a name")).expect("a known call");
                by_number.entry(number as u32).or_default().push(index);
            }
        }
        Self {
            default: stated(&document["defaultAction"], &document["defaultErrnoRet"]),
            rules,
            by_number,
        }
    }

    /// Every value that an argument of the call is compared with.
    pub(crate) fn values(&self, number: u32) -> Vec<u64> {
        let rules = self.by_number.get(&number).into_iter().flatten();
        let args = rules.filter_map(|&index| self.rules[index]["args"].as_array()).flatten();
        args.filter_map(|arg| arg["valueTwo"].as_u64()).collect()
    }

    /// A refusal whose arguments match, then a permission whose arguments
    /// match, then the rule without arguments, then the default.
    pub(crate) fn outcome(&self, call: &Call) -> Outcome {
        let rules = || {
            self.by_number.get(&call.number).into_iter().flatten().map(|&index| &self.rules[index])
        };
        let outcome = |rule: &Value| stated(&rule["action"], &rule["errnoRet"]);
        let matching = || rules().filter(|rule| matches(rule, call));
        matching()
            .map(outcome)
            .find(|outcome| *outcome != Outcome::Allow)
            .or_else(|| matching().map(outcome).next())
            .or_else(|| rules().find(|rule| rule["args"].is_null()).map(outcome))
            .unwrap_or(self.default)
    }
}

fn matches(rule: &Value, call: &Call) -> bool {
    rule["args"].as_array().is_some_and(|args| {
        args.iter().all(|arg| {
            let index = usize::try_from(arg["index"].as_u64().expect("an index")).expect("small");
            let value = arg["value"].as_u64().expect("a value");
            match arg["op"].as_str() {
                Some("SCMP_CMP_MASKED_EQ") => {
                    call.args[index] & value == arg["valueTwo"].as_u64().expect("a value")
                }
                // For pointers, which have a high half.
                Some("SCMP_CMP_NE") => call.args[index] != value,
                other => panic!("{other:?}: int arguments are compared without their high half"),
            }
        })
    })
}

fn stated(action: &Value, errno: &Value) -> Outcome {
    match action.as_str() {
        Some("SCMP_ACT_ALLOW") => Outcome::Allow,
        Some("SCMP_ACT_ERRNO") => Outcome::Errno(
            errno.as_u64().and_then(|number| number.try_into().ok()).expect("an error number"),
        ),
        other => panic!("{other:?} is not used by the vendor's files"),
    }
}
