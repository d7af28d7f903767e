//! From words to an [`Expansion`], each refusal with its remedy.

use super::{ArrayError, Expansion, INDEX, MAX_INDEX, MAX_VALUE_CHARS, Stretch};
use std::collections::HashSet;

const FORM: &str = "write 1-100, 1-100:2 or 3,7,9-12, with %4 behind it for at most 4 at once";
const VALUES_FORM: &str = "write 0.1,0.01 or 1..5 or 0..100:10";

fn refused<T>(words: String) -> Result<T, ArrayError> {
    Err(ArrayError(words))
}

pub(super) fn expansion(
    array: Option<&str>,
    sweep: Vec<(String, Vec<String>)>,
    most: u64,
) -> Result<Expansion, ArrayError> {
    let (indices, at_once) = match array {
        Some(word) => split(word)?,
        None => (None, 0),
    };
    check_sweep(&sweep)?;
    let (stretches, count) = match (indices, combinations(&sweep)) {
        (Some(indices), None) => stretches(indices)?,
        (None, Some(count)) => (vec![Stretch { first: 1, last: count, step: 1 }], count),
        (Some(indices), Some(_)) => {
            return refused(format!(
                "array is {indices:?} beside a sweep, whose jobs are counted from 1: make the \
                 index a variable of the sweep (n=1..10), and leave of the array the limit (%4)"
            ));
        }
        (None, None) => return refused(format!("the array has no jobs: {FORM}")),
    };
    if count > most {
        return refused(format!(
            "the array has {} jobs, the most is {most}: split it, or let each job do more",
            if count == u64::MAX { "too many".to_owned() } else { count.to_string() }
        ));
    }
    if let Some(twice) = twice(&stretches) {
        return refused(format!("array has the index {twice} twice: write each once"));
    }
    Ok(Expansion { stretches, sweep, at_once, count })
}

/// Indices, if there are any, and how many run at once.
fn split(word: &str) -> Result<(Option<&str>, u32), ArrayError> {
    let Some((indices, limit)) = word.split_once('%') else { return Ok((Some(word), 0)) };
    match limit.parse() {
        Ok(at_once) if at_once > 0 => Ok((Some(indices).filter(|i| !i.is_empty()), at_once)),
        _ => refused(format!("array is {word:?}, with {limit:?} jobs at once: {FORM}")),
    }
}

fn stretches(indices: &str) -> Result<(Vec<Stretch>, u64), ArrayError> {
    let mut all = Vec::new();
    let mut count = 0u64;
    for part in indices.split(',') {
        let stretch = stretch(part)?;
        // Each counts at most MAX_INDEX, and a message has no room for enough of them.
        count = count.saturating_add(stretch.len());
        all.push(stretch);
    }
    Ok((all, count))
}

fn stretch(part: &str) -> Result<Stretch, ArrayError> {
    let number = |word: &str| match word.parse::<u64>() {
        Ok(number) if number <= MAX_INDEX => Ok(number),
        Ok(number) => refused(format!("array has the index {number}: the highest is {MAX_INDEX}")),
        Err(_) => refused(format!("array has {part:?}, which is no index: {FORM}")),
    };
    let (range, step) = match part.split_once(':') {
        Some((range, step)) => (range, number(step)?),
        None => (part, 1),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    if first > last {
        return refused(format!("array has {part:?}: write the smaller index first"));
    }
    if step == 0 {
        return refused(format!("array has {part:?}: the step is at least 1"));
    }
    Ok(Stretch { first, last, step })
}

/// The first index that comes a second time. Asked of a bounded number of them.
fn twice(stretches: &[Stretch]) -> Option<u64> {
    if stretches.len() < 2 {
        return None;
    }
    let mut seen = HashSet::new();
    stretches.iter().flat_map(|s| s.indices()).find(|index| !seen.insert(*index))
}

/// Jobs of a sweep; `None` when there is no sweep.
fn combinations(sweep: &[(String, Vec<String>)]) -> Option<u64> {
    let numbers = sweep.iter().map(|(_, values)| values.len() as u64);
    numbers.reduce(u64::saturating_mul)
}

fn check_sweep(sweep: &[(String, Vec<String>)]) -> Result<(), ArrayError> {
    for (at, (name, values)) in sweep.iter().enumerate() {
        let mut letters = name.chars();
        let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return refused(format!(
                "the sweep has the name {name:?}: use letters, digits and underscores, not \
                 beginning with a digit"
            ));
        }
        if name.starts_with("FETCHML_") || name == INDEX {
            return refused(format!(
                "the sweep has the name {name}, which the supervisor gives a value: choose another"
            ));
        }
        if sweep[..at].iter().any(|(other, _)| other == name) {
            return refused(format!(
                "the sweep has the name {name} twice: give all its values once"
            ));
        }
        if values.is_empty() {
            return refused(format!("the sweep gives {name} no value: {VALUES_FORM}"));
        }
        for value in values {
            if value.chars().count() > MAX_VALUE_CHARS || value.contains('\0') {
                return refused(format!(
                    "the sweep gives {name} a value of more than {MAX_VALUE_CHARS} characters, or \
                     one with a NUL: pass it in a file"
                ));
            }
        }
    }
    Ok(())
}

/// Values of one variable: `0.1,0.01` as they stand, `1..5` and `0..100:10` as the
/// numbers from the first to the last.
///
/// # Errors
/// [`ArrayError`] when there are none, or more than `most`.
pub fn values(text: &str, most: u64) -> Result<Vec<String>, ArrayError> {
    let mut all = Vec::new();
    for part in text.split(',') {
        if part.is_empty() {
            return refused(format!("{text:?} has an empty value: {VALUES_FORM}"));
        }
        match numbers(part)? {
            Some(stretch) => {
                let many = numbers_in(stretch);
                if many.saturating_add(all.len() as u64) > most {
                    return refused(format!("{text:?} has more than {most} values: split it"));
                }
                let (first, step) = (stretch.0, stretch.2);
                let nth = |n: u64| i128::from(first) + i128::from(n) * i128::from(step);
                all.extend((0..many).map(|n| nth(n).to_string()));
            }
            None => all.push(part.to_owned()),
        }
    }
    if all.len() as u64 > most {
        return refused(format!("{text:?} has more than {most} values: split it"));
    }
    Ok(all)
}

/// How many numbers `first..last:step` has.
fn numbers_in((first, last, step): (i64, i64, u64)) -> u64 {
    (last.abs_diff(first) / step).saturating_add(1)
}

/// `first..last:step`, if it is one. Words that only look a little like it, such as
/// `../data` and `v1..x`, are values.
fn numbers(part: &str) -> Result<Option<(i64, i64, u64)>, ArrayError> {
    let (range, step) = match part.split_once(':') {
        Some((range, step)) => (range, step.parse().ok()),
        None => (part, Some(1)),
    };
    let ends = range.split_once("..").map(|(first, last)| (first.parse(), last.parse()));
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    if range.split_once("..").is_some_and(|(first, last)| is_number(first) && is_number(last))
        && !matches!((&ends, step), (Some((Ok(_), Ok(_))), Some(_)))
    {
        return refused(format!(
            "{part:?} is no range: those are of whole numbers; write the values, such as 0.1,0.2"
        ));
    }
    let (Some((Ok(first), Ok(last))), Some(step)) = (ends, step) else { return Ok(None) };
    if first > last {
        return refused(format!("{part:?} goes down: write the smaller number first"));
    }
    if step == 0 {
        return refused(format!("{part:?} never moves: the step is at least 1"));
    }
    Ok(Some((first, last, step)))
}
