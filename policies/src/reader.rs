//! One profile file as it was written: values checked one by one, each with
//! its place, all faults at once. What depends on the parent is `resolve`'s.

mod value;

use crate::devices;
use crate::paths;
use crate::problem::{Fault, Problem, nearest, place};
use crate::profile::{Demand, Denials, Network, Shown};
use fetchml_api::cpus::CpuSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

const KEYS: [&str; 20] = [
    "description",
    "extends",
    "network_mode",
    "read_only_root",
    "no_new_privileges",
    "drop_all_caps",
    "allowed_caps",
    "user_ns",
    "run_as_uid",
    "run_as_gid",
    "seccomp_profile",
    "calls",
    "denials",
    "quiet_calls",
    "max_runtime_hours",
    "landlock",
    "stop_grace_seconds",
    "root",
    "limits",
    "env",
];
const ROOT_KEYS: [&str; 8] = [
    "show",
    "show_optional",
    "hide",
    "devices",
    "devices_optional",
    "terminals",
    "tmp_size",
    "shm_size",
];
const CALL_KEYS: [&str; 1] = ["allow"];
const LIMIT_KEYS: [&str; 9] =
    ["open_files", "pids", "memory", "cpus", "cpuset", "disk", "log", "cpu_weight", "io_weight"];

/// A profile before inheritance. `None`: the file does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) file: String,
    /// The text, and where in it each value begins, by key; items of lists by key
    /// and item. Faults that show only when all values are known have a place too.
    text: Arc<str>,
    offsets: BTreeMap<String, usize>,
    pub(crate) description: Option<String>,
    pub(crate) extends: Option<String>,
    pub(crate) network_mode: Option<Network>,
    pub(crate) read_only_root: Option<bool>,
    pub(crate) no_new_privileges: Option<bool>,
    pub(crate) drop_all_caps: Option<bool>,
    pub(crate) allowed_caps: Option<Vec<String>>,
    pub(crate) user_ns: Option<bool>,
    pub(crate) run_as_uid: Option<u32>,
    pub(crate) run_as_gid: Option<u32>,
    pub(crate) seccomp_profile: Option<String>,
    pub(crate) allowed_calls: BTreeMap<String, String>,
    pub(crate) denials: Option<Denials>,
    pub(crate) quiet_calls: Option<Vec<String>>,
    pub(crate) max_runtime_usec: Option<u64>,
    pub(crate) landlock: Option<Demand>,
    pub(crate) stop_grace_usec: Option<u64>,
    pub(crate) show: Vec<Shown>,
    pub(crate) hide: Vec<String>,
    pub(crate) devices: Vec<Shown>,
    pub(crate) terminals: Option<bool>,
    pub(crate) tmp_bytes: Option<u64>,
    pub(crate) shm_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) cpuset: Option<CpuSet>,
    pub(crate) disk_bytes: Option<u64>,
    pub(crate) log_bytes: Option<u64>,
    pub(crate) cpu_weight: Option<u32>,
    pub(crate) io_weight: Option<u32>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Draft {
    /// A fault of a key, at the item that is at fault where it is one of a list.
    /// What the file does not say itself, it takes from its parent.
    pub(crate) fn problem(&self, fault: Fault, key: &str, item: Option<&str>) -> Problem {
        let item = item.map(|item| format!("{key}.{item}"));
        let tables = key.match_indices('.').rev().filter_map(|(at, _)| key.get(..at));
        let names = item.as_deref().into_iter().chain([key]).chain(tables).chain(["extends"]);
        let offset = names.into_iter().find_map(|name| self.offsets.get(name));
        let place = place(&self.text, offset.copied().unwrap_or_default());
        Problem { place: Some(place), ..fault.in_file(&self.file, key) }
    }

    /// Takes the file and its places from another draft.
    pub(crate) fn lie_in_file_of(&mut self, other: &Self) {
        self.file.clone_from(&other.file);
        self.text = Arc::clone(&other.text);
        self.offsets.clone_from(&other.offsets);
    }
}

