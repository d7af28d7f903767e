//! The values of a profile: one function a kind, each refusal with its remedy.

use crate::problem::{Fault, choices_of_many};
use crate::profile::{Demand, Denials, Network};
use fetchml_api::cpus::{CpuSet, NotCpus};
use std::str::FromStr;
use std::time::Duration;
use syscalls::x86_64::Sysno;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

fn wrong_type(value: &DeValue<'_>, wanted: &str) -> Fault {
    Fault::new(
        format!("is {} {}", article(value.type_str()), value.type_str()),
        format!("write {wanted}"),
    )
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

pub(super) fn text(value: &DeValue<'_>) -> Result<String, Fault> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, "a text in quotes"))
}

pub(super) fn line(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = text(value)?;
    if text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
        return Err(Fault::new(
            "is empty, longer than 200 bytes or has control characters",
            "write one plain line that says what it is for",
        ));
    }
    Ok(text)
}

pub(super) fn subtable<'t>(value: &'t DeValue<'t>) -> Result<&'t DeTable<'t>, Fault> {
    value.as_table().ok_or_else(|| wrong_type(value, "a table"))
}

pub(super) fn array<'t>(value: &'t DeValue<'t>) -> Result<&'t [Spanned<DeValue<'t>>], Fault> {
    value.as_array().map(AsRef::as_ref).ok_or_else(|| wrong_type(value, "a list in brackets"))
}

pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
}

fn always(value: &DeValue<'_>, reason: &str) -> Result<bool, Fault> {
    match switch(value)? {
        true => Ok(true),
        false => Err(Fault::new(format!("false is refused: {reason}"), "write true")),
    }
}

pub(super) fn read_only_root(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(
        value,
        "a job writes to /work, /outputs, /tmp and the mounts it was given, never to the root",
    )
}

pub(super) fn no_new_privileges(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(
        value,
        "without it a set-uid program would leave the sandbox's ids, and no filter could be installed",
    )
}

pub(super) fn user_ns(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(
        value,
        "without a user namespace of its own the job would hold a host user id that others share",
    )
}

pub(super) fn network(value: &DeValue<'_>) -> Result<Network, Fault> {
    match text(value)?.as_str() {
        "none" => Ok(Network::None),
        "loopback" => Ok(Network::Loopback),
        "host" => Ok(Network::Host),
        "proxy" => Err(Fault::new(
            "\"proxy\" is not offered by this version",
            "use \"none\", or \"loopback\" for jobs that talk to themselves",
        )),
        other => Err(Fault::new(
            format!("unknown mode {other:?}"),
            "use \"none\", \"loopback\" or \"host\"",
        )),
    }
}

pub(super) fn demand(value: &DeValue<'_>) -> Result<Demand, Fault> {
    match text(value)?.as_str() {
        "required" => Ok(Demand::Required),
        "best-effort" => Ok(Demand::BestEffort),
        other => Err(Fault::new(
            format!("unknown demand {other:?}"),
            "use \"required\" or \"best-effort\"",
        )),
    }
}

pub(super) fn denials(value: &DeValue<'_>) -> Result<Denials, Fault> {
    match text(value)?.as_str() {
        "count" => Ok(Denials::Count),
        "silent" => Ok(Denials::Silent),
        other => Err(Fault::new(format!("unknown value {other:?}"), "use \"count\" or \"silent\"")),
    }
}

/// The name of a system call.
pub(super) fn call(value: &DeValue<'_>) -> Result<String, Fault> {
    text(value).and_then(|name| known_call(&name).map(|()| name))
}

fn known_call(name: &str) -> Result<(), Fault> {
    if Sysno::from_str(name).is_ok() {
        return Ok(());
    }
    let known = Sysno::iter().map(|call| call.name());
    let remedy = choices_of_many(name, known, "use a name from syscalls(2), such as clone3");
    Err(Fault::new(format!("unknown system call {name:?}"), remedy))
}

/// PID 1 of a job has the job's id and lives in its user namespace; that it cannot be
/// traced or looked into rests on nobody there having one of these (capabilities(7)).
const OPEN_THE_AGENT: [&str; 4] =
    ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", "CAP_PERFMON"];

/// The name of a capability.
pub(super) fn capability(value: &DeValue<'_>) -> Result<String, Fault> {
    let name = text(value)?;
    if OPEN_THE_AGENT.contains(&name.as_str()) {
        return Err(Fault::new(
            format!(
                "{name} is refused: with it a job could read and change PID 1, which keeps its log and report"
            ),
            "leave it out; the profiles debug and notebook trace without a capability",
        ));
    }
    if caps::Capability::from_str(&name).is_ok() {
        return Ok(name);
    }
    let known: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let remedy = choices_of_many(
        &name,
        known.iter().map(String::as_str),
        "use a name from capabilities(7), such as CAP_SYS_NICE",
    );
    Err(Fault::new(format!("unknown capability {name:?}"), remedy))
}

