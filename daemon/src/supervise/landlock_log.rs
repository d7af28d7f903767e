//! What Landlock denied the jobs, as the kernel's audit tells it (Linux 6.15,
//! "Landlock: system-wide management" of the kernel's documentation): to whom listens,
//! where audit is on. A domain's first denial comes with the process that made the
//! domain, and that is the first process of a job.
//!
//! What these records say is the kernel's word but for paths and names, which are the
//! job's.

use fetchml_api::job::Denied;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::{AUDIT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Group of the kernel's records (`AUDIT_NLGRP_READLOG`), as a mask.
const READ_LOG: u32 = 1;
/// Types of records, of `linux/audit.h`.
const LANDLOCK_ACCESS: u16 = 1423;
const LANDLOCK_DOMAIN: u16 = 1424;
/// A header of netlink(7): length, type, flags, sequence number, sender.
const HEADER_BYTES: usize = 16;
/// Inode of the first namespace of process ids (`PROC_PID_INIT_INO`). In another one
/// numbers mean other processes than the kernel's records do.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// Domains of all programs of the machine that have been denied something and live.
const MAX_DOMAINS: usize = 1024;
/// Kinds of denials that are told apart of one job.
const MAX_KINDS: usize = 32;
const MAX_OBJECT_CHARS: usize = 200;
/// What is read in a second. A job that is denied without end costs no more than this;
/// what comes beyond is lost, and told as that.
const MAX_MESSAGES: u32 = 5000;
const WINDOW: Duration = Duration::from_secs(1);

/// What was denied, by job. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LandlockLog(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    domains: HashMap<u64, Domain>,
    /// First processes of jobs, whose domains are kept until somebody asked.
    jobs: HashSet<i32>,
}

#[derive(Debug, Default)]
struct Domain {
    /// The process that made it.
    pid: Option<i32>,
    /// When that was heard.
    made: Option<Instant>,
    kinds: Vec<(String, u64)>,
    /// Denials of further kinds.
    others: u64,
    /// Records were lost since its first: some may have been of it.
    lost: bool,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Denied { domain: u64, what: String },
    Made { domain: u64, pid: i32 },
    Gone { domain: u64 },
}

impl LandlockLog {
    /// Listens, where the kernel lets us; else, and where its audit is off, nothing is
    /// ever told.
    pub(crate) fn start() -> Self {
        let log = Self::default();
        let heard = log.clone();
        if let Some(socket) = listen() {
            // Without the thread it is as without the socket.
            let _ = std::thread::Builder::new()
                .name("landlock-log".into())
                .spawn(move || heard.hear(&socket));
        }
        log
    }

    /// Keeps what the job whose first process is `pid`, and younger than `since`, is denied,
    /// until [`Self::take`].
    pub(crate) fn follow(&self, pid: i32, since: Instant) {
        self.heard().follow(pid, since);
    }

    /// What it has been denied so far.
    pub(crate) fn of(&self, pid: i32) -> Vec<Denied> {
        self.heard().of(pid)
    }

    /// The same, and forgets it.
    pub(crate) fn take(&self, pid: i32) -> Vec<Denied> {
        let mut heard = self.heard();
        let denied = heard.of(pid);
        heard.jobs.remove(&pid);
        heard.domains.retain(|_, domain| domain.pid != Some(pid));
        denied
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, socket: &OwnedFd) {
        let mut buffer = vec![0; 64 << 10];
        let (mut since, mut count) = (Instant::now(), 0);
        loop {
            count += 1;
            if count > MAX_MESSAGES {
                std::thread::sleep(WINDOW.saturating_sub(since.elapsed()));
            }
            if since.elapsed() >= WINDOW {
                (since, count) = (Instant::now(), 0);
            }
            let (len, _) = match recv(socket, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    self.heard().lose();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "denials of Landlock are not told any more");
                    return;
                }
            };
            if let Some(told) = buffer.get(..len).and_then(read) {
                self.heard().note(told);
            }
        }
    }
}

impl Heard {
    /// What a process made that had the number before, and whose children may live in it,
    /// is not the job's.
    fn follow(&mut self, pid: i32, since: Instant) {
        let is_older = |domain: &Domain| domain.made.is_some_and(|made| made < since);
        self.domains.retain(|_, domain| domain.pid != Some(pid) || !is_older(domain));
        self.jobs.insert(pid);
    }

    fn of(&self, pid: i32) -> Vec<Denied> {
        let domain = self.domains.values().find(|domain| domain.pid == Some(pid));
        domain.map(Domain::in_words).unwrap_or_default()
    }

