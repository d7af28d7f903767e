//! From steps that name what comes after them to a program as short as may be.
//!
//! The kernel compiles the program for each job, so that every instruction costs
//! the start of a job something. Equal ends of paths are written once: the few
//! outcomes, and the tests that lead to them, are shared by all calls that have them.

use seccompiler::{BpfProgram, sock_filter};
use std::collections::HashMap;

const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const CLASS: u16 = 0x07;

/// How far a test may lie from what follows it. A conditional jump reaches 255
/// instructions; each of its two targets may need one more in between.
const REACH: usize = 250;

/// One step, which names others by their index. What follows a step lies behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// A load or an operation; the next step follows.
    Plain {
        code: u16,
        k: u32,
    },
    Test {
        code: u16,
        k: u32,
        yes: usize,
        no: usize,
    },
    Jump(usize),
    Return(u32),
}

impl Step {
    /// The instruction that stands at an index.
    pub(crate) fn of(instruction: &sock_filter, at: usize) -> Self {
        let sock_filter { code, jt, jf, k } = *instruction;
        let after = |skipped: usize| at + 1 + skipped;
        match code {
            JUMP => Self::Jump(after(k as usize)),
            _ if code & CLASS == JUMP => {
                Self::Test { code, k, yes: after(jt.into()), no: after(jf.into()) }
            }
            _ if code & CLASS == RETURN => Self::Return(k),
            _ => Self::Plain { code, k },
        }
    }

    fn followed_by(&self, at: usize) -> [Option<usize>; 2] {
        match *self {
            Self::Plain { .. } => [Some(at + 1), None],
            Self::Test { yes, no, .. } => [Some(yes), Some(no)],
            Self::Jump(to) => [Some(to), None],
            Self::Return(_) => [None, None],
        }
    }
}

/// Writes the program from its end, so that what follows an instruction is there
/// already. Places are counted from the end.
#[derive(Default)]
struct Assembler {
    backwards: BpfProgram,
    /// The last place of each outcome.
    returns: HashMap<u32, usize>,
    /// Plain jumps by what they lead to.
    jumps: HashMap<usize, usize>,
    /// Instructions by themselves and what follows them.
    written: HashMap<(u16, u32, usize, usize), usize>,
}

/// The program for these steps, of which the first is the first.
pub(crate) fn assemble(steps: &[Step]) -> BpfProgram {
    let mut reached = vec![false; steps.len()];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for (at, step) in steps.iter().enumerate() {
        if reached[at] {
            step.followed_by(at).into_iter().flatten().for_each(|next| reached[next] = true);
        }
    }
    let mut assembler = Assembler::default();
    let mut places = vec![0; steps.len()];
    for (at, step) in steps.iter().enumerate().rev().filter(|(at, _)| reached[*at]) {
        places[at] = match *step {
            Step::Plain { code, k } => assembler.plain(code, k, places[at + 1]),
            Step::Test { code, k, yes, no } => assembler.test(code, k, places[yes], places[no]),
            Step::Jump(to) => places[to],
            Step::Return(k) => assembler.returning(k),
        };
    }
    if let Some(first) = places.first() {
        assembler.follow_with(*first);
    }
    assembler.backwards.reverse();
    assembler.backwards
}

impl Assembler {
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> usize {
        self.backwards.push(sock_filter { code, jt, jf, k });
        self.backwards.len() - 1
    }

    /// Instructions between the next one and a place.
    fn skipped(&self, place: usize) -> usize {
        self.backwards.len() - 1 - place
    }

    fn returning(&mut self, k: u32) -> usize {
        match self.returns.get(&k) {
            Some(place) => *place,
            None => self.return_here(k),
        }
    }

    fn return_here(&mut self, k: u32) -> usize {
        let place = self.push(RETURN, k, 0, 0);
        self.returns.insert(k, place);
        place
    }

    /// What a place returns, if it only does that.
    fn returned(&self, place: usize) -> Option<u32> {
        let instruction = &self.backwards[place];
        (instruction.code == RETURN).then_some(instruction.k)
    }

    /// Leads to a place from the instruction that comes next.
    fn lead_to(&mut self, place: usize) -> usize {
        if let Some(k) = self.returned(place) {
            return self.return_here(k);
        }
        let skipped = u32::try_from(self.skipped(place)).unwrap_or(u32::MAX);
        let jump = self.push(JUMP, skipped, 0, 0);
        self.jumps.insert(place, jump);
        jump
    }

    /// A place of the same effect that a test reaches.
    fn near(&mut self, place: usize) -> usize {
        let shortcut = match self.returned(place) {
            Some(k) => self.returns.get(&k),
            None => self.jumps.get(&place),
        };
        let candidates = [Some(&place), shortcut];
        let found = candidates.into_iter().flatten().find(|p| self.skipped(**p) <= REACH).copied();
        found.unwrap_or_else(|| self.lead_to(place))
    }

    /// Sees to it that a place is what follows the next instruction.
    fn follow_with(&mut self, place: usize) {
        if self.skipped(place) > 0 {
            self.lead_to(place);
        }
    }

    fn plain(&mut self, code: u16, k: u32, next: usize) -> usize {
        let key = (code, k, next, next);
        if let Some(place) = self.written.get(&key) {
            return *place;
        }
        self.follow_with(next);
        let place = self.push(code, k, 0, 0);
        self.written.insert(key, place);
        place
    }

    fn test(&mut self, code: u16, k: u32, yes: usize, no: usize) -> usize {
        let (of_yes, of_no) = (self.returned(yes), self.returned(no));
        if yes == no || of_yes.is_some() && of_yes == of_no {
            return yes;
        }
        let key = (code, k, yes, no);
        if let Some(place) = self.written.get(&key) {
            return *place;
        }
        let (near_yes, near_no) = (self.near(yes), self.near(no));
        let offset = |place| u8::try_from(self.skipped(place)).unwrap_or(u8::MAX);
        let (jt, jf) = (offset(near_yes), offset(near_no));
        let place = self.push(code, k, jt, jf);
        self.written.insert(key, place);
        place
    }
}
