//! Paths in a job's root.

use super::{By, Explanation, Grounds, Verdict};
use crate::devices;
use crate::masks;
use crate::paths;
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// What a job does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read a file, list a directory.
    Read,
    /// Change, make or remove.
    Write,
    /// Run a program.
    Execute,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }
}

/// A place of the root: path, whether it holds what is below, what may be done
/// (`rwx`), what it is.
struct Place {
    path: &'static str,
    below: bool,
    may: &'static str,
    what: &'static str,
}

const fn tree(path: &'static str, may: &'static str, what: &'static str) -> Place {
    Place { path, below: true, may, what }
}

const fn node(path: &'static str, may: &'static str, what: &'static str) -> Place {
    Place { path, below: false, may, what }
}

/// What every job has. A longer path comes before the one it lies in.
const PLACES: [Place; 27] = [
    tree("/work", "rwx", "the job's own copy of the project"),
    tree("/outputs", "rwx", "the job's results"),
    tree("/tmp", "rwx", "private memory of the job, gone with it"),
    tree("/dev/shm", "rw", "private memory of the job, without programs"),
    node("/dev/null", "rw", "a device that every job has"),
    node("/dev/zero", "rw", "a device that every job has"),
    node("/dev/full", "rw", "a device that every job has"),
    node("/dev/random", "rw", "a device that every job has"),
    node("/dev/urandom", "rw", "a device that every job has"),
    tree("/dev/fd", "rw", "the process's own descriptors"),
    node("/dev/stdin", "rw", "the process's own descriptors"),
    node("/dev/stdout", "rw", "the process's own descriptors"),
    node("/dev/stderr", "rw", "the process's own descriptors"),
    node("/dev", "r", "the job's few devices"),
    tree("/proc", "r", "the job's own processes; entries about the machine are covered"),
    node("/etc/passwd", "r", "written for the job, without users of the host"),
    node("/etc/group", "r", "written for the job, without groups of the host"),
    node("/etc/hosts", "r", "written for the job"),
    node("/etc/hostname", "r", "written for the job"),
    node("/etc/nsswitch.conf", "r", "written for the job"),
    node("/etc/resolv.conf", "r", "written for the job: empty, but in the host's network"),
    node("/etc", "r", "the files that the profile shows and those written for the job"),
    tree("/bin", "rx", "a link into /usr"),
    tree("/sbin", "rx", "a link into /usr"),
    tree("/lib", "rx", "a link into /usr"),
    tree("/lib32", "rx", "a link into /usr"),
    tree("/lib64", "rx", "a link into /usr"),
];

