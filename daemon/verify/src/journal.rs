//! Reads the copies of records in this machine's journal, by `journalctl`: its files
//! have a format of their own. It is started by its full name and inherits nothing.

use super::Unreadable;
use fetchml_api::audit::Head;
use fetchml_api::audit::mirror::{Entry, FIELDS, Mirror, matches};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const JOURNALCTL: &str = "/usr/bin/journalctl";
/// How long journald is asked to write down what it has taken in.
const SYNC_LIMIT: Duration = Duration::from_secs(5);
const MAX_WORDS: u64 = 500;
/// What journald itself says of who wrote an entry (systemd.journal-fields(7)).
const BY_ROOT: &str = "_UID=0";

/// How far back the journal is read, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Not beyond the copy of this record of the log.
    pub down_to: u64,
    /// So many entries.
    pub entries: usize,
    /// So long.
    pub limit: Duration,
    /// The log is being written, and its last copies may be on their way. Else it is
    /// about to be opened, and what no root wrote is not looked at.
    pub live: bool,
}

impl Reach {
    /// All of it.
    pub const ALL: Self =
        Self { down_to: 0, entries: usize::MAX, limit: Duration::from_secs(3600), live: true };
}

/// Reads copies, the newest first. `None` when there is no journal on this machine, or
/// none that we may read.
///
/// # Errors
/// [`Unreadable`]: `journalctl` is missing, fails, or does not come to an end.
pub fn read_journal(reach: Reach) -> Result<Option<Mirror>, Unreadable> {
    synchronize();
    let now_usec = if reach.live { now_usec() } else { u64::MAX };
    let Some(begin_usec) = oldest_entry(reach.limit)? else { return Ok(None) };
    let mut mirror = Mirror::new(begin_usec, now_usec);
    let mut words = vec!["--reverse".to_owned(), format!("--output-fields={}", FIELDS.join(","))];
    for word in matches() {
        // At a start time is short, and an ordinary user can write as much as they like.
        if !reach.live && word == "+" {
            words.push(BY_ROOT.to_owned());
        }
        words.push(word);
    }
    if !reach.live {
        words.push(BY_ROOT.to_owned());
    }
    let mut export = Export::start(&words, reach.limit)?;
    let mut entries = 0;
    while let Some(entry) = export.next()? {
        entries += 1;
        let copied = mirror.take(&entry);
        let far_enough = copied.is_some_and(|Head { seq, .. }| seq <= reach.down_to);
        if far_enough || entries >= reach.entries || mirror.is_full() {
            mirror.stop_at(entry.time_usec());
            export.stop();
            return Ok(Some(mirror));
        }
    }
    export.end()?;
    Ok(Some(mirror))
}

/// When the first entry was made that the journal of the system keeps. Entries of
/// users are in files of their own, and may be kept longer.
fn oldest_entry(limit: Duration) -> Result<Option<u64>, Unreadable> {
    let words = ["--system".to_owned(), "--output-fields=_BOOT_ID".to_owned()];
    let mut export = Export::start(&words, limit)?;
    match export.next()? {
        Some(first) => {
            export.stop();
            Ok(Some(first.time_usec()))
        }
        // It fails when it may read none of what there is.
        None => export.end().map(|()| None),
    }
}

/// What journald has received is in its files afterwards. Only root may ask, and a
/// journald that is stopped does not answer: then its files are read as they are.
fn synchronize() {
    let started = command().arg("--sync").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = started else { return };
    let end = Instant::now() + SYNC_LIMIT;
    while Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    drop(child.wait());
}

fn command() -> Command {
    let mut command = Command::new(JOURNALCTL);
    command.env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).current_dir("/");
    command
}

fn now_usec() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A `journalctl` at work. Ends with this value.
struct Export {
    child: Child,
    stream: BufReader<Patient>,
    complaint: File,
}

impl Export {
    fn start(words: &[String], limit: Duration) -> Result<Self, Unreadable> {
        let failed = |error: io::Error| Unreadable(format!("cannot run {JOURNALCTL}: {error}"));
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let complaint = File::from(
            rustix::fs::memfd_create("journalctl", flags).map_err(|e| failed(e.into()))?,
        );
        let mut child = command()
            .args(["--quiet", "--no-pager", "--output=export"])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(complaint.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let end = Instant::now() + limit;
        Ok(Self { child, stream: BufReader::new(Patient { stdout, end }), complaint })
    }

    fn next(&mut self) -> Result<Option<Entry>, Unreadable> {
        Entry::read(&mut self.stream)
            .map_err(|error| Unreadable(format!("cannot read the journal: {error}")))
    }

    /// It has said all.
    fn end(mut self) -> Result<(), Unreadable> {
        let status = self.child.wait();
        if status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Ok(());
        }
        let mut said = Vec::new();
        let read = self.complaint.seek(SeekFrom::Start(0));
        drop(read.and_then(|_| (&self.complaint).take(MAX_WORDS).read_to_end(&mut said)));
        let said = String::from_utf8_lossy(&said);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(Unreadable(format!("cannot read the journal: {JOURNALCTL}: {status}: {}", said.trim())))
    }

    /// The rest is not wanted.
    fn stop(mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A pipe that is waited for until then.
struct Patient {
    stdout: ChildStdout,
    end: Instant,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            let limit = left.try_into().map_err(|_| io::ErrorKind::TimedOut)?;
            let mut wanted = [PollFd::new(&self.stdout, PollFlags::IN)];
            match poll(&mut wanted, Some(&limit)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.stdout.read(buffer),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