/// Reads one file. `file` is its name in messages.
pub(crate) fn read(file: &str, text: &str) -> Result<Draft, Vec<Problem>> {
    let (draft, problems) = read_all(file, text);
    if problems.is_empty() { Ok(draft) } else { Err(problems) }
}

/// Reads one file: what of it is right, and the faults of the rest.
pub(crate) fn read_all(file: &str, text: &str) -> (Draft, Vec<Problem>) {
    let mut reader = Reader { file, text, problems: Vec::new(), offsets: BTreeMap::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let fault = Fault::new(error.message(), "correct the TOML syntax");
        reader.report(error.span().map(|span| span.start), String::new(), fault);
    }
    let mut draft = reader.profile(document.get_ref());
    (draft.text, draft.offsets) = (text.into(), std::mem::take(&mut reader.offsets));
    (draft, reader.problems)
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
    offsets: BTreeMap<String, usize>,
}

impl Reader<'_> {
    fn profile(&mut self, table: &DeTable<'_>) -> Draft {
        self.known(table, "", &KEYS);
        let mut draft = Draft {
            file: self.file.to_owned(),
            description: self.value(table, "", "description", value::line),
            extends: self.value(table, "", "extends", value::text),
            network_mode: self.value(table, "", "network_mode", value::network),
            read_only_root: self.value(table, "", "read_only_root", value::read_only_root),
            no_new_privileges: self.value(table, "", "no_new_privileges", value::no_new_privileges),
            drop_all_caps: self.value(table, "", "drop_all_caps", value::switch),
            allowed_caps: self.names(table, "", "allowed_caps", value::capability),
            user_ns: self.value(table, "", "user_ns", value::user_ns),
            run_as_uid: self.value(table, "", "run_as_uid", value::unprivileged_id),
            run_as_gid: self.value(table, "", "run_as_gid", value::unprivileged_id),
            seccomp_profile: self.value(table, "", "seccomp_profile", value::text),
            denials: self.value(table, "", "denials", value::denials),
            quiet_calls: self.names(table, "", "quiet_calls", value::call),
            max_runtime_usec: self.value(table, "", "max_runtime_hours", value::hours),
            landlock: self.value(table, "", "landlock", value::demand),
            stop_grace_usec: self.value(table, "", "stop_grace_seconds", value::seconds),
            ..Draft::default()
        };
        if let Some(root) = self.value(table, "", "root", value::subtable) {
            self.known(root, "root.", &ROOT_KEYS);
            draft.terminals = self.value(root, "root.", "terminals", value::switch);
            draft.tmp_bytes = self.value(root, "root.", "tmp_size", value::tmpfs_size);
            draft.shm_bytes = self.value(root, "root.", "shm_size", value::tmpfs_size);
            self.show(root, "show", false, paths::check, &mut draft.show);
            self.show(root, "show_optional", true, paths::check, &mut draft.show);
            self.show(root, "devices", false, devices::check, &mut draft.devices);
            self.show(root, "devices_optional", true, devices::check, &mut draft.devices);
            draft.hide = self.names(root, "root.", "hide", value::text).unwrap_or_default();
        }
        if let Some(limits) = self.value(table, "", "limits", value::subtable) {
            self.known(limits, "limits.", &LIMIT_KEYS);
            draft.open_files =
                self.value(limits, "limits.", "open_files", |v| value::whole(v, 64, 1 << 20));
            draft.pids = self.value(limits, "limits.", "pids", |v| value::whole(v, 8, 1 << 22));
            draft.memory_bytes = self.value(limits, "limits.", "memory", value::memory);
            draft.cpus = self.value(limits, "limits.", "cpus", |v| value::number(v, 0.01, 4096.0));
            draft.cpuset = self.value(limits, "limits.", "cpuset", value::cpuset);
            draft.disk_bytes = self.value(limits, "limits.", "disk", value::written);
            draft.log_bytes = self.value(limits, "limits.", "log", value::written);
            draft.cpu_weight = self.value(limits, "limits.", "cpu_weight", value::weight);
            draft.io_weight = self.value(limits, "limits.", "io_weight", value::weight);
        }
        if let Some(env) = self.value(table, "", "env", value::subtable) {
            self.pairs(env, "env.", value::variable, &mut draft.env);
        }
        if let Some(calls) = self.value(table, "", "calls", value::subtable) {
            self.known(calls, "calls.", &CALL_KEYS);
            if let Some(allow) = self.value(calls, "calls.", "allow", value::subtable) {
                self.pairs(allow, "calls.allow.", value::reason, &mut draft.allowed_calls);
            }
        }
        draft
    }

    /// One value, if the file has it and it is right.
    fn value<'t, T>(
        &mut self,
        table: &'t DeTable<'t>,
        prefix: &str,
        key: &str,
        parse: impl FnOnce(&'t DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = table.get(key)?;
        self.offsets.insert(format!("{prefix}{key}"), value.span().start);
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                self.report(Some(value.span().start), format!("{prefix}{key}"), fault);
                None
            }
        }
    }

    fn known(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref();
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it (known: {})", known.join(", ")),
            };
            let fault = Fault::new("unknown key", remedy);
            self.report(Some(key.span().start), format!("{prefix}{}", name.escape_debug()), fault);
        }
    }

    /// A list of names, each once.
    fn names(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        key: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<String, Fault>,
    ) -> Option<Vec<String>> {
        let mut out: Vec<String> = Vec::new();
        for item in self.value(table, prefix, key, value::array)? {
            let twice = |name: String| match out.contains(&name) {
                true => Err(Fault::new(format!("{name} is listed twice"), "remove one of the two")),
                false => Ok(name),
            };
            match parse(item.get_ref()).and_then(twice) {
                Ok(name) => {
                    self.offsets.insert(format!("{prefix}{key}.{name}"), item.span().start);
                    out.push(name);
                }
                Err(fault) => self.report(Some(item.span().start), format!("{prefix}{key}"), fault),
            }
        }
        Some(out)
    }

    fn show(
        &mut self,
        root: &DeTable<'_>,
        key: &str,
        optional: bool,
        check: impl Fn(&str) -> Result<(), Fault>,
        out: &mut Vec<Shown>,
    ) {
        for item in self.value(root, "root.", key, value::array).unwrap_or_default() {
            let checked = value::text(item.get_ref()).and_then(|path| check(&path).map(|()| path));
            match checked.and_then(|path| paths::not_yet(out, &path).map(|()| path)) {
                Ok(path) => {
                    let kind = key.trim_end_matches("_optional");
                    self.offsets.insert(format!("root.{kind}.{path}"), item.span().start);
                    out.push(Shown { path, optional });
                }
                Err(fault) => self.report(Some(item.span().start), format!("root.{key}"), fault),
            }
        }
    }

    /// A table of texts by names that are the writer's choice.
    fn pairs(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        parse: impl Fn(&str, &DeValue<'_>) -> Result<String, Fault>,
        out: &mut BTreeMap<String, String>,
    ) {
        for (key, given) in table {
            let name: &str = key.get_ref();
            match parse(name, given.get_ref()) {
                Ok(text) => {
                    self.offsets.insert(format!("{prefix}{name}"), given.span().start);
                    out.insert(name.to_owned(), text);
                }
                Err(fault) => {
                    let key = format!("{prefix}{}", name.escape_debug());
                    self.report(Some(given.span().start), key, fault);
                }
            }
        }
    }

    fn report(&mut self, offset: Option<usize>, key: String, fault: Fault) {
        let mut problem = fault.in_file(self.file, key);
        problem.place = offset.map(|offset| place(self.text, offset));
        self.problems.push(problem);
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
