//! One file of the configuration, key by key. Every key is one line of
//! [`KEYS`]: its type, its range and where its value goes.

use super::Config;
use crate::audit::LEAST_KEEP_DAYS;
use fetchml_api::job::FailureClass;
use fetchml_api::queueing::MAX_ATTEMPTS;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is wrong, place by place.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong there, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// What a key takes.
enum Kind {
    /// A whole number in this range.
    Number { min: u64, max: u64, set: fn(&mut Config, u64) },
    /// Text.
    Text { set: fn(&mut Config, &str) },
    /// True or false.
    Switch { set: fn(&mut Config, bool) },
    /// Absolute paths of directories.
    Directories { set: fn(&mut Config, Vec<PathBuf>) },
    /// A list of digests.
    Digests { set: fn(&mut Config, Vec<String>) },
}

struct Key {
    table: &'static str,
    name: &'static str,
    kind: Kind,
}

const fn number(
    table: &'static str,
    name: &'static str,
    (min, max): (u64, u64),
    set: fn(&mut Config, u64),
) -> Key {
    Key { table, name, kind: Kind::Number { min, max, set } }
}

const KEYS: &[Key] = &[
    number("jobs", "max_running", (1, 4096), |c, n| c.jobs.max_running = count(n)),
    number("jobs", "max_queued_per_user", (1, 1_000_000), |c, n| {
        c.jobs.max_queued_per_user = count(n);
    }),
    number("jobs", "max_queued_mib_per_user", (1, 65_536), |c, n| {
        c.jobs.max_queued_bytes_per_user = count(n << 20);
    }),
    number("jobs", "max_array_size", (1, 1_000_000), |c, n| c.jobs.max_array_size = count(n)),
    Key {
        table: "jobs",
        name: "default_profile",
        kind: Kind::Text { set: |c, text| text.clone_into(&mut c.jobs.default_profile) },
    },
    number("bus", "max_connections", (1, 65_536), |c, n| c.bus.max_connections = count(n)),
    number("bus", "max_connections_per_user", (1, 65_536), |c, n| {
        c.bus.max_connections_per_user = count(n);
    }),
    number("bus", "handshake_timeout_seconds", (1, 300), |c, n| {
        c.bus.handshake_timeout = Duration::from_secs(n);
    }),
    number("bus", "idle_exit_seconds", (0, 86_400), |c, n| {
        c.bus.idle_exit = Duration::from_secs(n);
    }),
    number("queue", "fair_share_half_life_hours", (1, 8_760), |c, n| {
        c.rules.half_life_usec = n * 3_600_000_000;
    }),
    number("quota", "running_jobs", (1, 4096), |c, n| {
        c.rules.quota.running_jobs = Some(count(n));
    }),
    number("quota", "cpus", (1, 4096), |c, n| c.rules.quota.milli_cpus = Some(n * 1000)),
    number("quota", "memory_gib", (1, 65_536), |c, n| {
        c.rules.quota.memory_bytes = Some(n << 30);
    }),
    number("quota", "gpus", (0, 1024), |c, n| c.rules.quota.gpus = Some(small(n))),
    number("quota", "gpu_hours", (0, 1_000_000), |c, n| {
        c.rules.quota.gpu_hours = Some(f64::from(small(n)));
    }),
    number("store", "keep_days", (0, 36_500), |c, n| {
        c.store.keep = (n > 0).then(|| Duration::from_secs(n * 86_400));
    }),
    number("retry", "first_pause_seconds", (1, 86_400), |c, n| {
        c.retry.first_pause = Duration::from_secs(n);
    }),
    number("retry", "longest_pause_seconds", (1, 604_800), |c, n| {
        c.retry.longest_pause = Duration::from_secs(n);
    }),
    tries("infrastructure", |c, n| retry(c, FailureClass::Infrastructure, n)),
    tries("user_error", |c, n| retry(c, FailureClass::UserError, n)),
    tries("out_of_memory", |c, n| retry(c, FailureClass::OutOfMemory, n)),
    tries("timeout", |c, n| retry(c, FailureClass::Timeout, n)),
    tries("process_limit", |c, n| retry(c, FailureClass::ProcessLimit, n)),
    tries("disk_limit", |c, n| retry(c, FailureClass::DiskLimit, n)),
    tries("log_limit", |c, n| retry(c, FailureClass::LogLimit, n)),
    tries("policy_denied", |c, n| retry(c, FailureClass::PolicyDenied, n)),
    tries("lost", |c, n| retry(c, FailureClass::Lost, n)),
    Key {
        table: "audit",
        name: "journald",
        kind: Kind::Switch { set: |c, on| c.audit.journald = on },
    },
    Key {
        table: "audit",
        name: "data",
        kind: Kind::Directories { set: |c, paths| c.audit.data = paths },
    },
    number("audit", "segment_mib", (1, 1024), |c, n| c.audit.segment_bytes = n << 20),
    number("audit", "keep_days", (LEAST_KEEP_DAYS, 36_500), |c, n| {
        c.audit.keep = Duration::from_secs(n * 86_400);
    }),
    number("audit", "heartbeat_minutes", (1, 60), |c, n| {
        c.audit.heartbeat = Duration::from_secs(n * 60);
    }),
    Key {
        table: "secrets",
        name: "allow_literal",
        kind: Kind::Digests { set: |c, list| c.secrets.allow_literal.extend(list) },
    },
    Key { table: "gpus", name: "shared", kind: Kind::Switch { set: |c, on| c.gpus.shared = on } },
];

/// Further tries after a failure of one class.
const fn tries(name: &'static str, set: fn(&mut Config, u64)) -> Key {
    number("retry", name, (0, MAX_ATTEMPTS as u64), set)
}

