//! A private supervisor: where it lives and how it is started on demand.

use crate::connect::private_connection;
use crate::error::{Failure, Result};
use crate::view::text;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A supervisor that does not listen by then is reported as failed.
const START_LIMIT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "fetchmld";
const LOG: &str = "fetchmld.log";
/// Most of the supervisor's last words that are shown.
const LAST_WORDS_BYTES: u64 = 4096;

/// The directory meant by `--private` alone.
pub(crate) fn default_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state =
        absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".local/state")));
    state.map(|s| s.join("fetchml"))
}

/// The absolute form of what was given, so that it means the same to a
/// supervisor that runs in another directory.
pub(crate) fn directory(given: Option<PathBuf>) -> Result<PathBuf> {
    match given {
        Some(dir) => {
            std::path::absolute(&dir).map_err(|e| Failure::io("cannot use", dir.display(), &e))
        }
        None => default_dir().ok_or_else(|| {
            Failure::usage("no directory for a private supervisor: HOME is not set")
                .hint("name one with --private=DIR")
        }),
    }
}

/// What to tell somebody who wrote a directory as a word of its own.
pub(crate) fn joined(dir: &str) -> String {
    let flag = text::command(&[format!("--private={dir}")]);
    format!("a directory is joined to its option: {flag}")
}

/// Starts a supervisor and connects to it. When two clients do this at once,
/// one supervisor gives way to the other, so the end of ours is no failure as
/// long as somebody answers.
pub(crate) async fn start(dir: &Path) -> Result<zbus::Connection> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::no("a private supervisor needs root")
            .hint("run it with sudo, or use the system service by leaving --private out"));
    }
    let program = find_program().ok_or_else(|| {
        Failure::no(format!("cannot find {PROGRAM} beside this program, in /usr/sbin or in PATH"))
            .hint("install the package fetchml, or build the whole workspace")
    })?;
    let (mut log, begin) = open_log(dir)?;
    let mut child = spawn(&program, dir, &log)?;
    let give_up = Instant::now() + START_LIMIT;
    let mut ended = None;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(connection) = private_connection(dir).await? {
            return Ok(connection);
        }
        if ended.is_some() || Instant::now() >= give_up {
            break;
        }
        ended = child.try_wait().ok().flatten();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    let how = ended.map_or_else(
        || format!("it did not listen within {} seconds", START_LIMIT.as_secs()),
        |status| format!("it ended with {status}"),
    );
    let what = format!("cannot start a private supervisor in {}: {how}", dir.display());
    let place = dir.join("run").join(LOG);
    Err(match last_words(&mut log, begin) {
        Some(words) => Failure::no(format!("{what}; it said: {words}"))
            .hint(format!("its log is {}", place.display())),
        None => Failure::no(what).hint(format!("its log is {}", place.display())),
    })
}

/// Beside this program, in the package's place, then wherever PATH says.
pub(crate) fn find_program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let here = own.as_deref().and_then(Path::parent);
    let near = [here.map(|d| d.join(PROGRAM)), here.map(|d| d.join("../sbin").join(PROGRAM))];
    let path = std::env::var_os("PATH").unwrap_or_default();
    near.into_iter()
        .flatten()
        .chain([Path::new("/usr/sbin").join(PROGRAM)])
        .chain(std::env::split_paths(&path).filter(|d| d.is_absolute()).map(|d| d.join(PROGRAM)))
        .find(|p| rustix::fs::access(p, rustix::fs::Access::EXEC_OK).is_ok() && p.is_file())
}

/// Creates the run-time directory and opens the log in it for appending.
/// Returns where this supervisor's words will begin.
fn open_log(dir: &Path) -> Result<(File, u64)> {
    let run = dir.join("run");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&run)
        .map_err(|e| Failure::io("cannot create", run.display(), &e))?;
    let path = run.join(LOG);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |e: &std::io::Error| Failure::io("cannot open", path.display(), e);
    let mut log: File = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
        .map_err(|e| failed(&e.into()))?
        .into();
    let begin = log.seek(SeekFrom::End(0)).map_err(|e| failed(&e))?;
    Ok((log, begin))
}

/// Executes the supervisor as the leader of its own session, so that Ctrl-C on
/// the client's terminal does not reach it. The session is made by this same
/// program between the fork and the exec.
fn spawn(program: &Path, dir: &Path, log: &File) -> Result<Child> {
    let failed = |e: std::io::Error| Failure::io("cannot start", program.display(), &e);
    let stderr = log.try_clone().map_err(failed)?;
    Command::new("/proc/self/exe")
        .arg("detached-supervisor")
        .arg(program)
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(failed)
}

/// The other half of [`spawn`]: returns only when it failed.
pub(crate) fn become_supervisor(program: &Path, dir: &Path) -> Failure {
    use std::os::unix::process::CommandExt as _;
    if let Err(errno) = rustix::process::setsid() {
        return Failure::io("cannot begin a session for", program.display(), &errno.into());
    }
    let error = Command::new(program).arg("--private").arg(dir).exec();
    Failure::io("cannot execute", program.display(), &error)
}

/// What the supervisor wrote since it was started, on one line: what went wrong, where
/// it says so, without the steps before.
fn last_words(log: &mut File, begin: u64) -> Option<String> {
    let end = log.seek(SeekFrom::End(0)).ok()?;
    let from = begin.max(end.saturating_sub(LAST_WORDS_BYTES));
    log.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    log.take(LAST_WORDS_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<_> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let is_step = |line: &str| line.split_whitespace().nth(1) == Some("INFO");
    if !lines.iter().all(|line| is_step(line)) {
        lines.retain(|line| !is_step(line));
    }
    let tail = &lines[lines.len().saturating_sub(5)..];
    (!tail.is_empty()).then(|| tail.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_this_start_are_shown() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (first, begin) = open_log(dir.path()).expect("the log opens");
        assert_eq!(begin, 0);
        std::io::Write::write_all(&mut &first, b"old trouble\n").expect("a write");
        let (mut log, begin) = open_log(dir.path()).expect("the log opens again");
        assert_eq!(last_words(&mut log, begin), None);
        std::io::Write::write_all(&mut &log, b"a\n\n  b: no\n").expect("a write");
        assert_eq!(last_words(&mut log, begin).as_deref(), Some("a; b: no"));
        let (mut log, begin) = open_log(dir.path()).expect("the log opens again");
        std::io::Write::write_all(&mut &log, b"2026Z  INFO the log is open\n").expect("a write");
        assert_eq!(last_words(&mut log, begin).as_deref(), Some("2026Z  INFO the log is open"));
        std::io::Write::write_all(&mut &log, b"2026Z ERROR no socket\n").expect("a write");
        assert_eq!(last_words(&mut log, begin).as_deref(), Some("2026Z ERROR no socket"));
    }

    #[test]
    fn a_relative_directory_is_made_absolute() {
        let dir = directory(Some("x/y".into())).expect("a current directory");
        assert!(dir.is_absolute() && dir.ends_with("x/y"));
    }
}
