//! A job against the agent that keeps its record.

use super::{agent_and_command, attack, finish, host_uid, processes_of, start, until_running};
use crate::private;
use std::fs;

#[test]
fn the_agent_withstands_its_job() {
    let private = private!();
    attack(&private, include_str!("../../../attacks/agent.py"), &[], &[]);
    let status = private.ctl(["status", "@last"]);
    assert!(status.says("succeeded"), "{status}");
}

#[test]
fn a_fork_bomb_ends_with_its_job() {
    let private = private!();
    let bomb = "\
import os, signal
for n in signal.valid_signals() - {9, 19}: signal.signal(n, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass";
    private.put("bomb.py", bomb);
    let output = private.ctl([
        "run",
        "--pids",
        "200",
        "--time-limit",
        "2s",
        "--",
        "/usr/bin/python3",
        "bomb.py",
    ]);
    output.expect(124);
    assert_eq!(processes_of(host_uid(&private)), [], "something survived");
}

#[test]
fn nothing_that_a_job_leaves_running_survives_it() {
    let private = private!();
    let script = "trap '' TERM HUP INT; for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; \
                  (sleep 1000 &) ; sleep 1000' >/dev/null 2>&1 &); done; sleep 0.2; echo over";
    assert_eq!(private.shell(script).ok(), "over");
    assert_eq!(processes_of(host_uid(&private)), []);
}

#[test]
fn a_job_that_stops_or_blinds_itself_still_ends() {
    let private = private!();
    for script in [
        "kill -STOP -1; kill -STOP $$",
        "exec 1>&- 2>&- 0<&-; while :; do sleep 1; done",
        "(while :; do kill -CONT 1 -1; kill -TERM 1; done) 2>/dev/null",
    ] {
        let output = private.ctl(["run", "--time-limit", "1s", "--", "sh", "-c", script]);
        output.expect(124);
        assert_eq!(processes_of(host_uid(&private)), [], "{script}");
    }
}

#[test]
fn the_environment_of_a_job_reaches_no_helper() {
    let private = private!();
    private.put("evil.so", "not even a library");
    let hostile = [
        "LD_PRELOAD=/work/evil.so",
        "LD_LIBRARY_PATH=/work",
        "LD_DEBUG=all",
        "LD_DEBUG_OUTPUT=/outputs/debug",
        "GLIBC_TUNABLES=glibc.malloc.check=3",
        "GCONV_PATH=/work",
        "RUST_LOG=trace",
        "RUST_BACKTRACE=full",
        "BASH_ENV=/work/evil.so",
        "PYTHONPATH=/work",
    ];
    let options: Vec<_> = hostile.iter().flat_map(|e| ["--env", e]).collect();
    let running = start(&private, &options, "sleep 100");
    until_running(&private);
    let (agent, _) = agent_and_command(&private);
    let entry = |name: &str| {
        fs::read(format!("/proc/{}/{name}", agent.as_raw_nonzero())).unwrap_or_default()
    };
    assert_eq!(entry("environ"), b"", "PID 1 has an environment");
    assert_eq!(entry("cmdline"), b"fetchml-agent\0init\0");
    assert!(!String::from_utf8_lossy(&entry("maps")).contains("evil"));
    private.ctl(["cancel", "@last"]).expect(0);
    finish(running);
    let outputs = private.ctl(["outputs", "@last"]);
    assert!(outputs.says("debug.2"), "the loader of the command wrote nothing: {outputs}");
    assert!(!outputs.stdout.lines().any(|l| l.ends_with("debug.1")), "{outputs}");
}
