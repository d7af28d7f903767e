//! Which host paths a profile may show.

use crate::problem::Fault;
use crate::profile::Shown;

const OWN_PROJECT: &str = "give the job its data with --dir or --mount";

/// Refused together with everything below: path, why, what to do.
const CLOSED: [(&str, &str, &str); 16] = [
    ("/proc", "the job has a /proc of its own", "remove it"),
    ("/dev", "the job has a /dev of its own", "remove it"),
    ("/tmp", "the job has a /tmp of its own", OWN_PROJECT),
    ("/work", "the job's project is there", OWN_PROJECT),
    ("/outputs", "the job's outputs are there", OWN_PROJECT),
    ("/run", "sockets of the host's services are there", "remove it"),
    ("/var", "state, logs and spools of the host are there", OWN_PROJECT),
    ("/boot", "no job needs the host's kernel", "remove it"),
    ("/root", "it is root's home directory", OWN_PROJECT),
    ("/home", "it holds the users' home directories", OWN_PROJECT),
    (
        "/sys/fs",
        "control groups and file system settings are there",
        "show a path below /sys/devices",
    ),
    ("/sys/kernel", "kernel settings and debugging are there", "show a path below /sys/devices"),
    ("/sys/firmware", "firmware variables are there", "show a path below /sys/devices"),
    ("/etc/shadow", "it holds the host's password hashes", "remove it"),
    ("/etc/gshadow", "it holds the host's password hashes", "remove it"),
    ("/etc/fetchml", "it holds the supervisor's configuration", "remove it"),
];

/// Refused as they are; what is below may be shown.
const TOO_MUCH: [(&str, &str, &str); 3] = [
    ("/", "the job's root is not the host's", "show the directories that the job needs"),
    (
        "/sys",
        "it holds every device and setting of the host",
        "show a path below it, such as /sys/devices/system/cpu",
    ),
    ("/etc", "it holds the host's configuration", "show the files that the job needs"),
];

const LINKS: [&str; 5] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"];
const WRITTEN: [&str; 5] =
    ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/hostname"];

/// Refuses what must not or need not be shown.
pub(crate) fn check(path: &str) -> Result<(), Fault> {
    let refuse =
        |why: &str, remedy: &str| Err(Fault::new(format!("{path:?} is refused: {why}"), remedy));
    if path.chars().any(char::is_control) {
        return refuse("it has control characters", "write a plain path");
    }
    if !path.starts_with('/') {
        return refuse("it is not absolute", "begin it with a slash");
    }
    let normal = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if path != "/" && !normal {
        return refuse(
            "it has empty, . or .. parts",
            "write the path in its shortest form, without a slash at the end",
        );
    }
    if LINKS.iter().any(|link| within(path, link)) {
        return refuse("the job's root has it as a symbolic link into /usr", "show /usr");
    }
    if WRITTEN.contains(&path) {
        return refuse("the supervisor writes this file for each job", "remove it");
    }
    if let Some((_, why, remedy)) = CLOSED.iter().find(|(closed, ..)| within(path, closed)) {
        return refuse(why, remedy);
    }
    match TOO_MUCH.iter().find(|(whole, ..)| path == *whole) {
        Some((_, why, remedy)) => refuse(why, remedy),
        None => Ok(()),
    }
}

/// Refuses a path that is shown already, by itself or with its parent.
pub(crate) fn not_yet(shown: &[Shown], path: &str) -> Result<(), Fault> {
    match shown.iter().find(|earlier| within(path, &earlier.path) || within(&earlier.path, path)) {
        None => Ok(()),
        Some(earlier) if earlier.path == path => {
            Err(Fault::new(format!("{path:?} is listed twice"), "remove one of the two"))
        }
        Some(earlier) => Err(Fault::new(
            format!("{path:?} and {:?} lie within each other", earlier.path),
            "keep the one that is needed",
        )),
    }
}

fn within(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
