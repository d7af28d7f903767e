//! Our programs against seccompiler's of the same rules, both run instruction by
//! instruction.
//!
//! A filter of seccompiler has one outcome for all its rules. The reference is
//! therefore a stack of its filters: the first tests of all calls, the second
//! ones and so on, and one that knows which calls are named at all. The first
//! that matches decides.

use super::*;
use crate::decision::{Ending, Test};
use crate::filter::{Counting, Filter};
use crate::library::Library;
use crate::oci::Comparison;
use proptest::prelude::*;
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
use std::path::Path;

const HIGH: u64 = 0xffff_ffff_0000_0000;
const KILL: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const USER_NOTIFICATION: u32 = 0x7fc0_0000;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;

pub(super) type Args = [u64; 6];

/// Runs a program as the kernel would.
pub(super) fn execute(program: &[sock_filter], arch: u32, number: u32, args: &Args) -> u32 {
    let word = |offset: u32| match offset {
        NR_OFFSET => number,
        ARCH_OFFSET => arch,
        _ => {
            let at = (offset - 16) as usize;
            let half = args[at / 8] >> if at.is_multiple_of(8) { 0 } else { 32 };
            u32::try_from(half & 0xffff_ffff).expect("half of it")
        }
    };
    let (mut at, mut loaded) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let holds = match step.code {
            LOAD_WORD => {
                loaded = word(step.k);
                continue;
            }
            0x54 => {
                loaded &= step.k;
                continue;
            }
            RETURN => return step.k,
            JUMP => {
                at += step.k as usize;
                continue;
            }
            JUMP_IF_EQUAL => loaded == step.k,
            0x25 => loaded > step.k,
            JUMP_IF_AT_LEAST => loaded >= step.k,
            0x45 => loaded & step.k != 0,
            other => panic!("instruction {other:#x} is not known here"),
        };
        at += usize::from(if holds { step.jt } else { step.jf });
    }
}

pub(super) fn decode(program: &[u8]) -> BpfProgram {
    let (instructions, []) = program.as_chunks::<8>() else { panic!("half an instruction") };
    let decode = |i: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([i[0], i[1]]),
        jt: i[2],
        jf: i[3],
        k: u32::from_ne_bytes([i[4], i[5], i[6], i[7]]),
    };
    instructions.iter().map(decode).collect()
}

/// Decisions as seccompiler compiles them.
struct Reference<'a> {
    decisions: &'a Decisions,
    layers: Vec<BpfProgram>,
    named: BpfProgram,
}

impl<'a> Reference<'a> {
    fn new(decisions: &'a Decisions) -> Self {
        let layer = |rules: BTreeMap<i64, Vec<SeccompRule>>| -> BpfProgram {
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Allow,
                SeccompAction::Trap,
                TargetArch::x86_64,
            );
            filter.and_then(TryInto::try_into).expect("seccompiler takes the rules")
        };
        let rule = |test: &Test| {
            let conditions = test.conditions.iter().map(|c| c.lower().expect("it is a condition"));
            SeccompRule::new(conditions.collect()).expect("there are conditions")
        };
        let deepest = decisions.table.values().map(|call| call.tests.len()).max().unwrap_or(0);
        let at = |depth: usize| {
            let tests = decisions.table.iter().filter_map(|(&number, call)| {
                Some((i64::from(number), vec![rule(call.tests.get(depth)?)]))
            });
            layer(tests.collect())
        };
        let named = decisions.table.keys().map(|&number| (i64::from(number), Vec::new()));
        Self { decisions, layers: (0..deepest).map(at).collect(), named: layer(named.collect()) }
    }

    /// None: the whole process is ended, by the architecture.
    fn ask(&self, arch: u32, number: u32, args: &Args) -> Option<Outcome> {
        for (depth, layer) in self.layers.iter().enumerate() {
            match execute(layer, arch, number, args) {
                KILL => return None,
                TRAP => return Some(self.decisions.table[&number].tests[depth].ending.outcome),
                _ => {}
            }
        }
        match execute(&self.named, arch, number, args) {
            KILL => None,
            TRAP => Some(self.decisions.table[&number].otherwise.outcome),
            _ => Some(self.decisions.default.outcome),
        }
    }
}

/// Values at which something could change, for each argument that is tested.
fn arguments(number: u32, files: &[&Decisions]) -> Vec<Args> {
    const MOST: usize = 2000;
    let tests = files.iter().filter_map(|file| file.table.get(&number)).flat_map(|c| &c.tests);
    let mut values: [Vec<u64>; 6] = Default::default();
    for condition in tests.flat_map(|test| &test.conditions) {
        let v = condition.value;
        let mask = match condition.comparison {
            Comparison::Masked(mask) => mask,
            _ => 0,
        };
        values[usize::from(condition.index)].extend([
            v,
            v.wrapping_add(1),
            v.wrapping_sub(1),
            v | HIGH,
            v ^ HIGH,
            v & HIGH,
            v << 32,
            mask,
            v | !mask,
        ]);
    }
    let mut out: Vec<Args> = vec![[0; 6], [u64::MAX; 6]];
    for (index, of_one) in values.iter_mut().enumerate().filter(|(_, v)| !v.is_empty()) {
        of_one.extend([0, u64::MAX]);
        of_one.sort_unstable();
        of_one.dedup();
        let with = |args: &Args, value| {
            let mut args = *args;
            args[index] = value;
            args
        };
        out = out.iter().flat_map(|args| of_one.iter().map(|v| with(args, *v))).collect();
        // Of too many an even choice; the step shares no factor with the lists.
        let step = (out.len() / MOST) | 1;
        out = out.into_iter().step_by(step).collect();
    }
    out
}