    /// Records came too fast. The ends of domains may be among what is lost.
    fn lose(&mut self) {
        let Self { domains, jobs } = self;
        domains.retain(|_, domain| domain.pid.is_some_and(|pid| jobs.contains(&pid)));
        domains.values_mut().for_each(|domain| domain.lost = true);
    }

    fn note(&mut self, told: Told) {
        let (Told::Denied { domain, .. } | Told::Made { domain, .. } | Told::Gone { domain }) =
            &told;
        if self.domains.len() >= MAX_DOMAINS && !self.domains.contains_key(domain) {
            self.lose();
        }
        match told {
            Told::Denied { domain, what } => self.domains.entry(domain).or_default().count(what),
            Told::Made { domain, pid } => {
                // Of one that had the number before.
                self.domains.retain(|id, other| *id == domain || other.pid != Some(pid));
                let made = self.domains.entry(domain).or_default();
                (made.pid, made.made) = (Some(pid), Some(Instant::now()));
            }
            Told::Gone { domain } => {
                let jobs = &self.jobs;
                let is_kept = |of: &Domain| of.pid.is_some_and(|pid| jobs.contains(&pid));
                self.domains.retain(|id, other| *id != domain || is_kept(other));
            }
        }
    }
}

impl Domain {
    fn count(&mut self, what: String) {
        let has_room = self.kinds.len() < MAX_KINDS;
        match self.kinds.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None if has_room => self.kinds.push((what, 1)),
            None => self.others += 1,
        }
    }

    fn in_words(&self) -> Vec<Denied> {
        let others = (self.others > 0).then(|| (Denied::OTHERS.to_owned(), self.others));
        let lost = self.lost.then(|| (Denied::UNCOUNTED.to_owned(), 0));
        let all = self.kinds.iter().cloned().chain(others).chain(lost);
        all.map(|(call, count)| Denied { call, count, allowed_by: Vec::new() }).collect()
    }
}

/// A socket that hears the kernel's records. Needs CAP_AUDIT_READ.
fn listen() -> Option<OwnedFd> {
    let namespace = std::fs::metadata("/proc/self/ns/pid").ok()?;
    if namespace.ino() != FIRST_PID_NAMESPACE {
        return None;
    }
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(AUDIT));
    let socket = socket.ok()?;
    bind(&socket, &SocketAddrNetlink::new(0, READ_LOG)).ok()?;
    Some(socket)
}

/// Reads a message; `None` for a record of something else.
fn read(message: &[u8]) -> Option<Told> {
    let (header, text) = message.split_at_checked(HEADER_BYTES)?;
    let kind = u16::from_ne_bytes([*header.get(4)?, *header.get(5)?]);
    if !matches!(kind, LANDLOCK_ACCESS | LANDLOCK_DOMAIN) {
        return None;
    }
    // `audit(TIME:SERIAL): ` and the fields.
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0');
    let fields = Fields(text.split_once("): ")?.1);
    let domain = u64::from_str_radix(fields.get("domain")?, 16).ok()?;
    match (kind, fields.get("status")) {
        (LANDLOCK_ACCESS, _) => Some(Told::Denied { domain, what: what(&fields)? }),
        (_, Some("allocated")) => {
            Some(Told::Made { domain, pid: fields.get("pid")?.parse().ok()? })
        }
        (_, Some("deallocated")) => Some(Told::Gone { domain }),
        _ => None,
    }
}

/// `net.connect_tcp 10.0.0.1:443`, `fs.write_file /etc/x`. Of another process that was
/// to get a signal or be traced, nothing: it is none of the job's.
fn what(fields: &Fields<'_>) -> Option<String> {
    let right = fields.get("blockers")?;
    let with_port = |address: Option<&str>, port: Option<&str>| match (address, port) {
        (Some(address), Some(port)) if address.contains(':') => Some(format!("[{address}]:{port}")),
        (address, Some(port)) => Some(format!("{}:{port}", address.unwrap_or_default())),
        _ => None,
    };
    let get = |name| fields.get(name);
    let object = fields
        .untrusted("path")
        .or_else(|| with_port(get("daddr"), get("dest")))
        .or_else(|| with_port(get("saddr"), get("src")));
    Some(object.map_or_else(|| right.to_owned(), |object| format!("{right} {object}")))
}

