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

/// Who found a hole in the agent would next need an address, or memory to put code in.
#[test]
fn the_agent_lies_elsewhere_in_each_job_and_keeps_code_and_data_apart() {
    let private = private!();
    let places = [(), ()].map(|()| {
        let running = start(&private, &[], "sleep 100");
        until_running(&private);
        let (agent, _) = agent_and_command(&private);
        let maps = fs::read_to_string(format!("/proc/{}/maps", agent.as_raw_nonzero())).unwrap();
        private.ctl(["cancel", "@last"]).expect(0);
        finish(running);
        let mut image = Vec::new();
        for line in maps.lines() {
            let (place, rest) = line.split_once(' ').unwrap();
            let rights = &rest[..4];
            assert!(!(rights.contains('w') && rights.contains('x')), "{maps}");
            if line.contains("/memfd:") {
                image.push((place.to_owned(), rights));
            } else {
                assert!(!line.contains('/'), "a file that is not the agent's image:\n{maps}");
            }
        }
        // Behind the code lies what the start of the program filled in and then closed.
        let code = image.iter().rposition(|(_, rights)| *rights == "r-xp").unwrap();
        assert_eq!(image.get(code + 1).map(|(_, rights)| *rights), Some("r--p"), "{maps}");
        image.swap_remove(0).0
    });
    assert_ne!(places[0], places[1]);
}
