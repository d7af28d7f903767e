//! From the `a{sv}` of `SubmitJob` to a [`JobSpec`]: each key, its type, its
//! range. What is wrong is said with the key, the value and the remedy.

mod array;
mod given_secrets;
mod mounts;
mod queueing;
mod secrets;

pub(super) use array::read_array;
pub(super) use mounts::{GivenMount, MAX_MOUNTS};
pub(super) use queueing::in_range;
pub(super) use secrets::without_secrets;

use super::error::BusError;
use fetchml_api::job::{JobSpec, NetworkMode};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use zbus::{OwnedVariant, Variant};

const KEYS: [&str; 23] = [
    "command",
    "env",
    "name",
    "experiment",
    "profile",
    "network",
    "time-limit-usec",
    "memory-bytes",
    "cpus",
    "cpuset",
    "pids",
    "disk-bytes",
    "log-bytes",
    "cpu-weight",
    "io-weight",
    "gpus",
    "gpu-type",
    "priority",
    "hold",
    "after",
    "retry",
    "secrets",
    "secret-env",
];

/// execve(2) refuses a longer one (`MAX_ARG_STRLEN`, its final NUL included).
const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
const MAX_NAME_CHARS: usize = 128;
const MAX_EXPERIMENT_CHARS: usize = 64;
/// Smaller limits cannot hold any program.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
const MIN_DISK_BYTES: u64 = 1 << 20;
/// Below this there is no room for the words with which a job fails.
const MIN_LOG_BYTES: u64 = 4 << 10;
/// Sizes in bytes, and what people write for them.
const OPTIONS_OF_SIZES: [(&str, &str); 3] =
    [("memory-bytes", "--memory"), ("disk-bytes", "--disk"), ("log-bytes", "--log-limit")];
/// As cgroup v2 has them.
const WEIGHTS: RangeInclusive<u32> = 1..=10_000;

/// Reads and checks a specification.
pub(super) fn read(
    given: HashMap<String, OwnedVariant>,
    mounts: &[GivenMount],
    default_profile: &str,
) -> Result<JobSpec, BusError> {
    let mut spec = JobSpec {
        profile: default_profile.to_owned(),
        mounts: mounts::read_mounts(mounts)?,
        ..JobSpec::plain(Vec::new())
    };
    for (key, value) in given {
        read_key(&mut spec, &key, value)?;
    }
    if spec.command.is_empty() {
        return Err(BusError::invalid("command is empty: say what to run"));
    }
    if spec.name.is_empty() {
        spec.name = name_of(&spec.command[0]);
    }
    if spec.gpus.kind.is_some() && spec.gpus.count == 0 {
        return Err(BusError::invalid("gpu-type is given without gpus: say how many"));
    }
    given_secrets::check(&spec)?;
    Ok(spec)
}

fn read_key(spec: &mut JobSpec, key: &str, value: OwnedVariant) -> Result<(), BusError> {
    match key {
        "command" => spec.command = command(&value)?,
        "env" => spec.env = environment(&value)?,
        "name" => spec.name = name(text(key, &value)?)?,
        "experiment" => spec.experiment = experiment(text(key, &value)?)?,
        "profile" => spec.profile = text(key, &value)?.to_owned(),
        "network" => spec.network = Some(network(text(key, &value)?)?),
        "time-limit-usec" => spec.time_limit_usec = Some(at_least(key, &value, 1)?),
        "memory-bytes" => {
            spec.limits.memory_bytes = Some(at_least(key, &value, MIN_MEMORY_BYTES)?);
        }
        "cpus" => spec.limits.cpus = Some(cpus(&value)?),
        "cpuset" => {
            let cpus = text(key, &value)?.parse();
            spec.limits.cpuset = Some(cpus.map_err(|e| BusError::invalid(format!("cpuset: {e}")))?);
        }
        "pids" => spec.limits.pids = Some(at_least(key, &value, 1)?),
        "disk-bytes" => spec.limits.disk_bytes = Some(at_least(key, &value, MIN_DISK_BYTES)?),
        "log-bytes" => spec.limits.log_bytes = Some(at_least(key, &value, MIN_LOG_BYTES)?),
        "cpu-weight" => spec.limits.cpu_weight = Some(number_within(key, &value, WEIGHTS)?),
        "io-weight" => spec.limits.io_weight = Some(number_within(key, &value, WEIGHTS)?),
        "gpus" => spec.gpus.count = queueing::gpus(&value)?,
        "gpu-type" => spec.gpus.kind = Some(queueing::gpu_type(&value)?),
        "priority" => spec.queueing.priority = queueing::priority(&value)?,
        "hold" => spec.queueing.held = queueing::hold(&value)?,
        "after" => spec.queueing.after = queueing::after(&value)?,
        "retry" => spec.queueing.retry = queueing::retry(&value)?,
        "secrets" => spec.secrets.extend(given_secrets::files(&value)?),
        "secret-env" => spec.secrets.extend(given_secrets::variables(&value)?),
        "array" | "sweep" => {
            return Err(BusError::invalid(format!("{key} makes many jobs: ask SubmitArray")));
        }
        _ => return Err(unknown_key(key, &KEYS)),
    }
    Ok(())
}

fn command(value: &Variant<'_>) -> Result<Vec<String>, BusError> {
    let words: Vec<String> = value
        .try_clone()
        .and_then(Vec::try_from)
        .map_err(|_| wrong_type("command", "as", value))?;
    if words.first().is_none_or(String::is_empty) {
        return Err(BusError::invalid("command is empty: say what to run"));
    }
    check_command(&words)?;
    Ok(words)
}

