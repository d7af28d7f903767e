//! What a specification asks of the queue and of the machine's accelerators.

use super::{number_within, text, wrong_type};
use crate::bus::error::BusError;
use fetchml_api::job::{FailureClass, JobId};
use fetchml_api::queueing::{
    Condition, Dependency, MAX_ATTEMPTS, MAX_DEPENDENCIES, MAX_PRIORITY, MIN_PRIORITY,
};
use std::collections::BTreeMap;
use zbus::Variant;

/// More than any machine has.
const MAX_GPUS: u32 = 1024;
const MAX_GPU_TYPE_CHARS: usize = 64;

/// A priority, as a key of a specification and as the argument of `SetPriority`.
pub(in crate::bus) fn in_range(priority: i32) -> Result<i32, BusError> {
    if (MIN_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        return Ok(priority);
    }
    Err(BusError::invalid(format!(
        "priority is {priority}: give {MIN_PRIORITY} to {MAX_PRIORITY}, higher goes first"
    )))
}

pub(super) fn priority(value: &Variant<'_>) -> Result<i32, BusError> {
    match value {
        Variant::I32(priority) => in_range(*priority),
        _ => Err(wrong_type("priority", "i", value)),
    }
}

pub(super) fn hold(value: &Variant<'_>) -> Result<bool, BusError> {
    match value {
        Variant::Bool(held) => Ok(*held),
        _ => Err(wrong_type("hold", "b", value)),
    }
}

pub(super) fn after(value: &Variant<'_>) -> Result<Vec<Dependency>, BusError> {
    let given: Vec<(u64, String)> = value
        .try_clone()
        .and_then(Vec::try_from)
        .map_err(|_| wrong_type("after", "a(ts)", value))?;
    if given.len() > MAX_DEPENDENCIES {
        let count = given.len();
        return Err(BusError::invalid(format!(
            "after names {count} jobs: a job may wait for {MAX_DEPENDENCIES}; let one job wait \
             for the others, and this one for it"
        )));
    }
    let mut all: Vec<Dependency> = Vec::with_capacity(given.len());
    for (job, word) in given {
        let condition = match word.as_str() {
            "any" => Condition::Any,
            "ok" => Condition::Ok,
            _ => {
                return Err(BusError::invalid(format!(
                    "after has the condition {word:?} for job {job}: write any (however it ends) \
                     or ok (when it succeeds)"
                )));
            }
        };
        let one = Dependency { job: JobId(job), condition };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

pub(super) fn retry(value: &Variant<'_>) -> Result<BTreeMap<FailureClass, u32>, BusError> {
    let given: BTreeMap<String, u32> = value
        .try_clone()
        .and_then(BTreeMap::try_from)
        .map_err(|_| wrong_type("retry", "a{su}", value))?;
    given.into_iter().map(|(word, tries)| tries_after(&word, tries)).collect()
}

fn tries_after(word: &str, tries: u32) -> Result<(FailureClass, u32), BusError> {
    let retriable = || FailureClass::ALL.into_iter().filter(|class| class.can_be_retried());
    let Some(class) = FailureClass::parse(word).filter(|class| class.can_be_retried()) else {
        let known: Vec<_> = retriable().map(FailureClass::as_str).collect();
        return Err(BusError::invalid(format!(
            "retry names {word:?}: the classes after which a job can be tried again are {}",
            known.join(", ")
        )));
    };
    if tries > MAX_ATTEMPTS {
        return Err(BusError::invalid(format!(
            "retry gives {word} {tries} further tries: give 0 (none) to {MAX_ATTEMPTS}"
        )));
    }
    Ok((class, tries))
}

pub(super) fn gpus(value: &Variant<'_>) -> Result<u32, BusError> {
    number_within("gpus", value, 0..=MAX_GPUS)
}

pub(super) fn gpu_type(value: &Variant<'_>) -> Result<String, BusError> {
    let kind = text("gpu-type", value)?;
    let chars = kind.chars().count();
    if !(1..=MAX_GPU_TYPE_CHARS).contains(&chars) || kind.chars().any(char::is_control) {
        return Err(BusError::invalid(format!(
            "gpu-type is {kind:?}: give 1 to {MAX_GPU_TYPE_CHARS} characters of the model's name, \
             such as H100"
        )));
    }
    Ok(kind.to_owned())
}
