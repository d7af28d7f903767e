//! From the `a{sv}` of `SubmitJob` to a [`JobSpec`]: each key, its type, its
//! range. What is wrong is said with the key, the value and the remedy.

use super::error::BusError;
use fetchml_api::job::{JobSpec, MountMode, MountRequest, NetworkMode};
use std::collections::{BTreeMap, HashMap};
use zbus::{OwnedFd, OwnedVariant, Variant};

const KEYS: [&str; 10] = [
    "command",
    "env",
    "name",
    "experiment",
    "profile",
    "network",
    "time-limit-usec",
    "memory-bytes",
    "cpus",
    "pids",
];

/// execve(2) refuses a longer one (`MAX_ARG_STRLEN`, its final NUL included).
const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
const MAX_NAME_CHARS: usize = 128;
const MAX_EXPERIMENT_CHARS: usize = 64;
const MAX_LABEL_CHARS: usize = 512;
/// Smaller limits cannot hold any program.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
const MAX_MOUNTS: usize = 64;
/// The root of a job has a directory for each part, in kernel memory that is kept
/// for the next job and counts for the supervisor.
const MAX_TARGET_PARTS: usize = 32;
/// Where the project is.
const WORK: &str = "/work";
/// Places that belong to the sandbox; neither they nor anything below is for mounts.
const RESERVED: [&str; 14] = [
    "/proc", "/dev", "/sys", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
    "/libx32", "/run", "/tmp", "/outputs",
];

/// A mount as it comes over the bus.
pub(super) type GivenMount = (String, String, String, OwnedFd);

/// Reads and checks a specification.
pub(super) fn read(
    given: HashMap<String, OwnedVariant>,
    mounts: &[GivenMount],
    default_profile: &str,
) -> Result<JobSpec, BusError> {
    let mut spec = JobSpec {
        profile: default_profile.to_owned(),
        mounts: read_mounts(mounts)?,
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
        "pids" => spec.limits.pids = Some(at_least(key, &value, 1)?),
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
    for (index, word) in words.iter().enumerate() {
        if word.len() > MAX_ARGUMENT_BYTES {
            let size = word.len();
            return Err(BusError::invalid(format!(
                "argument {index} of command has {size} bytes, the kernel takes at most \
                 {MAX_ARGUMENT_BYTES}: pass it in a file"
            )));
        }
    }
    Ok(words)
}

fn environment(value: &Variant<'_>) -> Result<BTreeMap<String, String>, BusError> {
    let env: BTreeMap<String, String> = value
        .try_clone()
        .and_then(BTreeMap::try_from)
        .map_err(|_| wrong_type("env", "a{ss}", value))?;
    for (name, value) in &env {
        let mut letters = name.chars();
        let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(BusError::invalid(format!(
                "env has the name {name:?}: use letters, digits and underscores, \
                 not beginning with a digit"
            )));
        }
        if name.starts_with("FETCHML_") {
            return Err(BusError::invalid(format!(
                "env sets {name}: names that begin with FETCHML_ are set by the supervisor"
            )));
        }
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
            Err(BusError::invalid(format!("{key} is {number}: give at least {least}")))
        }
        _ => Err(wrong_type(key, "t", value)),
    }
}

fn read_mounts(given: &[GivenMount]) -> Result<Vec<MountRequest>, BusError> {
    if given.len() > MAX_MOUNTS {
        let count = given.len();
        return Err(BusError::invalid(format!("{count} mounts: a job may have {MAX_MOUNTS}")));
    }
    let mut mounts: Vec<MountRequest> = Vec::with_capacity(given.len());
    for (target, mode, label, directory) in given {
        let mode = mount_mode(target, mode)?;
        check_target(target, mode)?;
        for other in &mounts {
            check_apart(target, &other.target)?;
        }
        check_directory(target, directory)?;
        let label = label.chars().take(MAX_LABEL_CHARS);
        let label = label.map(|c| if c.is_control() { '?' } else { c }).collect();
        mounts.push(MountRequest { target: target.clone(), mode, label });
    }
    Ok(mounts)
}

fn mount_mode(target: &str, mode: &str) -> Result<MountMode, BusError> {
    match mode {
        "project" => Ok(MountMode::Project),
        "ro" => Ok(MountMode::Ro),
        "rw" => Ok(MountMode::Rw),
        _ => Err(BusError::invalid(format!(
            "mount {target:?} has the mode {mode:?}: write project, ro or rw"
        ))),
    }
}

fn check_target(target: &str, mode: MountMode) -> Result<(), BusError> {
    let invalid = |why: &str| Err(BusError::invalid(format!("mount {target:?} {why}")));
    let Some(below_root) = target.strip_prefix('/') else {
        return invalid("is not absolute: begin it with a slash");
    };
    if target.len() > 4095 || target.chars().any(char::is_control) {
        return invalid("is too long or has control characters: choose a plain path");
    }
    if below_root.split('/').any(|part| matches!(part, "" | "." | "..") || part.len() > 255) {
        return invalid("is not a plain path: leave out empty parts, dots and a final slash");
    }
    if below_root.split('/').count() > MAX_TARGET_PARTS {
        return invalid(&format!("has more than {MAX_TARGET_PARTS} parts: choose a shorter path"));
    }
    if let Some(place) = RESERVED.iter().find(|place| is_within(target, place)) {
        return invalid(&format!("is in {place}, which belongs to the sandbox: choose another"));
    }
    match (mode, target == WORK) {
        (MountMode::Project, false) => invalid("cannot be the project: that is at /work"),
        (MountMode::Ro | MountMode::Rw, true) => {
            invalid("is the place of the project: choose another, or the mode project")
        }
        _ => Ok(()),
    }
}

/// Two mounts may not hide each other; inside the project one may be shown.
fn check_apart(target: &str, other: &str) -> Result<(), BusError> {
    if target == other {
        return Err(BusError::invalid(format!("mount {target:?} is given twice")));
    }
    let nested = |inner: &str, outer: &str| outer != WORK && is_within(inner, outer);
    if nested(target, other) || nested(other, target) {
        return Err(BusError::invalid(format!(
            "mounts {other:?} and {target:?} are inside each other: give them places of their own"
        )));
    }
    Ok(())
}

fn is_within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What came is a directory that the client could read: a descriptor opened
/// with O_PATH would prove nothing.
fn check_directory(target: &str, directory: &OwnedFd) -> Result<(), BusError> {
    let failed = |error: rustix::io::Errno| {
        BusError::invalid(format!("the descriptor for mount {target:?} cannot be used: {error}"))
    };
    let kind =
        rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(directory).map_err(failed)?.st_mode);
    if kind != rustix::fs::FileType::Directory {
        return Err(BusError::invalid(format!("mount {target:?} is no directory: open one")));
    }
    let flags = rustix::fs::fcntl_getfl(directory).map_err(failed)?;
    if flags.contains(rustix::fs::OFlags::PATH) {
        return Err(BusError::invalid(format!(
            "the descriptor for mount {target:?} was opened with O_PATH: open it for reading"
        )));
    }
    Ok(())
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