fn check_command(words: &[String]) -> Result<(), BusError> {
    for (index, word) in words.iter().enumerate() {
        if word.len() > MAX_ARGUMENT_BYTES {
            let size = word.len();
            return Err(BusError::invalid(format!(
                "argument {index} of command has {size} bytes, the kernel takes at most \
                 {MAX_ARGUMENT_BYTES}: pass it in a file"
            )));
        }
    }
    Ok(())
}

fn environment(value: &Variant<'_>) -> Result<BTreeMap<String, String>, BusError> {
    let env: BTreeMap<String, String> = value
        .try_clone()
        .and_then(BTreeMap::try_from)
        .map_err(|_| wrong_type("env", "a{ss}", value))?;
    for (name, value) in &env {
        check_variable("env", name)?;
        if name.len() + value.len() + 1 > MAX_ARGUMENT_BYTES {
            return Err(BusError::invalid(format!(
                "env sets {name} to {} bytes, the kernel takes at most {MAX_ARGUMENT_BYTES} with \
                 the name: pass it in a file",
                value.len()
            )));
        }
    }
    Ok(env)
}

fn check_variable(key: &str, name: &str) -> Result<(), BusError> {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(BusError::invalid(format!(
            "{key} has the name {name:?}: use letters, digits and underscores, \
             not beginning with a digit"
        )));
    }
    if name.starts_with("FETCHML_") {
        return Err(BusError::invalid(format!(
            "{key} sets {name}: names that begin with FETCHML_ are set by the supervisor"
        )));
    }
    Ok(())
}

fn name(given: &str) -> Result<String, BusError> {
    let chars = given.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS {
        return Err(BusError::invalid(format!(
            "name has {chars} characters: give it 1 to {MAX_NAME_CHARS}"
        )));
    }
    if given.chars().any(char::is_control) {
        return Err(BusError::invalid(format!(
            "name is {given:?}: leave out the control characters"
        )));
    }
    if fetchml_api::names::reads_as_job(given) {
        return Err(BusError::invalid(format!(
            "name is {given:?}, which means a job by its number, a range, a job of an array or \
             @last: begin it with a letter, and do not end it with []"
        )));
    }
    Ok(given.to_owned())
}

/// The last part of a program's path, as far as it can be a name.
fn name_of(program: &str) -> String {
    let last = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or("job");
    let name: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    if name.is_empty() { "job".to_owned() } else { name }
}

/// An experiment becomes a directory, so it is a plain word.
fn experiment(given: &str) -> Result<String, BusError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=MAX_EXPERIMENT_CHARS).contains(&given.len());
    if !fits || !given.chars().all(plain) || given.starts_with(['.', '-']) {
        return Err(BusError::invalid(format!(
            "experiment is {given:?}: use 1 to {MAX_EXPERIMENT_CHARS} letters, digits, dots, \
             underscores and dashes, not beginning with a dot or a dash"
        )));
    }
    Ok(given.to_owned())
}

fn network(given: &str) -> Result<NetworkMode, BusError> {
    match given {
        "none" => Ok(NetworkMode::None),
        "loopback" => Ok(NetworkMode::Loopback),
        _ => Err(BusError::invalid(format!("network is {given:?}: write none or loopback"))),
    }
}

fn cpus(value: &Variant<'_>) -> Result<f64, BusError> {
    let Variant::F64(cpus) = value else { return Err(wrong_type("cpus", "d", value)) };
    if !(0.01..=4096.0).contains(cpus) {
        return Err(BusError::invalid(format!("cpus is {cpus}: give 0.01 to 4096")));
    }
    Ok(*cpus)
}

fn text<'v>(key: &str, value: &'v Variant<'_>) -> Result<&'v str, BusError> {
    match value {
        Variant::Str(text) => Ok(text.as_str()),
        _ => Err(wrong_type(key, "s", value)),
    }
}

fn at_least(key: &str, value: &Variant<'_>, least: u64) -> Result<u64, BusError> {
    match value {
        Variant::U64(number) if *number >= least => Ok(*number),
        Variant::U64(number) => {
            let words = match OPTIONS_OF_SIZES.iter().find(|(of, _)| *of == key) {
                Some((_, option)) => {
                    let (given, least) = (crate::size(*number), crate::size(least));
                    format!("{key} ({option}) is {given}: give at least {least}")
                }
                None => format!("{key} is {number}: give at least {least}"),
            };
            Err(BusError::invalid(words))
        }
        _ => Err(wrong_type(key, "t", value)),
    }
}

fn number_within(
    key: &str,
    value: &Variant<'_>,
    range: RangeInclusive<u32>,
) -> Result<u32, BusError> {
    match value {
        Variant::U32(number) if range.contains(number) => Ok(*number),
        Variant::U32(number) => {
            let (least, most) = range.into_inner();
            Err(BusError::invalid(format!("{key} is {number}: give {least} to {most}")))
        }
        _ => Err(wrong_type(key, "u", value)),
    }
}

pub(super) fn unknown_key(key: &str, known: &[&'static str]) -> BusError {
    match crate::nearest(key, known.iter().copied()) {
        Some(near) => BusError::invalid(format!("unknown key {key:?}: did you mean {near}?")),
        None => {
            let known = known.join(", ");
            BusError::invalid(format!("unknown key {key:?}: this version knows {known}"))
        }
    }
}

pub(super) fn wrong_type(key: &str, wanted: &str, value: &Variant<'_>) -> BusError {
    let found = value.value_signature();
    BusError::invalid(format!("{key} has the type {found}: it must be {wanted}"))
}
