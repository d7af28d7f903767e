//! Slurm on this machine alone, with ports, keys and files of its own beside whatever
//! is configured here.

use crate::peers::Peer;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// As it comes Slurm looks for a job to start every few seconds. These are the shortest
/// waits that it can be told; it still has one of a second.
const AT_ONCE: &str = "batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1";

/// Starts it, or says why it is not measured.
pub(crate) fn start(home: &Path) -> Option<Peer> {
    let (peer, up) = match daemons(home) {
        Ok(daemons) => {
            let peer = Peer::Slurm { home: home.to_owned(), daemons };
            let up = waits_for_jobs(home);
            (Some(peer), up)
        }
        Err(error) => (None, Err(error)),
    };
    if let Err(why) = up {
        let _ = io::Write::write_fmt(
            &mut io::stderr(),
            format_args!("Slurm is not measured: {why}; its words are in {}\n", home.display()),
        );
        return None;
    }
    peer
}

/// `env`, so that the program comes among the words.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new("env");
    command.env("SLURM_CONF", home.join("slurm.conf"));
    command
}

fn daemons(home: &Path) -> io::Result<Vec<Child>> {
    std::fs::create_dir_all(home.join("state"))?;
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = node.split('.').next().unwrap_or_default();
    std::fs::write(home.join("slurm.conf"), configuration(home, node))?;
    // Who may ask whom is no question here; the key is one all the same.
    let mut key = std::fs::OpenOptions::new();
    let mut key = key.write(true).create(true).mode(0o600).open(home.join("munge.key"))?;
    io::copy(&mut io::Read::take(std::fs::File::open("/dev/urandom")?, 1024), &mut key)?;
    let file = |name: &str| home.join(name).display().to_string();
    let munge = [
        "--foreground".to_owned(),
        "--force".to_owned(),
        format!("--key-file={}", file("munge.key")),
        format!("--socket={}", file("munge.sock")),
        format!("--pid-file={}", file("munge.pid")),
        format!("--log-file={}", file("munge.log")),
        format!("--seed-file={}", file("munge.seed")),
    ];
    let mut daemons = vec![spawn(home, "munged", &munge)?];
    let patience = Instant::now() + PATIENCE;
    while !home.join("munge.sock").exists() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    let configuration = ["-D".to_owned(), "-f".to_owned(), file("slurm.conf")];
    daemons.push(spawn(home, "slurmctld", &configuration)?);
    daemons.push(spawn(home, "slurmd", &configuration)?);
    Ok(daemons)
}

fn configuration(home: &Path, node: &str) -> String {
    let home = home.display();
    format!(
        "ClusterName=bench\nSlurmctldHost={node}(127.0.0.1)\nSlurmctldPort=16817\nSlurmdPort=16818\n\
         SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={home}/munge.sock\n\
         CredType=cred/munge\nStateSaveLocation={home}/state\nSlurmdSpoolDir={home}/spool\n\
         SlurmctldPidFile={home}/slurmctld.pid\nSlurmdPidFile={home}/slurmd.pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSchedulerParameters={AT_ONCE}\n\
         MaxJobCount=20000\nReturnToService=2\n\
         NodeName={node} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
         PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP\n"
    )
}

fn spawn(home: &Path, program: &str, words: &[String]) -> io::Result<Child> {
    let log = std::fs::File::create(home.join(format!("{program}.out")))?;
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new("env")
        .arg(program)
        .args(words)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn waits_for_jobs(home: &Path) -> io::Result<()> {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        let state = command(home).args(["sinfo", "--noheader", "--format=%T"]).output()?;
        if String::from_utf8_lossy(&state.stdout).trim() == "idle" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::other("no node of it waits for jobs"))
}
