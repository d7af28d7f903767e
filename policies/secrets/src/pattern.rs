//! The little language of shapes: literals, sets with counts, and alternatives of
//! literals. It has no backtracking, so a match takes time by its length alone.
//!
//! ```text
//! (ghp_|gho_)[A-Za-z0-9]{36,}
//! SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}
//! ```

use crate::charset::CharSet;
use crate::flat::{self, Draft, Section, TEXT_BYTES};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;

/// A part of a shape as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// These bytes.
    Literal(Box<[u8]>),
    /// So many bytes of a set, as many as there are.
    Run { set: u8, min: u16, max: u16 },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    No,
    /// It matches up to this place.
    Yes(usize),
    /// The text ends before it is decided.
    Open,
}

/// Sets that occur, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets(Vec<CharSet>);

impl Sets {
    fn add(&mut self, set: CharSet) -> Result<u8, String> {
        let at = self.0.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.0.push(set);
            self.0.len() - 1
        });
        u8::try_from(at).map_err(|_| "more than 256 different sets".to_owned())
    }

    fn get(&self, at: u8) -> CharSet {
        self.0.get(usize::from(at)).copied().unwrap_or_default()
    }

    pub(crate) fn write(&self, draft: &mut Draft) {
        draft.part(Section::Sets).extend(self.0.iter().flat_map(|set| set.to_bytes()));
    }
}

/// A part of a shape as it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'r> {
    Literal(&'r [u8]),
    Run { set: CharSet, min: u16, max: u16 },
}

/// Bytes of a part within rules: whether it is a run, its set, two numbers.
const PART_BYTES: usize = 2 + TEXT_BYTES;

/// Writes the parts of a shape into rules, and says where they are.
pub(crate) fn write<'p>(parts: impl IntoIterator<Item = &'p Part>, draft: &mut Draft) -> (u16, u8) {
    let start = draft.count(Section::Parts, PART_BYTES);
    for part in parts {
        let (kind, [a, b, c, d, e, f]) = match part {
            Part::Literal(text) => ([0, 0], draft.text(text)),
            Part::Run { set, min, max } => {
                let ([a, b], [c, d]) = (min.to_le_bytes(), max.to_le_bytes());
                ([1, *set], [a, b, c, d, 0, 0])
            }
        };
        draft.part(Section::Parts).extend([kind[0], kind[1], a, b, c, d, e, f]);
    }
    let count = draft.count(Section::Parts, PART_BYTES) - start;
    (start, u8::try_from(count).unwrap_or(u8::MAX))
}

/// All parts of all shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps<'r> {
    pub(crate) parts: &'r [u8],
    pub(crate) sets: &'r [u8],
    pub(crate) pool: &'r [u8],
}

impl<'r> Steps<'r> {
    /// Those of one shape.
    pub(crate) fn of(self, start: u16, count: u8) -> impl Iterator<Item = Step<'r>> + Clone {
        let (start, count) = (usize::from(start), usize::from(count));
        let parts = self.parts.as_chunks::<PART_BYTES>().0.get(start..start + count);
        parts.unwrap_or_default().iter().map(move |part| match *part {
            [0, _, a, b, c, d, e, f] => Step::Literal(flat::text(self.pool, [a, b, c, d, e, f])),
            [_, set, a, b, c, d, _, _] => Step::Run {
                set: CharSet::from_bytes(self.sets, set),
                min: u16::from_le_bytes([a, b]),
                max: u16::from_le_bytes([c, d]),
            },
        })
    }
}

/// Reads a pattern: one list of parts for each alternative.
pub(crate) fn parse(pattern: &str, sets: &mut Sets) -> Result<Vec<Vec<Part>>, String> {
    let bytes = pattern.as_bytes();
    let mut all: Vec<Vec<Part>> = vec![Vec::new()];
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'(' => {
                let end = find(bytes, at, b')').ok_or("( without )")?;
                let group = pattern.get(at + 1..end).ok_or("( ) holds half a character")?;
                all = all
                    .iter()
                    .flat_map(|before| {
                        group.split('|').map(|word| {
                            let mut parts = before.clone();
                            push_literal(&mut parts, unescaped(word).as_slice());
                            parts
                        })
                    })
                    .collect();
                at = end + 1;
            }
            b'[' => {
                let end = find(bytes, at + 1, b']').ok_or("[ without ]")?;
                let set = sets.add(CharSet::of(&bytes[at + 1..end]))?;
                let (min, max, next) = counts(pattern, end + 1)?;
                all.iter_mut().for_each(|parts| parts.push(Part::Run { set, min, max }));
                at = next;
            }
            b'\\' => {
                let escaped = bytes.get(at + 1).ok_or("\\ at the end")?;
                all.iter_mut().for_each(|parts| push_literal(parts, &[*escaped]));
                at += 2;
            }
            b'{' | b'}' | b')' | b']' | b'*' | b'+' | b'?' | b'.' | b'^' | b'$' => {
                return Err(format!("{:?} has no meaning here: write \\ before it", *byte as char));
            }
            _ => {
                all.iter_mut().for_each(|parts| push_literal(parts, &[*byte]));
                at += 1;
            }
        }
    }
    if all.iter().any(Vec::is_empty) { Err("is empty".to_owned()) } else { Ok(all) }
}

fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    bytes.get(from..)?.iter().position(|byte| *byte == wanted).map(|at| from + at)
}

fn unescaped(word: &str) -> Vec<u8> {
    word.bytes().filter(|byte| *byte != b'\\').collect()
}

fn push_literal(parts: &mut Vec<Part>, more: &[u8]) {
    if more.is_empty() {
        return;
    }
    if let Some(Part::Literal(text)) = parts.last_mut() {
        *text = [text, more].concat().into();
    } else {
        parts.push(Part::Literal(more.into()));
    }
}