fn integer(value: &DeValue<'_>) -> Result<i64, Fault> {
    let number = value.as_integer().ok_or_else(|| wrong_type(value, "a whole number"))?;
    i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| {
        Fault::new(format!("{} is out of range", number.as_str()), "write a smaller number")
    })
}

pub(super) fn whole(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Fault> {
    let number = integer(value)?;
    u64::try_from(number).ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        Fault::new(format!("{number} is out of range"), format!("use {least} to {most}"))
    })
}

pub(super) fn unprivileged_id(value: &DeValue<'_>) -> Result<u32, Fault> {
    match integer(value)? {
        0 => Err(Fault::new(
            "0 is root, also to programs inside the job",
            "use 1000, or another id from 1 to 65533",
        )),
        number => u32::try_from(number).ok().filter(|id| *id <= 65_533).ok_or_else(|| {
            Fault::new(format!("{number} is out of range"), "use 1 to 65533; 65534 is nobody")
        }),
    }
}

pub(super) fn number(value: &DeValue<'_>, least: f64, most: f64) -> Result<f64, Fault> {
    let (text, parsed) = match (value.as_float(), value.as_integer()) {
        (Some(float), _) => (float.as_str(), float.as_str().parse().ok()),
        (_, Some(integer)) if integer.radix() == 10 => {
            (integer.as_str(), integer.as_str().parse().ok())
        }
        _ => return Err(wrong_type(value, "a number")),
    };
    parsed.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        Fault::new(format!("{text} is out of range"), format!("use {least} to {most}"))
    })
}

fn usec(seconds: f64) -> Result<u64, Fault> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_micros()).ok())
        .ok_or_else(|| {
            Fault::new(format!("{seconds} seconds are out of range"), "use a smaller number")
        })
}

pub(super) fn hours(value: &DeValue<'_>) -> Result<u64, Fault> {
    number(value, 0.001, 8760.0).and_then(|hours| usec(hours * 3600.0))
}

pub(super) fn seconds(value: &DeValue<'_>) -> Result<u64, Fault> {
    number(value, 0.0, 3600.0).and_then(usec)
}

fn size(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Fault> {
    let example = "write a size such as \"2GiB\"";
    let text = text(value).map_err(|_| wrong_type(value, "a size in quotes, such as \"2GiB\""))?;
    let bytes = parse_size::Config::new()
        .with_binary()
        .parse_size(&text)
        .map_err(|error| Fault::new(format!("{text:?} is no size: {error}"), example))?;
    if !(least..=most).contains(&bytes) {
        return Err(Fault::new(
            format!("{text:?} is out of range"),
            format!("use {} MiB to {} TiB", least >> 20, most >> 40),
        ));
    }
    Ok(bytes)
}

pub(super) fn tmpfs_size(value: &DeValue<'_>) -> Result<u64, Fault> {
    size(value, 1 << 20, 1 << 40)
}

pub(super) fn memory(value: &DeValue<'_>) -> Result<u64, Fault> {
    size(value, 16 << 20, 64 << 40)
}

/// What a job may write to a disk.
pub(super) fn written(value: &DeValue<'_>) -> Result<u64, Fault> {
    size(value, 1 << 20, 1 << 50)
}

/// Which CPUs.
pub(super) fn cpuset(value: &DeValue<'_>) -> Result<CpuSet, Fault> {
    let wrong = |e: NotCpus| Fault::new(e.to_string(), "write cpuset = \"0-3,8\"");
    text(value)?.parse().map_err(wrong)
}

/// A share in the terms of cgroup v2.
pub(super) fn weight(value: &DeValue<'_>) -> Result<u32, Fault> {
    whole(value, 1, 10_000).map(|n| u32::try_from(n).unwrap_or(10_000))
}

/// A variable for the job's environment.
pub(super) fn variable(name: &str, value: &DeValue<'_>) -> Result<String, Fault> {
    variable_name(name)?;
    variable_value(value)
}

/// The reason for a call that is named.
pub(super) fn reason(name: &str, value: &DeValue<'_>) -> Result<String, Fault> {
    known_call(name)?;
    line(value)
}

fn variable_name(name: &str) -> Result<(), Fault> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Fault::new("is no name of a variable", "use letters, digits and underscores"));
    }
    if name.starts_with("FETCHML_") {
        return Err(Fault::new(
            "is set by the supervisor",
            "choose a name that does not begin with FETCHML_",
        ));
    }
    Ok(())
}

fn variable_value(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = text(value)?;
    if text.len() > 4096 || text.chars().any(char::is_control) {
        return Err(Fault::new(
            "is longer than 4096 bytes or has control characters",
            "shorten it, or put it into a file of the job",
        ));
    }
    Ok(text)
}