fn retry(config: &mut Config, class: FailureClass, tries: u64) {
    config.retry.tries.insert(class, small(tries));
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Puts what `text` says into `config`, and what is wrong with it into `problems`.
pub(super) fn apply(path: &Path, text: &str, config: &mut Config, problems: &mut Vec<Problem>) {
    let mut report = |offset: usize, message: String| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        problems.push(Problem { file: path.to_owned(), line, message });
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            return report(offset, error.message().to_owned());
        }
    };
    for (table_name, table) in root.get_ref() {
        let offset = table_name.span().start;
        let table_name = table_name.get_ref().as_ref();
        if !KEYS.iter().any(|key| key.table == table_name) {
            let names = KEYS.iter().map(|key| key.table);
            report(offset, unknown("table", table_name, table_name, names));
            continue;
        }
        let DeValue::Table(table) = table.get_ref() else {
            report(offset, format!("{table_name} must be a table: write [{table_name}]"));
            continue;
        };
        for (name, value) in table {
            let offset = name.span().start;
            let name = name.get_ref().as_ref();
            let full = format!("{table_name}.{name}");
            let known = || KEYS.iter().filter(|key| key.table == table_name);
            let result = match known().find(|key| key.name == name) {
                Some(key) => set(&full, &key.kind, value, config),
                None => Err(unknown("key", &full, name, known().map(|key| key.name))),
            };
            if let Err(message) = result {
                report(offset, message);
            }
        }
    }
}

/// The line of a key, if the text has it.
pub(super) fn line_of(text: &str, table: &str, name: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let DeValue::Table(table) = root.get_ref().get(table)?.get_ref() else { return None };
    let (key, _) = table.get_key_value(name)?;
    let before = text.get(..key.span().start)?;
    Some(before.matches('\n').count() + 1)
}

fn set(
    full: &str,
    kind: &Kind,
    value: &Spanned<DeValue<'_>>,
    config: &mut Config,
) -> Result<(), String> {
    // A reference stands for what a variable or a credential says, of whatever kind.
    let expanded = match value.get_ref() {
        DeValue::String(text) if text.contains("${") => {
            Some(super::expand::expand(text).map_err(|why| format!("{full} {why}"))?)
        }
        _ => None,
    };
    match (kind, value.get_ref()) {
        (Kind::Number { min, max, set }, _) if expanded.is_some() => {
            let number = expanded.as_deref().and_then(|text| text.trim().parse().ok());
            match number {
                Some(n) if (*min..=*max).contains(&n) => set(config, n),
                _ => {
                    return Err(format!("{full} refers to no number from {min} to {max}"));
                }
            }
        }
        (Kind::Switch { set }, _) if expanded.is_some() => {
            match expanded.as_deref().map(str::trim) {
                Some("true") => set(config, true),
                Some("false") => set(config, false),
                _ => return Err(format!("{full} refers to neither true nor false")),
            }
        }
        (Kind::Digests { set }, DeValue::Array(list)) => {
            let digests = list.iter().map(|one| match one.get_ref() {
                DeValue::String(text) if super::secrets::is_digest(text) => Some(text.to_string()),
                _ => None,
            });
            match digests.collect::<Option<Vec<_>>>() {
                Some(digests) => set(config, digests),
                None => {
                    return Err(format!(
                        "{full} must hold digests: write \"sha256:\" and 64 small hexadecimal digits"
                    ));
                }
            }
        }
        (Kind::Digests { .. }, _) => {
            return Err(format!("{full} must be a list of digests: write [\"sha256:…\"]"));
        }
        (Kind::Number { min, max, set }, DeValue::Integer(number)) => {
            let radix = number.radix();
            match i128::from_str_radix(number.as_str(), radix).map(u64::try_from) {
                Ok(Ok(n)) if (*min..=*max).contains(&n) => set(config, n),
                _ => {
                    return Err(format!(
                        "{full} is {}: write a number from {min} to {max}",
                        number.as_str()
                    ));
                }
            }
        }
        (Kind::Number { min, max, .. }, _) => {
            return Err(format!("{full} must be a whole number from {min} to {max}"));
        }
        (Kind::Text { set }, DeValue::String(text)) if !text.is_empty() => {
            set(config, expanded.as_deref().unwrap_or(text));
        }
        (Kind::Text { .. }, _) => {
            return Err(format!("{full} must be a string that is not empty: write it in quotes"));
        }
        (Kind::Switch { set }, DeValue::Boolean(on)) => set(config, *on),
        (Kind::Switch { .. }, _) => return Err(format!("{full} must be true or false")),
        (Kind::Directories { set }, DeValue::Array(items)) => {
            let paths = items.iter().map(|item| directory(full, item.get_ref()));
            set(config, paths.collect::<Result<_, _>>()?);
        }
        (Kind::Directories { .. }, _) => {
            return Err(format!("{full} must be a list of directories: [\"/srv/data\"]"));
        }
    }
    Ok(())
}

fn directory(full: &str, value: &DeValue<'_>) -> Result<PathBuf, String> {
    match value {
        DeValue::String(text) if text.starts_with('/') => Ok(PathBuf::from(text.as_ref())),
        DeValue::String(text) => Err(format!("{full} has {text:?}: write an absolute path")),
        _ => Err(format!("{full} must hold nothing but paths in quotes")),
    }
}

fn unknown(
    what: &str,
    full: &str,
    name: &str,
    known: impl Iterator<Item = &'static str> + Clone,
) -> String {
    let mut message = format!("unknown {what} {full}");
    if let Some(near) = crate::nearest(name, known.clone()) {
        let _ = write!(message, ": did you mean {near}?");
    } else {
        let mut all: Vec<_> = known.collect();
        all.dedup();
        let _ = write!(message, ": this version knows {}", all.join(", "));
    }
    message
}
