//! How others' sandboxes were left, tried on this one: every row of
//! `docs/escapes.md` names a test in here. Each runs the technique in a job, sees
//! that it fails for the right reason, and that the host is as it was.

mod agent;
mod exhaustion;
mod files;
mod inside;
mod ledger;
mod mounts;
mod neighbours;
mod outside;
mod records;

use fetchml_tests::{Output, Private};
use rustix::process::Pid;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// What every attack script imports.
const SHARED: &str = include_str!("../../../attacks/attack.py");

/// Puts a script where the job finds it.
fn bring(private: &Private, name: &str, script: &str) {
    private.put("attack.py", SHARED);
    private.put(name, script);
}

/// Runs an attack as a job, with these options of `run` and arguments of the script.
#[track_caller]
fn attack(private: &Private, script: &str, options: &[&str], arguments: &[&str]) -> Output {
    bring(private, "it.py", script);
    let fixed = ["--", "/usr/bin/python3", "-W", "ignore", "it.py"];
    let words = ["run"].iter().chain(options).chain(&fixed).chain(arguments);
    let output = private.ctl(words);
    held(&output);
    output
}

/// Insists that the script came to its end and that every attempt was answered
/// as it says.
#[track_caller]
fn held(output: &Output) {
    let broken: Vec<_> = output.stdout.lines().filter(|l| l.starts_with("BROKEN")).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let attempts = output.stdout.lines().filter(|l| l.starts_with("held")).count();
    let whole = output.stdout.trim_end().ends_with("done") && output.status == 0;
    assert!(whole && attempts > 0, "{output}");
}

/// A file outside the project that no job may ever see, with its content.
fn treasure(private: &Private) -> PathBuf {
    let place = private.dir().with_file_name("treasure");
    std::fs::create_dir_all(&place).unwrap();
    let path = place.join("marker");
    std::fs::write(&path, "the host's own").unwrap();
    path
}

/// Starts a job that runs a script and goes on; it ends with the test.
fn start(private: &Private, options: &[&str], script: &str) -> Child {
    let words = ["run"].iter().chain(options).copied().chain(["--", "sh", "-c", script]);
    private.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Host processes with this user id.
fn processes_of(host_uid: u32) -> Vec<Pid> {
    let line = format!("Uid:\t{host_uid}\t");
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| status_of(*pid).contains(&line))
        .collect()
}

fn status_of(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default()
}

/// The host id of the newest job, from its description.
fn host_uid(private: &Private) -> u32 {
    let status = private.ctl(["status", "--json", "@last"]);
    let job: serde_json::Value = serde_json::from_str(status.ok()).unwrap();
    let id = job["host_uid"].as_u64().or_else(|| {
        // When the job is over the id is somebody else's; the report remembers it.
        let after = status.stdout.split("is host uid ").nth(1)?;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    id.and_then(|n| n.try_into().ok()).unwrap_or_else(|| panic!("{status}"))
}

/// The first of a job's processes on the host, the agent, and its command.
fn agent_and_command(private: &Private) -> (Pid, Pid) {
    let id = host_uid(private);
    eventually("agent and command", || {
        let all = processes_of(id);
        let is_agent = |p: &&Pid| status_of(**p).contains("Name:\tfetchml-agent");
        let agent = all.iter().find(is_agent)?;
        let command = all.iter().find(|p| !is_agent(p))?;
        Some((*agent, *command))
    })
}

/// Asks again and again, for a minute at most.
#[track_caller]
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("waited for a minute: {what}")
}

#[track_caller]
fn until_running(private: &Private) {
    eventually("a running job", || private.ctl(["list"]).says("running").then_some(()));
}

/// Runs Python on the host, as whoever runs the tests.
#[track_caller]
pub(crate) fn on_the_host(script: &str) -> Output {
    let output = std::process::Command::new("/usr/bin/python3").args(["-c", script]).output();
    Output::of("python3 on the host".into(), &output.unwrap())
}

/// Waits for a client whose job was told to end.
fn finish(mut client: Child) {
    client.wait().unwrap();
}