/// `NAME=VALUE …`
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let value = |field: &'a str| field.strip_prefix(name)?.strip_prefix('=');
        // A value that somebody else chose has no space: it would be in hexadecimal digits.
        self.0.split(' ').find_map(value)
    }

    /// A text that somebody else chose: in quotation marks, or in hexadecimal digits
    /// where it could be mistaken for something else.
    fn untrusted(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        let text = match value.strip_prefix('"') {
            Some(quoted) => quoted.trim_end_matches('"').to_owned(),
            None => String::from_utf8_lossy(&bytes(value)?).into_owned(),
        };
        let plain = |c: char| if c.is_control() { '?' } else { c };
        Some(text.chars().take(MAX_OBJECT_CHARS).map(plain).collect())
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: u16, text: &str) -> Option<Told> {
        let mut message = vec![0; HEADER_BYTES];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(format!("audit(1795696408.200:781): {text}").as_bytes());
        read(&message)
    }

    fn denied(text: &str) -> String {
        let text = format!("domain=1175415d9 blockers={text}");
        match told(LANDLOCK_ACCESS, &text) {
            Some(Told::Denied { domain: 0x1_1754_15d9, what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records_are_read_as_the_kernel_writes_them() {
        for (text, what) in [
            ("net.connect_tcp daddr=127.0.0.1 dest=22", "net.connect_tcp 127.0.0.1:22"),
            ("net.bind_tcp saddr=2001:db8::1 src=80", "net.bind_tcp [2001:db8::1]:80"),
            ("net.bind_tcp src=80", "net.bind_tcp :80"),
            ("fs.write_file path=\"/etc/x\" dev=\"vda\" ino=2", "fs.write_file /etc/x"),
            ("fs.make_reg path=2F612062 dev=\"vda\"", "fs.make_reg /a b"),
            ("fs.make_reg path=2F0A62", "fs.make_reg /?b"),
            ("scope.signal opid=77 ocomm=\"patient\"", "scope.signal"),
        ] {
            assert_eq!(denied(text), what);
        }
        let made = "domain=1f status=allocated mode=enforcing pid=2489 uid=0 exe=\"/x\" comm=\"y\"";
        assert_eq!(told(LANDLOCK_DOMAIN, made), Some(Told::Made { domain: 31, pid: 2489 }));
        let gone = "domain=1f status=deallocated denials=3";
        assert_eq!(told(LANDLOCK_DOMAIN, gone), Some(Told::Gone { domain: 31 }));
        for (kind, text) in [(1300, gone), (LANDLOCK_ACCESS, "domain=zz"), (LANDLOCK_DOMAIN, "")] {
            assert_eq!(told(kind, text), None);
        }
        assert_eq!(read(&[0; 7]), None);
    }

    #[test]
    fn a_job_is_told_of_its_own_denials_even_when_its_domain_is_gone() {
        let mut heard = Heard { jobs: HashSet::from([7]), ..Heard::default() };
        let denied = |domain, what: &str| Told::Denied { domain, what: what.to_owned() };
        heard.note(denied(1, "net.connect_tcp :1"));
        heard.note(Told::Made { domain: 1, pid: 7 });
        heard.note(denied(1, "net.connect_tcp :1"));
        heard.note(denied(2, "fs.refer /x"));
        heard.note(Told::Made { domain: 2, pid: 8 });
        heard.note(Told::Gone { domain: 1 });
        heard.note(Told::Gone { domain: 2 });
        let words: Vec<_> = heard.of(7).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["net.connect_tcp :1 ×2"]);
        assert_eq!(heard.of(8), [], "nobody follows that one");
        for n in 0..40 {
            heard.note(denied(1, &format!("fs.read_file /{n}")));
        }
        let last = heard.of(7).pop().map(|one| one.to_string());
        assert_eq!(last.as_deref(), Some("others ×9"));
        heard.note(Told::Made { domain: 3, pid: 7 });
        assert_eq!(heard.of(7), [], "a new process with an old number");
    }

    #[test]
    fn what_another_process_of_its_number_made_is_not_the_jobs() {
        let mut heard = Heard::default();
        let denied = |domain| Told::Denied { domain, what: "fs.refer /x".to_owned() };
        heard.note(denied(1));
        heard.note(Told::Made { domain: 1, pid: 7 });
        let since = Instant::now();
        heard.follow(7, since);
        heard.note(denied(1));
        assert_eq!(heard.of(7), []);
        // Its own may be denied something before somebody follows it.
        heard.note(denied(2));
        heard.note(Told::Made { domain: 2, pid: 7 });
        heard.follow(7, since);
        assert_eq!(heard.of(7).len(), 1);
    }
}
