//! A private supervisor of a test's own, commanded as a person would: through
//! `fetchmlctl`, on the machine's own kernel.

use crate::{Output, Unavailable, target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A supervisor with its own directory, and a project directory for its jobs.
#[derive(Debug)]
pub struct Private {
    home: TempDir,
    ctl: PathBuf,
    agent: PathBuf,
}

impl Private {
    /// Needs root and the release binaries that `make build` leaves.
    ///
    /// # Errors
    /// When either is missing.
    pub fn new() -> Result<Self, Unavailable> {
        if !rustix::process::geteuid().is_root() {
            return Err(Unavailable("the sandbox needs root".into()));
        }
        let (ctl, agent) = (target().join("release/fetchmlctl"), crate::agent());
        for binary in [&ctl, &agent] {
            if !binary.exists() {
                return Err(Unavailable(format!(
                    "{} is missing: run make build",
                    binary.display()
                )));
            }
        }
        let home = TempDir::with_prefix("fetchml-test-")
            .map_err(|e| Unavailable::because("make a directory", &e))?;
        fs::create_dir(home.path().join("project"))
            .map_err(|e| Unavailable::because("make a directory", &e))?;
        Ok(Self { home, ctl, agent })
    }

    /// Directory of the supervisor.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("supervisor")
    }

    /// Directory that jobs see as /work.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    /// The agent that jobs get.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// The supervisor's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("run/bus.sock")
    }

    /// A `fetchmlctl` for this supervisor, in the project directory.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.ctl);
        command
            .arg(format!("--private={}", self.dir().display()))
            .args(arguments)
            .env("FETCHML_AGENT", &self.agent)
            .current_dir(self.project())
            .stdin(Stdio::null());
        command
    }

    /// Runs `fetchmlctl` to its end.
    ///
    /// # Panics
    /// When it cannot be executed.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.command(arguments);
        let output = command.output().expect("fetchmlctl can be executed");
        Output::of(format!("{command:?}"), &output)
    }

    /// Runs a shell script as a job.
    pub fn shell(&self, script: &str) -> Output {
        self.ctl(["run", "--", "sh", "-c", script])
    }

    /// Runs a Python script as a job.
    pub fn python(&self, script: &str) -> Output {
        self.ctl(["run", "--network", "loopback", "--", "/usr/bin/python3", "-c", script])
    }

    /// Process id of the supervisor, if one runs.
    #[must_use]
    pub fn supervisor(&self) -> Option<Pid> {
        self.supervisors().into_iter().next()
    }

    /// Supervisors that serve it, and those that are about to give way to one.
    ///
    /// Until it executes the agent, the child of a launch has the supervisor's memory, and
    /// with it the supervisor's command line: who kills what looks like a supervisor kills
    /// a job. It is in a PID namespace below this one, also when its supervisor is gone. The
    /// sleeper that holds a user namespace is not, and ends with its parent.
    pub(crate) fn supervisors(&self) -> Vec<Pid> {
        let found = processes_with(&format!("--private\0{}\0", self.dir().display()));
        let is_child = |pid: &Pid| {
            let parent = status(*pid, "PPid:").and_then(|parent| parent.trim().parse().ok());
            parent.and_then(Pid::from_raw).is_some_and(|parent| found.contains(&parent))
        };
        let stands_alone = |pid: &Pid| !is_in_lower_pid_namespace(*pid) && !is_child(pid);
        found.iter().copied().filter(stands_alone).collect()
    }

    /// Kills the supervisor as a crash would, and waits until it is gone.
    ///
    /// # Panics
    /// When none runs.
    pub fn crash(&self) {
        assert!(self.crash_if_there(), "no supervisor runs");
    }

    /// The same where one may go away by itself; false when none was there any more.
    #[must_use]
    pub fn crash_if_there(&self) -> bool {
        let Some(pid) = self.supervisor() else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        if pidfd_send_signal(&handle, Signal::KILL).is_err() {
            return false;
        }
        // Its name is gone before its socket is; this is readable after both.
        let mut ended = [PollFd::new(&handle, PollFlags::IN)];
        poll(&mut ended, None).expect("its end can be waited for");
        true
    }

    /// The lines of the audit log.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn audit_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.audit_segment()).expect("the audit log is there");
        text.lines().map(str::to_owned).collect()
    }

    /// The first segment of the audit log.
    #[must_use]
    pub fn audit_segment(&self) -> PathBuf {
        self.dir().join("log/audit/000000000001.log")
    }

    /// Puts a file into the project.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.project().join(name);
        fs::write(&path, content).expect("the project can be written");
        path
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.supervisor().is_some() {
            // Its jobs would outlive it, as they should.
            let jobs = self.ctl(["list", "-o", "name"]);
            for job in jobs.stdout.split_whitespace() {
                self.ctl(["cancel", job]);
            }
        }
        // Clients that were cut off may have begun others, which find this one and end. All
        // are gone before the directory is.
        for pid in self.supervisors() {
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
                let _ = kill_process(pid, Signal::TERM);
                let mut ended = [PollFd::new(&handle, PollFlags::IN)];
                let _ = poll(&mut ended, Some(&Timespec { tv_sec: 20, tv_nsec: 0 }));
            }
        }
    }
}

/// Whether a process has more than one number (`NSpid` of proc_pid_status(5)).
#[must_use]
pub fn is_in_lower_pid_namespace(pid: Pid) -> bool {
    status(pid, "NSpid:").is_some_and(|numbers| numbers.split_whitespace().count() > 1)
}

/// A line of a process's status, without its name.
fn status(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

/// Processes whose command line contains a text.
#[must_use]
pub fn processes_with(text: &str) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| {
            let path = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("cmdline");
            fs::read(path).is_ok_and(|c| String::from_utf8_lossy(&c).contains(text))
        })
        .collect()
}