/// Whether a job may do this with a path. Relative paths begin in /work. What
/// `--mount` gives is not known here, and on the files themselves the job's id
/// needs the permission besides.
#[must_use]
pub fn path(profile: &Profile, path: &str, access: Access) -> Explanation {
    let normal = normal(path);
    let explain = |verdict, outcome: String, by, rule| Explanation {
        question: format!("{} {normal}", access.word()),
        profile: profile.name.clone(),
        verdict,
        outcome,
        by,
        rule,
        cases: Vec::new(),
    };
    if let Some(shown) = profile.show.iter().find(|shown| within(&normal, &shown.path)) {
        let key = if shown.optional { "root.show_optional" } else { "root.show" };
        let grounds = Grounds {
            file: profile.name.clone(),
            key: key.to_owned(),
            reason: format!("shows {} of the host, read-only", shown.path),
        };
        let (verdict, outcome) = match (access, shown.optional) {
            (Access::Write, _) => (Verdict::Denied, "fails with EROFS (read-only file system)"),
            (Access::Execute, _) if shown.path.starts_with("/etc/") => {
                (Verdict::Denied, "fails with EACCES: what is below /etc can only be read")
            }
            (_, false) => (Verdict::Allowed, "is possible where the file's own mode allows it"),
            (_, true) => (Verdict::Depends, "is possible where the host has it"),
        };
        return explain(verdict, outcome.to_owned(), By::Profile, Some(grounds));
    }
    if let Some(shown) = profile.devices.iter().find(|d| devices::matches(&d.path, &normal)) {
        let key = if shown.optional { "root.devices_optional" } else { "root.devices" };
        let grounds = Grounds {
            file: profile.name.clone(),
            key: key.to_owned(),
            reason: format!("shows the device {} of the host", shown.path),
        };
        let (verdict, outcome) = match access {
            Access::Execute => (Verdict::Denied, "is a device"),
            _ => (Verdict::Depends, "is possible where the host has it and lets everybody use it"),
        };
        return explain(verdict, outcome.to_owned(), By::Profile, Some(grounds));
    }
    if profile.terminals && is_of_terminals(&normal) {
        let grounds = Grounds {
            file: profile.name.clone(),
            key: "root.terminals".to_owned(),
            reason: "gives the job pseudo-terminals of its own".to_owned(),
        };
        let (verdict, outcome) = match (access, normal.as_str()) {
            (Access::Execute, _) => (Verdict::Denied, "is a device"),
            (Access::Write, PTS) => (Verdict::Denied, "the kernel alone makes entries there"),
            _ => (Verdict::Allowed, "a pseudo-terminal of the job's own; it sees no others"),
        };
        return explain(verdict, outcome.to_owned(), By::Profile, Some(grounds));
    }
    if let Some(cover) = masks::cover(&normal) {
        let outcome =
            format!("{cover} covers it in every job: it tells of the machine, or acts on it");
        return explain(Verdict::Denied, outcome, By::Sandbox, None);
    }
    if access == Access::Write && is_of_a_process(&normal) {
        let outcome = "is possible for the job's own processes where it sees an NVIDIA card, as \
                       CUDA names its threads so; else /proc is read-only"
            .to_owned();
        return explain(Verdict::Depends, outcome, By::Sandbox, None);
    }
    if let Some(place) = PLACES
        .iter()
        .find(|place| normal == place.path || place.below && within(&normal, place.path))
    {
        let letter = &access.word()[..1];
        let letter = if access == Access::Execute { "x" } else { letter };
        return match place.may.contains(letter) {
            true => explain(Verdict::Allowed, place.what.to_owned(), By::Sandbox, None),
            false => {
                let why = match access {
                    Access::Execute => "programs cannot be run there",
                    _ => "it is read-only",
                };
                explain(Verdict::Denied, format!("{}; {why}", place.what), By::Sandbox, None)
            }
        };
    }
    let above = normal == "/" || profile.show.iter().any(|shown| within(&shown.path, &normal));
    match (above, access) {
        (true, Access::Read) => explain(
            Verdict::Allowed,
            "a directory of the job's root, which only leads to others".to_owned(),
            By::Sandbox,
            None,
        ),
        (true, _) => {
            let outcome = "the root of a job is read-only".to_owned();
            explain(Verdict::Denied, outcome, By::Sandbox, None)
        }
        (false, _) => {
            let remedy = match &normal {
                terminal if is_of_terminals(terminal) => {
                    "a profile gives a job terminals of its own with root.terminals"
                }
                device if within(device, "/dev") => "a profile shows devices with root.devices",
                kernel if within(kernel, "/sys") && paths::check(kernel).is_err() => {
                    "no profile may show it"
                }
                kernel if within(kernel, "/sys") => "a profile shows such paths with root.show",
                _ => "give the job its directory with --mount",
            };
            let outcome = format!("is not in the job's root: fails with ENOENT; {remedy}");
            explain(Verdict::Denied, outcome, By::Default, None)
        }
    }
}

/// Absolute, without empty, `.` and `..` parts.
fn normal(path: &str) -> String {
    let base = if path.starts_with('/') { "" } else { "work/" };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

fn within(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where a job's pseudo-terminals are.
const PTS: &str = "/dev/pts";

fn is_of_terminals(path: &str) -> bool {
    path == "/dev/ptmx" || within(path, PTS)
}

/// Whether it lies in /proc, in the entry of a process of the job. Process 1 is the
/// agent.
fn is_of_a_process(path: &str) -> bool {
    let Some((name, _)) = path.strip_prefix("/proc/").and_then(|inner| inner.split_once('/'))
    else {
        return false;
    };
    let is_number = name != "1" && name.bytes().all(|byte| byte.is_ascii_digit());
    ["self", "thread-self"].contains(&name) || is_number
}
