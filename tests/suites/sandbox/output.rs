//! Output arrives whole, whatever its amount and its bytes.

use crate::private;
use fetchml_tests::processes_with;
use rustix::process::Pid;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::process::Stdio;

/// Writes 100 MB of lines of many lengths, the same on every run.
const LINES: &str = "\
import sys, hashlib
n, i, digest, out = 0, 0, hashlib.sha256(), sys.stdout.buffer
while n < 100_000_000:
    block = b''.join(b'%d ' % (i + j) + b'x' * ((i * 7 + j * 31) % 300) + b'\\n' for j in range(500))
    out.write(block); digest.update(block); n += len(block); i += 500
out.flush(); print(digest.hexdigest(), file=sys.stderr)";

/// Writes 32 MB of every byte value to both streams.
const BYTES: &str = "\
import os, hashlib
block, state = bytearray(), 1
for _ in range(1 << 16):
    state = (state * 1103515245 + 12345) & 0x7fffffff; block.append(state >> 16 & 255)
block = bytes(block)
for i in range(512): os.write(1, block[i:] + block[:i])";

fn resident_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_hundred_megabytes_of_lines_arrive_whole_with_flat_memory() {
    let private = private!();
    private.put("lines.py", LINES);
    private.shell("true").ok();
    let supervisor = private.supervisor().expect("it runs");
    let before = resident_kib(supervisor);
    let mut child = private
        .command(["run", "--", "/usr/bin/python3", "lines.py"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut live, mut buffer, mut agent_kib) = (Sha256::new(), vec![0; 1 << 16], 0);
    let mut stdout = child.stdout.take().unwrap();
    let mut reads = 0;
    while let n @ 1.. = stdout.read(&mut buffer).unwrap() {
        live.update(&buffer[..n]);
        reads += 1;
        if reads % 200 == 0 {
            let agents = processes_with("fetchml-agent\0init");
            agent_kib = agents.into_iter().map(resident_kib).max().unwrap_or(0).max(agent_kib);
        }
    }
    let mut digest = String::new();
    child.stderr.take().unwrap().read_to_string(&mut digest).unwrap();
    assert!(child.wait().unwrap().success());
    let hex = |h: Sha256| h.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(live), digest.trim(), "the live stream differs");
    let stored = private.command(["logs", "@last"]).output().unwrap();
    let mut again = Sha256::new();
    again.update(&stored.stdout);
    assert_eq!(hex(again), digest.trim(), "the stored log differs");
    let grown = resident_kib(supervisor).saturating_sub(before);
    assert!(grown < 8 * 1024, "the supervisor grew by {grown} KiB");
    assert!(agent_kib < 4 * 1024, "the agent has {agent_kib} KiB");
}

#[test]
fn every_byte_value_survives() {
    let private = private!();
    private.put("bytes.py", BYTES);
    let outside = std::process::Command::new("/usr/bin/python3")
        .arg(private.project().join("bytes.py"))
        .output()
        .unwrap();
    let live = private.command(["run", "--", "/usr/bin/python3", "bytes.py"]).output().unwrap();
    assert!(live.status.success());
    assert!(live.stdout == outside.stdout, "the live stream differs");
    let stored = private.command(["logs", "@last"]).output().unwrap();
    assert!(stored.stdout == outside.stdout, "the stored log differs");
}

#[test]
fn both_streams_stay_apart_and_tail_shows_the_end() {
    let private = private!();
    let output = private.shell("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done");
    assert_eq!(output.ok().lines().count(), 5);
    assert_eq!(output.stderr.lines().filter(|l| l.starts_with("err ")).count(), 5);
    let tail = private.ctl(["logs", "--tail", "2", "--stream", "stdout", "@last"]);
    assert_eq!(tail.ok(), "out 4\nout 5");
}

#[test]
fn each_attempt_keeps_its_log() {
    let private = private!();
    let tries = "echo try $FETCHML_ATTEMPT; exit 3";
    private.ctl(["submit", "--retry", "user-error=1", "--", "sh", "-c", tries]).ok();
    private.ctl(["wait", "1"]).expect(3);
    assert_eq!(private.ctl(["logs", "1"]).ok(), "try 2");
    assert_eq!(private.ctl(["logs", "1", "--attempt", "2"]).ok(), "try 2");
    assert_eq!(private.ctl(["logs", "1", "--attempt", "1"]).ok(), "try 1");
    let none = private.ctl(["logs", "1", "--attempt", "3"]);
    assert!(none.status != 0 && none.says("it has attempts 1 to 2"), "{none}");
}
