//! From the `a{sv}` of `SubmitArray` to the jobs that it stands for.

use super::{GivenMount, read, text, wrong_type};
use crate::bus::error::BusError;
use crate::config::Jobs;
use fetchml_api::array::{ArrayError, Expansion, TooLarge};
use fetchml_api::job::JobSpec;
use std::collections::HashMap;
use zbus::{OwnedVariant, Variant};

/// What the commands and variables of an array's jobs may have together. Each is in
/// memory until its job is over.
const MAX_ARRAY_BYTES: usize = 64 << 20;

/// Reads and checks a specification of many jobs.
pub(in crate::bus) fn read_array(
    mut given: HashMap<String, OwnedVariant>,
    mounts: &[GivenMount],
    jobs: &Jobs,
) -> Result<Vec<JobSpec>, BusError> {
    let array = given.remove("array");
    let array = array.as_deref().map(|value| text("array", value)).transpose()?;
    let sweep = given.remove("sweep");
    let sweep = sweep.as_deref().map(sweep_of).transpose()?.unwrap_or_default();
    let expansion = Expansion::read(array, sweep, jobs.max_array_size as u64)?;
    let common = read(given, mounts, &jobs.default_profile)?;
    if let Some(name) = expansion.names().find(|name| common.env.contains_key(*name)) {
        return Err(BusError::invalid(format!(
            "env and the sweep both set {name}: leave it out of one of them"
        )));
    }
    let specs = expansion.specs(&common, MAX_ARRAY_BYTES)?;
    for spec in &specs {
        super::check_command(&spec.command)?;
    }
    Ok(specs)
}

fn sweep_of(value: &Variant<'_>) -> Result<Vec<(String, Vec<String>)>, BusError> {
    value.try_clone().and_then(Vec::try_from).map_err(|_| wrong_type("sweep", "a(sas)", value))
}

impl From<ArrayError> for BusError {
    fn from(error: ArrayError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<TooLarge> for BusError {
    fn from(error: TooLarge) -> Self {
        Self::invalid(error.to_string())
    }
}