/// Compares at every call number, at its interesting arguments and elsewhere.
fn compare(program: &[u8], files: &[&Decisions], counting: Option<&Counting>, upto: u32) {
    let references: Vec<_> = files.iter().map(|file| Reference::new(file)).collect();
    let program = decode(program);
    let ours = |arch, number, args: &Args| match execute(&program, arch, number, args) {
        USER_NOTIFICATION => {
            let counting = counting.expect("a program without a listener asks none");
            Outcome::Errno(counting.refusals.errno(number)).code()
        }
        verdict => verdict,
    };
    // As the kernel stacks filters: the stricter one, of equal ones the first of
    // the list, which is the one installed last.
    let theirs = |arch, number, args: &Args| {
        let asked = references.iter().map(|reference| reference.ask(arch, number, args));
        asked.reduce(|one, other| Some(one?.unless_stricter(other?))).flatten()
    };
    let ending = [u32::MAX >> 2, (u32::MAX >> 2) - 1];
    for number in (0..=upto).chain(ending) {
        for args in arguments(number, files) {
            let expected = theirs(ARCH_X86_64, number, &args).expect("the right architecture");
            assert_eq!(ours(ARCH_X86_64, number, &args), expected.code(), "{number} {args:x?}");
        }
    }
    for number in (0..=upto).chain([u32::MAX - X32_BIT]) {
        for args in [[0; 6], [u64::MAX; 6]] {
            let x32 = number | X32_BIT;
            assert_eq!(ours(ARCH_X86_64, x32, &args), Outcome::NO_SUCH_CALL.code(), "{x32:#x}");
            for arch in [I386, AARCH64, 0, u32::MAX, ARCH_X86_64 ^ 1, number.rotate_left(13)] {
                assert_eq!(theirs(arch, number, &args), None, "{arch:#x} {number}");
                assert_eq!(ours(arch, number, &args), KILL, "{arch:#x} {number}");
            }
        }
    }
}

#[test]
fn the_vendors_programs_are_those_of_seccompiler() {
    let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
    let whole = |filter: &Filter, counting: bool| {
        let mut files = vec![&filter.own.decisions];
        files.extend(filter.ceiling.as_ref().map(|above| &above.decisions));
        compare(&filter.programs[0], &files, None, 600);
        if let Some(counting) = filter.counting.as_ref().filter(|_| counting) {
            compare(&counting.program, &files, Some(counting), 600);
        }
    };
    for name in ["default", "strict", "debug"] {
        let profile = library.profile(name).expect("it exists");
        whole(&library.filter(&profile).expect("it is compiled"), true);
    }
    whole(&library.ceiling(), false);
    whole(&library.agent_filter(), false);
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Allow,
        Outcome::Log,
        Outcome::Errno(1),
        Outcome::Errno(38),
        Outcome::Trap,
        Outcome::KillThread,
        Outcome::KillProcess,
    ])
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4u64,
        Just(u64::MAX),
        Just(0xffff_ffff),
        Just(0x1_0000_0000),
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let comparison = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::AtMost),
        Just(Comparison::Equal),
        Just(Comparison::AtLeast),
        Just(Comparison::Greater),
        number().prop_map(Comparison::Masked),
    ];
    let condition = (0..6u8, comparison, number()).prop_map(|(index, comparison, value)| {
        let value = match comparison {
            Comparison::Masked(mask) => value & mask,
            _ => value,
        };
        Condition { index, comparison, value }
    });
    (prop::collection::vec(condition, 1..3), outcome()).prop_map(|(conditions, outcome)| Test {
        conditions,
        ending: Ending { outcome, rule: None },
    })
}

fn file() -> impl Strategy<Value = Decisions> {
    let decision = (prop::collection::vec(test(), 0..4), outcome())
        .prop_map(|(tests, outcome)| Decision { tests, otherwise: Ending { outcome, rule: None } });
    (prop::collection::btree_map(0..60u32, decision, 0..40), outcome())
        .prop_map(|(table, outcome)| Decisions { table, default: Ending { outcome, rule: None } })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn generated_programs_are_those_of_seccompiler(own in file(), above in file()) {
        let code = |_, outcome: Outcome| outcome.code();
        let alone = compile(&own, &code).expect("it is short");
        compare(&alone, &[&own], None, 64);
        let merged = compile(&own.under(&above), &code).expect("it is short");
        compare(&merged, &[&own, &above], None, 64);
    }
}