/// The counts after a set, and where the pattern goes on.
fn counts(pattern: &str, at: usize) -> Result<(u16, u16, usize), String> {
    let rest = pattern.get(at..).unwrap_or_default();
    let Some(inner) = rest.strip_prefix('{') else { return Ok((1, 1, at)) };
    let (inner, _) = inner.split_once('}').ok_or("{ without }")?;
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{{{inner}}} is no count"));
    let (min, max) = match inner.split_once(',') {
        None => (number(inner)?, number(inner)?),
        Some((min, "")) => (number(min)?, u16::MAX),
        Some((min, max)) => (number(min)?, number(max)?),
    };
    if min > max || max == 0 {
        return Err(format!("{{{inner}}} is no count"));
    }
    Ok((min, max, at + inner.len() + 2))
}

/// A run of fewer bytes is read again rather than remembered.
const LONG_RUN_BYTES: usize = 64;

/// The long runs of a text that were read last, one for each set. What begins within one
/// ends where it ends, so that a text of beginnings within each other is read once.
#[derive(Debug, Default)]
pub(crate) struct Runs(RefCell<Vec<(CharSet, Range<usize>)>>);

impl Runs {
    /// How many bytes from a place on belong to a set.
    fn run(&self, set: CharSet, text: &[u8], at: usize) -> usize {
        let mut known = self.0.borrow_mut();
        let same = known.iter_mut().find(|(of, _)| *of == set);
        if let Some((_, range)) = same.as_ref().filter(|(_, range)| range.contains(&at)) {
            return range.end - at;
        }
        let run = set.run(text.get(at..).unwrap_or_default());
        if run >= LONG_RUN_BYTES {
            match same {
                Some((_, range)) => *range = at..at + run,
                None => known.push((set, at..at + run)),
            }
        }
        run
    }
}

/// Tries the parts at a place. `runs` are those of this text.
pub(crate) fn match_at<'r>(
    steps: impl Iterator<Item = Step<'r>>,
    text: &[u8],
    at: usize,
    last: bool,
    runs: &Runs,
) -> Attempt {
    let mut at = at;
    for step in steps {
        let rest = text.get(at..).unwrap_or_default();
        match step {
            Step::Literal(wanted) => {
                let shown = rest.len().min(wanted.len());
                if rest.get(..shown) != wanted.get(..shown) {
                    return Attempt::No;
                }
                if shown < wanted.len() {
                    return if last { Attempt::No } else { Attempt::Open };
                }
                at += shown;
            }
            Step::Run { set, min, max } => {
                // The greatest count means any.
                let max = if max == u16::MAX { usize::MAX } else { usize::from(max) };
                let run = runs.run(set, text, at).min(max);
                let is_cut = run == rest.len() && run < max;
                if is_cut && !last {
                    return Attempt::Open;
                }
                if run < usize::from(min) {
                    return Attempt::No;
                }
                at += run;
            }
        }
    }
    Attempt::Yes(at)
}

/// The sets of the first `N` bytes that a match can have, if it has so many.
pub(crate) fn beginning<const N: usize>(parts: &[Part], sets: &Sets) -> Option<[CharSet; N]> {
    let mut places = parts.iter().flat_map(|part| {
        let (literal, run) = match part {
            Part::Literal(text) => (text.as_ref(), None),
            Part::Run { set, min, .. } => (&[][..], Some((sets.get(*set), usize::from(*min)))),
        };
        let singles = literal.iter().map(|byte| CharSet::of(&[*byte]));
        singles.chain(run.into_iter().flat_map(|(set, min)| core::iter::repeat_n(set, min)))
    });
    let mut first = [CharSet::default(); N];
    for place in &mut first {
        *place = places.next()?;
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(pattern: &str, text: &str, last: bool) -> Attempt {
        let mut sets = Sets::default();
        let all = parse(pattern, &mut sets).expect("a pattern");
        let mut draft = Draft::default();
        sets.write(&mut draft);
        let places: Vec<_> = all.iter().map(|parts| write(parts, &mut draft)).collect();
        let (header, bytes) = draft.finish();
        let part = |section| header.part(section, &bytes);
        let steps = Steps {
            parts: part(Section::Parts),
            sets: part(Section::Sets),
            pool: part(Section::Pool),
        };
        let tried = places.iter().map(|(start, count)| {
            match_at(steps.of(*start, *count), text.as_bytes(), 0, last, &Runs::default())
        });
        tried.fold(Attempt::No, |best, one| if best == Attempt::No { one } else { best })
    }

    #[test]
    fn literals_sets_and_alternatives() {
        let pattern = "(ab|cd)_[0-9]{2,3}\\.x";
        assert_eq!(attempt(pattern, "cd_123.x", true), Attempt::Yes(8));
        assert_eq!(attempt(pattern, "cd_1.x", true), Attempt::No);
        assert_eq!(attempt(pattern, "ef_12.x", true), Attempt::No);
    }

    #[test]
    fn a_text_that_ends_too_early_leaves_it_open() {
        for cut in ["c", "cd_", "cd_1", "cd_12"] {
            assert_eq!(attempt("(ab|cd)_[0-9]{2,}", cut, false), Attempt::Open, "{cut}");
        }
        assert_eq!(attempt("(ab|cd)_[0-9]{2,}", "cd_12 ", false), Attempt::Yes(5));
        assert_eq!(attempt("(ab|cd)_[0-9]{2,}", "cd_12", true), Attempt::Yes(5));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for wrong in ["", "a(b", "[a", "[a]{2", "[a]{3,2}", "a.b", "a*", "\\"] {
            assert!(parse(wrong, &mut Sets::default()).is_err(), "{wrong}");
        }
    }
}
