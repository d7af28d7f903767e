//! From the `a{sv}` of `ListJobs` to a filter.

use super::error::BusError;
use super::spec::{unknown_key, wrong_type};
use crate::store::Filter;
use fetchml_api::job::{JobId, JobState};
use std::collections::HashMap;
use zbus::{OwnedVariant, Variant};

const KEYS: [&str; 4] = ["all-users", "state", "limit", "before"];

/// What a list is asked for.
pub(super) struct Wanted {
    pub(super) all_users: bool,
    pub(super) filter: Filter,
}

pub(super) fn read(given: HashMap<String, OwnedVariant>) -> Result<Wanted, BusError> {
    let mut wanted = Wanted { all_users: false, filter: Filter::default() };
    for (key, value) in given {
        match (key.as_str(), &*value) {
            ("all-users", Variant::Bool(all)) => wanted.all_users = *all,
            ("all-users", other) => return Err(wrong_type(&key, "b", other)),
            ("limit", Variant::U32(limit)) => wanted.filter.limit = *limit,
            ("limit", other) => return Err(wrong_type(&key, "u", other)),
            ("before", Variant::U64(id)) => wanted.filter.before = Some(JobId(*id)),
            ("before", other) => return Err(wrong_type(&key, "t", other)),
            ("state", Variant::Str(word)) => wanted.filter.state = Some(state(word)?),
            ("state", other) => return Err(wrong_type(&key, "s", other)),
            _ => return Err(unknown_key(&key, &KEYS)),
        }
    }
    Ok(wanted)
}

fn state(word: &str) -> Result<JobState, BusError> {
    JobState::parse(word).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        let known = known.join(", ");
        BusError::invalid(format!("state is {word:?}: it must be one of {known}"))
    })
}
