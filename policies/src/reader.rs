//! One profile file as it was written: values checked one by one, each with
//! its place, all faults at once. What depends on the parent is `resolve`'s.

use crate::paths;
use crate::problem::{Fault, Problem, nearest};
use crate::profile::{Demand, Network, Shown};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const KEYS: [&str; 17] = [
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
    "max_runtime_hours",
    "landlock",
    "stop_grace_seconds",
    "root",
    "limits",
    "env",
];
const ROOT_KEYS: [&str; 4] = ["show", "show_optional", "tmp_size", "shm_size"];
const LIMIT_KEYS: [&str; 4] = ["open_files", "pids", "memory", "cpus"];

/// A profile before inheritance. `None`: the file does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) file: String,
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
    pub(crate) max_runtime_usec: Option<u64>,
    pub(crate) landlock: Option<Demand>,
    pub(crate) stop_grace_usec: Option<u64>,
    pub(crate) show: Vec<Shown>,
    pub(crate) tmp_bytes: Option<u64>,
    pub(crate) shm_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) env: BTreeMap<String, String>,
}

/// Reads one file. `file` is its name in messages.
pub(crate) fn read(file: &str, text: &str) -> Result<Draft, Vec<Problem>> {
    let mut reader = Reader { file, text, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let fault = Fault::new(error.message(), "correct the TOML syntax");
        reader.report(error.span().map(|span| span.start), String::new(), fault);
    }
    let draft = reader.profile(document.get_ref());
    if reader.problems.is_empty() { Ok(draft) } else { Err(reader.problems) }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn profile(&mut self, table: &DeTable<'_>) -> Draft {
        self.known(table, "", &KEYS);
        let mut draft = Draft {
            file: self.file.to_owned(),
            description: self.value(table, "", "description", line),
            extends: self.value(table, "", "extends", text),
            network_mode: self.value(table, "", "network_mode", network),
            read_only_root: self.value(table, "", "read_only_root", read_only_root),
            no_new_privileges: self.value(table, "", "no_new_privileges", no_new_privileges),
            drop_all_caps: self.value(table, "", "drop_all_caps", switch),
            allowed_caps: self.value(table, "", "allowed_caps", capabilities),
            user_ns: self.value(table, "", "user_ns", user_ns),
            run_as_uid: self.value(table, "", "run_as_uid", unprivileged_id),
            run_as_gid: self.value(table, "", "run_as_gid", unprivileged_id),
            seccomp_profile: self.value(table, "", "seccomp_profile", text),
            max_runtime_usec: self.value(table, "", "max_runtime_hours", hours),
            landlock: self.value(table, "", "landlock", demand),
            stop_grace_usec: self.value(table, "", "stop_grace_seconds", seconds),
            ..Draft::default()
        };
        if let Some(root) = self.value(table, "", "root", subtable) {
            self.known(root, "root.", &ROOT_KEYS);
            draft.tmp_bytes = self.value(root, "root.", "tmp_size", tmpfs_size);
            draft.shm_bytes = self.value(root, "root.", "shm_size", tmpfs_size);
            self.show(root, "show", false, &mut draft.show);
            self.show(root, "show_optional", true, &mut draft.show);
        }
        if let Some(limits) = self.value(table, "", "limits", subtable) {
            self.known(limits, "limits.", &LIMIT_KEYS);
            draft.open_files = self.value(limits, "limits.", "open_files", |v| whole(v, 64, 1 << 20));
            draft.pids = self.value(limits, "limits.", "pids", |v| whole(v, 8, 1 << 22));
            draft.memory_bytes = self.value(limits, "limits.", "memory", memory);
            draft.cpus = self.value(limits, "limits.", "cpus", |v| number(v, 0.01, 4096.0));
        }
        if let Some(env) = self.value(table, "", "env", subtable) {
            self.env(env, &mut draft.env);
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

    fn show(&mut self, root: &DeTable<'_>, key: &str, optional: bool, out: &mut Vec<Shown>) {
        for item in self.value(root, "root.", key, array).unwrap_or_default() {
            let checked = text(item.get_ref()).and_then(|path| paths::check(&path).map(|()| path));
            match checked.and_then(|path| paths::not_yet(out, &path).map(|()| path)) {
                Ok(path) => out.push(Shown { path, optional }),
                Err(fault) => self.report(Some(item.span().start), format!("root.{key}"), fault),
            }
        }
    }

    fn env(&mut self, table: &DeTable<'_>, out: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            match variable_name(name).and_then(|()| variable_value(value.get_ref())) {
                Ok(text) => {
                    out.insert(name.to_owned(), text);
                }
                Err(fault) => {
                    self.report(Some(value.span().start), format!("env.{}", name.escape_debug()), fault);
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

/// Line and column, from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn wrong_type(value: &DeValue<'_>, wanted: &str) -> Fault {
    Fault::new(format!("is {} {}", article(value.type_str()), value.type_str()), format!("write {wanted}"))
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn text(value: &DeValue<'_>) -> Result<String, Fault> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, "a text in quotes"))
}

fn line(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = text(value)?;
    if text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
        return Err(Fault::new(
            "is empty, longer than 200 bytes or has control characters",
            "write one plain line that says what the profile is for",
        ));
    }
    Ok(text)
}

fn subtable<'t>(value: &'t DeValue<'t>) -> Result<&'t DeTable<'t>, Fault> {
    value.as_table().ok_or_else(|| wrong_type(value, "a table"))
}

fn array<'t>(value: &'t DeValue<'t>) -> Result<&'t [Spanned<DeValue<'t>>], Fault> {
    value.as_array().map(AsRef::as_ref).ok_or_else(|| wrong_type(value, "a list in brackets"))
}

fn switch(value: &DeValue<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
}

fn always(value: &DeValue<'_>, reason: &str) -> Result<bool, Fault> {
    match switch(value)? {
        true => Ok(true),
        false => Err(Fault::new(format!("false is refused: {reason}"), "write true")),
    }
}

fn read_only_root(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(value, "a job writes to /work, /outputs, /tmp and the mounts it was given, never to the root")
}

fn no_new_privileges(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(value, "without it a set-uid program would leave the sandbox's ids, and no filter could be installed")
}

fn user_ns(value: &DeValue<'_>) -> Result<bool, Fault> {
    always(value, "without a user namespace of its own the job would hold a host user id that others share")
}

fn network(value: &DeValue<'_>) -> Result<Network, Fault> {
    match text(value)?.as_str() {
        "none" => Ok(Network::None),
        "loopback" => Ok(Network::Loopback),
        mode @ ("host" | "proxy") => Err(Fault::new(
            format!("{mode:?} is not offered by this version"),
            "use \"none\", or \"loopback\" for jobs that talk to themselves",
        )),
        other => Err(Fault::new(format!("unknown mode {other:?}"), "use \"none\" or \"loopback\"")),
    }
}

fn demand(value: &DeValue<'_>) -> Result<Demand, Fault> {
    match text(value)?.as_str() {
        "required" => Ok(Demand::Required),
        "best-effort" => Ok(Demand::BestEffort),
        other => Err(Fault::new(format!("unknown demand {other:?}"), "use \"required\" or \"best-effort\"")),
    }
}

fn capabilities(value: &DeValue<'_>) -> Result<Vec<String>, Fault> {
    let mut out: Vec<String> = Vec::new();
    for item in array(value)? {
        let name = text(item.get_ref())?;
        if caps::Capability::from_str(&name).is_err() {
            let known: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
            let remedy = match nearest(&name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "use a name from capabilities(7), such as CAP_SYS_NICE".to_owned(),
            };
            return Err(Fault::new(format!("unknown capability {name:?}"), remedy));
        }
        if out.contains(&name) {
            return Err(Fault::new(format!("{name} is listed twice"), "remove one of the two"));
        }
        out.push(name);
    }
    Ok(out)
}

fn integer(value: &DeValue<'_>) -> Result<i64, Fault> {
    let number = value.as_integer().ok_or_else(|| wrong_type(value, "a whole number"))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Fault::new(format!("{} is out of range", number.as_str()), "write a smaller number"))
}

fn whole(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Fault> {
    let number = integer(value)?;
    u64::try_from(number).ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        Fault::new(format!("{number} is out of range"), format!("use {least} to {most}"))
    })
}

fn unprivileged_id(value: &DeValue<'_>) -> Result<u32, Fault> {
    match integer(value)? {
        0 => Err(Fault::new("0 is root, also to programs inside the job", "use 1000, or another id from 1 to 65533")),
        number => u32::try_from(number).ok().filter(|id| *id <= 65_533).ok_or_else(|| {
            Fault::new(format!("{number} is out of range"), "use 1 to 65533; 65534 is nobody")
        }),
    }
}

fn number(value: &DeValue<'_>, least: f64, most: f64) -> Result<f64, Fault> {
    let (text, parsed) = match (value.as_float(), value.as_integer()) {
        (Some(float), _) => (float.as_str(), float.as_str().parse().ok()),
        (_, Some(integer)) if integer.radix() == 10 => (integer.as_str(), integer.as_str().parse().ok()),
        _ => return Err(wrong_type(value, "a number")),
    };
    parsed
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Fault::new(format!("{text} is out of range"), format!("use {least} to {most}")))
}

fn usec(seconds: f64) -> Result<u64, Fault> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_micros()).ok())
        .ok_or_else(|| Fault::new(format!("{seconds} seconds are out of range"), "use a smaller number"))
}

fn hours(value: &DeValue<'_>) -> Result<u64, Fault> {
    number(value, 0.001, 8760.0).and_then(|hours| usec(hours * 3600.0))
}

fn seconds(value: &DeValue<'_>) -> Result<u64, Fault> {
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

fn tmpfs_size(value: &DeValue<'_>) -> Result<u64, Fault> {
    size(value, 1 << 20, 1 << 40)
}

fn memory(value: &DeValue<'_>) -> Result<u64, Fault> {
    size(value, 16 << 20, 64 << 40)
}

fn variable_name(name: &str) -> Result<(), Fault> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Fault::new("is no name of a variable", "use letters, digits and underscores"));
    }
    if name.starts_with("FETCHML_") {
        return Err(Fault::new("is set by the supervisor", "choose a name that does not begin with FETCHML_"));
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

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
