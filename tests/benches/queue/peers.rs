//! Other queues, as their users command them.

use crate::slurm;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A queue beside which ours is measured.
#[derive(Debug)]
pub(crate) enum Peer {
    /// task-spooler: nothing durable, no sandbox, no users.
    TaskSpooler { socket: PathBuf },
    /// pueue: durable, no sandbox, no users.
    Pueue { home: PathBuf, daemon: Child },
    /// Slurm: durable, no sandbox, users; with the shortest waits that it can be told.
    Slurm { home: PathBuf, daemons: Vec<Child> },
}

const TASK_SPOOLER: &str = "tsp";
const PUEUE: &str = "pueue";
const SLURM: &str = "slurmctld";

/// Peers that are not installed.
pub(crate) fn missing() -> Vec<&'static str> {
    [
        (TASK_SPOOLER, "task-spooler (apt-get install task-spooler)"),
        (PUEUE, "pueue (cargo install pueue --locked --version 4.0.4)"),
        (SLURM, "Slurm (apt-get install slurmctld slurmd slurm-client munge)"),
    ]
    .into_iter()
    .filter(|(program, _)| !is_there(program))
    .map(|(_, name)| name)
    .collect()
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|dir| dir.join(program).is_file())
}

impl Peer {
    /// Those that are installed, each with two places and a directory of its own.
    pub(crate) fn all(home: &Path) -> Vec<Self> {
        let mut peers = Vec::new();
        if is_there(TASK_SPOOLER) {
            let peer = Self::TaskSpooler { socket: home.join("tsp.sock") };
            peer.command(&["-S", "2"]);
            peers.push(peer);
        }
        if is_there(PUEUE) {
            peers.extend(start_pueue(&home.join("pueue")));
        }
        if is_there(SLURM) {
            peers.extend(slurm::start(&home.join("slurm")));
        }
        peers
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::TaskSpooler { .. } => "task-spooler",
            Self::Pueue { .. } => "pueue",
            Self::Slurm { .. } => "Slurm, shortest waits",
        }
    }

    fn command(&self, words: &[&str]) -> String {
        let mut command = match self {
            Self::TaskSpooler { socket } => {
                let mut command = Command::new(TASK_SPOOLER);
                command.env("TS_SOCKET", socket).env("TS_MAXFINISHED", "5000");
                command
            }
            Self::Pueue { home, .. } => {
                let mut command = Command::new(PUEUE);
                command.arg("--config").arg(home.join("pueue.yml"));
                command
            }
            Self::Slurm { home, .. } => slurm::command(home),
        };
        let output = command.args(words).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
    }

    /// Queues one `/bin/true`.
    pub(crate) fn submit(&self) -> String {
        match self {
            Self::TaskSpooler { .. } => self.command(&["-n", "/bin/true"]),
            Self::Pueue { .. } => self.command(&["add", "--", "/bin/true"]),
            Self::Slurm { .. } => {
                self.command(&["sbatch", "-n1", "-o/dev/null", "--wrap=/bin/true"])
            }
        }
    }

    /// Waits until nothing waits or runs.
    pub(crate) fn drain(&self) {
        match self {
            // For the newest.
            Self::TaskSpooler { .. } => self.command(&["-w"]),
            Self::Pueue { .. } => self.command(&["wait", "--all", "--quiet"]),
            // It has nothing to wait with for what was submitted before.
            Self::Slurm { .. } => String::new(),
        };
        let patience = Instant::now() + Duration::from_secs(900);
        while self.unfinished() > 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn unfinished(&self) -> usize {
        match self {
            Self::TaskSpooler { .. } => {
                let list = self.command(&["-l"]);
                list.lines().filter(|l| l.contains("queued") || l.contains("running")).count()
            }
            Self::Pueue { .. } => {
                let list = self.command(&["status", "--json"]);
                // With the colon: a group that is not paused says that it is "Running" too.
                let unfinished = ["\"Queued\":", "\"Running\":"];
                unfinished.iter().map(|state| list.matches(state).count()).sum()
            }
            Self::Slurm { .. } => self.command(&["squeue", "--noheader"]).lines().count(),
        }
    }
}

fn start_pueue(home: &Path) -> Option<Peer> {
    std::fs::create_dir_all(home).ok()?;
    let config = format!(
        "shared:\n  pueue_directory: {0}\n  use_unix_socket: true\n  unix_socket_path: {0}/sock\n\
         client: {{}}\ndaemon:\n  default_parallel_tasks: 2\n",
        home.display()
    );
    std::fs::write(home.join("pueue.yml"), config).ok()?;
    let daemon = Command::new("pueued")
        .arg("--config")
        .arg(home.join("pueue.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let peer = Peer::Pueue { home: home.to_owned(), daemon };
    let patience = Instant::now() + Duration::from_secs(10);
    while !home.join("sock").exists() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    peer.command(&["parallel", "2"]);
    Some(peer)
}

impl Drop for Peer {
    fn drop(&mut self) {
        match self {
            Self::TaskSpooler { .. } => {
                self.command(&["-K"]);
            }
            Self::Pueue { daemon, .. } => {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
            Self::Slurm { daemons, .. } => {
                for daemon in daemons.iter_mut().rev() {
                    let _ = daemon.kill();
                    let _ = daemon.wait();
                }
            }
        }
    }
}
