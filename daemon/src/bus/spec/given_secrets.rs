//! Which secrets a job asks for. Values are in no specification.

use super::wrong_type;
use crate::bus::error::BusError;
use crate::secrets::check_name;
use fetchml_api::job::{JobSpec, SecretUse};
use std::collections::BTreeMap;
use zbus::Variant;

const MAX_SECRETS: usize = 16;

/// `secrets`: names of those that become files.
pub(super) fn files(value: &Variant<'_>) -> Result<Vec<SecretUse>, BusError> {
    let names: Vec<String> = value
        .try_clone()
        .and_then(Vec::try_from)
        .map_err(|_| wrong_type("secrets", "as", value))?;
    Ok(names.into_iter().map(|name| SecretUse { name, variable: None }).collect())
}

/// `secret-env`: variables, and the secret that each has.
pub(super) fn variables(value: &Variant<'_>) -> Result<Vec<SecretUse>, BusError> {
    let given: BTreeMap<String, String> = value
        .try_clone()
        .and_then(BTreeMap::try_from)
        .map_err(|_| wrong_type("secret-env", "a{ss}", value))?;
    for variable in given.keys() {
        super::check_variable("secret-env", variable)?;
    }
    let uses = given.into_iter();
    Ok(uses.map(|(variable, name)| SecretUse { name, variable: Some(variable) }).collect())
}

/// What can be wrong with all of them together.
pub(super) fn check(spec: &JobSpec) -> Result<(), BusError> {
    let secrets = &spec.secrets;
    if secrets.len() > MAX_SECRETS {
        let count = secrets.len();
        return Err(BusError::invalid(format!(
            "the job asks for {count} secrets: the most is {MAX_SECRETS}"
        )));
    }
    for (at, one) in secrets.iter().enumerate() {
        check_name(&one.name).map_err(|error| BusError::invalid(error.to_string()))?;
        if let Some(variable) = one.variable.as_ref().filter(|v| spec.env.contains_key(*v)) {
            return Err(BusError::invalid(format!(
                "{variable} is set by env and by secret-env: leave one of them out"
            )));
        }
        if secrets.iter().take(at).any(|before| before == one) {
            return Err(BusError::invalid(format!("secrets names {} twice", one.name)));
        }
    }
    Ok(())
}
