//! What distinguishes two profiles.

use crate::decision::Decision;
use crate::explain::outcome_words;
use crate::filter::Filter;
use crate::profile::{Profile, Shown};
use crate::{calls, decision};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use syscalls::x86_64::Sysno;

const NO_CALL: u32 = calls::X32_BIT - 1;

/// What a difference is about; the order in which differences are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A key of the profile.
    Key,
    /// A capability.
    Capability,
    /// A host path that is shown.
    Path,
    /// A device that is shown.
    Device,
    /// A variable.
    Variable,
    /// A system call.
    Call,
}

/// One difference between two profiles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// What it is about.
    pub subject: Subject,
    /// Its name: `limits.pids`, `/opt`, `ptrace`.
    pub name: String,
    /// What the first profile has; none where it has nothing of that name.
    pub before: Option<String>,
    /// The same of the second.
    pub after: Option<String>,
}

/// Everything that differs, by subject and name; calls by number.
#[must_use]
pub fn diff(before: (&Profile, &Filter), after: (&Profile, &Filter)) -> Vec<Difference> {
    let mut out = Vec::new();
    let mut compare = |subject, one: BTreeMap<String, String>, mut other: BTreeMap<_, _>| {
        let mut pairs: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
        for (name, value) in one {
            let against = other.remove(&name);
            pairs.insert(name, (Some(value), against));
        }
        pairs.extend(other.into_iter().map(|(name, value)| (name, (None, Some(value)))));
        let differing = pairs.into_iter().filter(|(_, (one, other))| one != other);
        out.extend(differing.map(|(name, (before, after))| Difference {
            subject,
            name,
            before,
            after,
        }));
    };
    let (one, other) = (before.0, after.0);
    compare(Subject::Key, keys(one), keys(other));
    compare(Subject::Capability, capabilities(one), capabilities(other));
    compare(Subject::Path, shown(&one.show), shown(&other.show));
    compare(Subject::Device, shown(&one.devices), shown(&other.devices));
    compare(Subject::Variable, one.env.clone(), other.env.clone());
    out.extend(differing_calls(before.1, after.1));
    out
}

fn capabilities(profile: &Profile) -> BTreeMap<String, String> {
    profile.allowed_caps.iter().map(|name| (name.clone(), "kept".to_owned())).collect()
}

fn shown(list: &[Shown]) -> BTreeMap<String, String> {
    let word = |shown: &Shown| if shown.optional { "shown where there is one" } else { "shown" };
    list.iter().map(|shown| (shown.path.clone(), word(shown).to_owned())).collect()
}

/// Every value that is not a list of its own, by its key in the file.
fn keys(profile: &Profile) -> BTreeMap<String, String> {
    const OTHERWISE: [&str; 8] = [
        "name",
        "allowed_caps",
        "allowed_calls",
        "weaker_calls",
        "networks",
        "show",
        "devices",
        "env",
    ];
    let Ok(Value::Object(all)) = serde_json::to_value(profile) else { return BTreeMap::new() };
    all.into_iter()
        .filter(|(key, value)| !OTHERWISE.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (written(&key).to_owned(), text(&key, &value)))
        .collect()
}

/// A field's key in a profile file.
fn written(field: &str) -> &str {
    match field {
        "max_runtime_usec" => "max_runtime_hours",
        "stop_grace_usec" => "stop_grace_seconds",
        "terminals" => "root.terminals",
        "tmp_bytes" => "root.tmp_size",
        "shm_bytes" => "root.shm_size",
        "open_files" => "limits.open_files",
        "pids" => "limits.pids",
        "memory_bytes" => "limits.memory",
        "cpus" => "limits.cpus",
        "cpuset" => "limits.cpuset",
        "disk_bytes" => "limits.disk",
        "log_bytes" => "limits.log",
        "cpu_weight" => "limits.cpu_weight",
        "io_weight" => "limits.io_weight",
        other => other,
    }
}

fn text(field: &str, value: &Value) -> String {
    match (value, value.as_u64()) {
        (_, Some(usec)) if field == "max_runtime_usec" => hours(usec),
        (_, Some(usec)) if field == "stop_grace_usec" => {
            format!("{}", std::time::Duration::from_micros(usec).as_secs_f64())
        }
        (_, Some(bytes)) if field.ends_with("_bytes") => size(bytes),
        (Value::String(text), _) => text.clone(),
        (Value::Array(items), _) => {
            let words: Vec<String> = items.iter().map(|item| text("", item)).collect();
            words.join(", ")
        }
        _ => value.to_string(),
    }
}

fn hours(usec: u64) -> String {
    let hours = std::time::Duration::from_micros(usec).as_secs_f64() / 3600.0;
    format!("{hours}")
}

/// In the largest binary unit that loses nothing.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(bits, _)| bytes != 0 && bytes.trailing_zeros() as u64 >= *bits) {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}"),
    }
}

fn differing_calls(before: &Filter, after: &Filter) -> Vec<Difference> {
    let known = Sysno::iter().map(|call| call as u32);
    let named = before.merged.table.keys().chain(after.merged.table.keys()).copied();
    // One number that no kernel has stands for all of those.
    let numbers: BTreeSet<u32> = known.chain(named).chain([NO_CALL]).collect();
    let of = |filter: &Filter, number| filter.merged.of(number);
    numbers
        .into_iter()
        .filter_map(|number| {
            let (one, other) = (of(before, number), of(after, number));
            if decision::same(&one, &other) {
                return None;
            }
            let conditions = !one.tests.is_empty() && !other.tests.is_empty();
            let (one, other) = (outcomes(&one), outcomes(&other));
            let after = match conditions && one == other {
                true => format!("{other}, for other arguments"),
                false => other,
            };
            let name = match calls::name(number) {
                Some(name) => name.to_owned(),
                None if number == NO_CALL => "every other call".to_owned(),
                None => number.to_string(),
            };
            Some(Difference { subject: Subject::Call, name, before: Some(one), after: Some(after) })
        })
        .collect()
}

/// What can become of a call, in words.
fn outcomes(decision: &Decision) -> String {
    let mut words: Vec<String> = Vec::new();
    for ending in decision.endings() {
        let word = outcome_words(ending.outcome);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.sort_by_key(|word| !word.starts_with("is made"));
    words.join(" or ")
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
