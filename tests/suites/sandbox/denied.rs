//! What the sandbox refuses is counted and told: live, in the report, in the audit.

use crate::private;
use fetchml_tests::{Output, Private};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Raw system calls, as (name or number, arguments…).
const TRY: &str = r"
import ctypes, errno, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(number, *[ctypes.c_long(a) for a in args])
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
";

fn tried(private: &Private, script: &str) -> Output {
    private.python(&format!("{TRY}{script}"))
}

fn description(private: &Private, job: &str) -> Value {
    let output = private.ctl(["status", job, "--json"]);
    serde_json::from_str(output.ok()).unwrap_or_else(|e| panic!("{e}: {output}"))
}

fn counted(of: &Value) -> Vec<(String, u64)> {
    of["denied"]
        .as_array()
        .unwrap_or_else(|| panic!("no denials in {of}"))
        .iter()
        .map(|d| (d["call"].as_str().unwrap().to_owned(), d["count"].as_u64().unwrap()))
        .collect()
}

#[test]
fn refused_calls_fail_with_the_policys_error_and_stand_in_report_and_audit() {
    let private = private!();
    let output = tried(
        &private,
        "print(call(101, 0, 0, 0, 0), call(101, 0, 0, 0, 0), call(155, 0, 0), call(555))",
    );
    assert_eq!(output.ok(), "EPERM EPERM EPERM ENOSYS");
    let job = description(&private, "1");
    let summary = job["report"]["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("exited with code 0; denied: ptrace ×2, pivot_root ×1"),
        "{summary}"
    );
    let denied = counted(&job["report"]);
    assert_eq!(denied.len(), 3, "{denied:?}");
    assert_eq!(denied[0].1, 2, "{denied:?}");
    assert!(denied[0].0.starts_with("ptrace"), "{denied:?}");
    assert_eq!(denied[1], ("pivot_root".to_owned(), 1));
    assert!(denied[2].0.contains("555"), "{denied:?}");
    let lines = private.audit_lines();
    let records: Vec<_> = lines.iter().filter(|l| l.contains("\"policy_denied\"")).collect();
    assert_eq!(records.len(), 1, "{lines:?}");
    assert!(records[0].contains("pivot_root ×1"), "{records:?}");
}

#[test]
fn the_profile_that_would_allow_it_is_named() {
    let private = private!();
    let output = tried(&private, "print(call(312, os.getpid(), os.getpid(), 0, 0, 0))");
    assert_eq!(output.ok(), "EPERM");
    let report = &description(&private, "1")["report"];
    let by: Vec<_> = report["denied"][0]["allowed_by"].as_array().unwrap().clone();
    assert!(by.iter().any(|p| p == "debug"), "{report}");
    assert!(report["summary"].as_str().unwrap().contains("needs profile debug"), "{report}");
}

#[test]
fn the_argument_of_interest_tells_what_was_wanted() {
    let private = private!();
    let output = tried(&private, "print(call(41, 17, 3, 0))");
    let denied = counted(&description(&private, "1")["report"]);
    let calls: Vec<_> = denied.iter().map(|(call, _)| call.as_str()).collect();
    assert_eq!(calls, ["socket(AF_PACKET, SOCK_RAW)"], "{output}");
    // TCP is allowed elsewhere, raw sockets nowhere.
    let strict = private.ctl(
        ["run", "--profile", "strict", "--", "/usr/bin/python3", "-c"]
            .into_iter()
            .chain([format!("{TRY}print(call(41, 2, 1, 0), call(41, 2, 3, 255))").as_str()]),
    );
    assert_eq!(strict.ok(), "EAFNOSUPPORT EAFNOSUPPORT");
    let report = &description(&private, "2")["report"];
    let by = |at: usize| report["denied"][at]["allowed_by"].as_array().unwrap().len();
    assert!(by(0) > 0 && by(1) == 0, "{report}");
}

#[test]
fn a_running_job_tells_what_was_refused_so_far() {
    let private = private!();
    let submitted = private.ctl([
        "submit",
        "--",
        "/usr/bin/python3",
        "-c",
        &format!("{TRY}call(155, 0, 0)\nimport time; time.sleep(60)"),
    ]);
    submitted.ok();
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let job = description(&private, "1");
        let denied = counted(&job);
        if job["state"] == "running" && denied == [("pivot_root".to_owned(), 1)] {
            break;
        }
        assert!(Instant::now() < patience, "{job}");
        std::thread::sleep(Duration::from_millis(50));
    }
    private.ctl(["cancel", "1"]).ok();
}

#[test]
fn a_flood_of_refused_calls_from_many_processes_and_threads_is_counted_to_the_last() {
    let private = private!();
    let output = tried(
        &private,
        r"
def some(n):
    for _ in range(n): assert call(155, 0, 0) == 'EPERM'
threads = [threading.Thread(target=some, args=(2000,)) for _ in range(4)]
for t in threads: t.start()
for _ in range(3):
    if os.fork() == 0:
        some(1000)
        os._exit(0)
for t in threads: t.join()
for _ in range(3): os.wait()
for n in range(100): call(1000 + n)
for n in range(3): call(101, 0, 0, 0, 0)
print('out')
",
    );
    assert_eq!(output.ok(), "out");
    let denied = counted(&description(&private, "1")["report"]);
    let of = |name: &str| denied.iter().find(|(call, _)| call == name).map(|(_, n)| *n);
    assert_eq!(of("pivot_root"), Some(11_000));
    // Told apart up to a bound, numbers of no call beyond it in one sum.
    assert_eq!(denied.iter().map(|(_, n)| n).sum::<u64>(), 11_103, "{denied:?}");
    assert_eq!(of("ptrace"), Some(3), "a flood hid it: {denied:?}");
    assert!(of("others").is_some_and(|n| n > 0) && denied.len() <= 34, "{denied:?}");
}

#[test]
fn a_job_that_is_killed_while_it_asks_ends_as_any_other() {
    let private = private!();
    let output = tried(
        &private,
        r"
import signal
def for_ever():
    while True: call(155, 0, 0)
for _ in range(4): threading.Thread(target=for_ever, daemon=True).start()
while call(155, 0, 0) != 'EPERM': pass
os.kill(os.getpid(), signal.SIGKILL)
",
    );
    output.expect(137);
    let report = &description(&private, "1")["report"];
    assert!(counted(report).iter().any(|(call, _)| call == "pivot_root"), "{report}");
}

#[test]
fn a_command_that_makes_the_agent_its_tracer_has_not_ended_at_its_first_stop() {
    let private = private!();
    let script = r"
import ctypes, os, signal
me = os.getpid()
if os.fork() == 0:
    while open(f'/proc/{me}/stat').read().rsplit(')')[-1].split()[0] != 't': pass
    print('stopped', flush=True)
    os.kill(me, signal.SIGKILL)
    os._exit(0)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)
os.kill(me, signal.SIGUSR1)
";
    let command = ["run", "--profile", "debug", "--", "/usr/bin/python3", "-c", script];
    assert_eq!(private.ctl(command).expect(137), "stopped");
}

#[test]
fn a_command_that_cannot_be_executed_is_still_told_apart() {
    let private = private!();
    private.ctl(["run", "--", "/nowhere"]).expect(127);
    private.put("plain", "data");
    private.ctl(["run", "--", "/work/plain"]).expect(126);
}

#[test]
fn what_libraries_probe_as_a_matter_of_course_is_not_told() {
    let private = private!();
    let output = tried(&private, "print(call(435, 0, 0)); threading.Thread(target=print).start()");
    assert!(output.ok().starts_with("ENOSYS"), "{output}");
    assert_eq!(counted(&description(&private, "1")["report"]), []);
}

#[test]
fn the_agent_is_behind_a_filter_of_its_own_that_the_job_does_not_have() {
    let private = private!();
    private.ctl(["submit", "--", "sleep", "60"]).ok();
    let patience = Instant::now() + Duration::from_secs(20);
    let status = loop {
        let job = description(&private, "1");
        if job["state"] == "running" {
            let uid = job["host_uid"].as_u64().unwrap();
            if let [agent, command] = &status_of_processes_of(uid)[..] {
                break [agent.clone(), command.clone()];
            }
        }
        assert!(Instant::now() < patience, "{job}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let own = |status: &str, field: &str| {
        status.lines().find_map(|l| l.strip_prefix(field)).unwrap().trim().to_owned()
    };
    let here = std::fs::read_to_string("/proc/self/status").unwrap();
    let already: u32 = own(&here, "Seccomp_filters:").parse().unwrap();
    for status in &status {
        assert_eq!(own(status, "Seccomp:"), "2");
        assert_eq!(own(status, "Seccomp_filters:"), (already + 1).to_string(), "{status}");
    }
    private.ctl(["cancel", "1"]).ok();
}

/// `/proc/PID/status` of each process of a host user id, by process id.
fn status_of_processes_of(uid: u64) -> Vec<String> {
    let mut found: Vec<(u32, String)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| {
            let pid = e.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(e.path().join("status")).ok()?;
            status.contains(&format!("\nUid:\t{uid}\t")).then_some((pid, status))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, status)| status).collect()
}

/// The kernel's audit, switched on for a test and back to what it was: audit_netlink(7)
/// has no other way to ask for it.
struct KernelAudit(u32);

impl KernelAudit {
    /// Needs CAP_AUDIT_CONTROL.
    fn on() -> Self {
        Self(Self::set(1))
    }

    /// Answers with the former state.
    fn set(state: u32) -> u32 {
        let script = format!(
            "import socket, struct
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
def ask(kind, body):
    netlink.send(struct.pack('=IHHII', 16 + len(body), kind, 5, 1, 0) + body)
    answers = [netlink.recv(8192)]
    if kind == 1000:
        answers.append(netlink.recv(8192))
    error = struct.unpack('=i', answers[0][16:20])[0]
    assert struct.unpack('=H', answers[0][4:6])[0] != 2 or error == 0, error
    return answers[-1]
print(struct.unpack('=II', ask(1000, b'')[16:24])[1])
ask(1001, struct.pack('=11I', 1, {state}, *[0] * 9))"
        );
        let output = crate::escapes::on_the_host(&script);
        output.ok().trim().parse().unwrap_or_else(|e| panic!("{e}: {output}"))
    }
}

impl Drop for KernelAudit {
    fn drop(&mut self) {
        Self::set(self.0);
    }
}

#[test]
fn what_landlock_denies_is_told_where_the_kernels_audit_is_on() {
    let private = private!();
    let _audit = KernelAudit::on();
    let script = "import socket
for port in (1, 1, 22):
    try: socket.socket().connect(('127.0.0.1', port))
    except PermissionError: print('denied')";
    let output = private.ctl(["run", "--", "/usr/bin/python3", "-c", script]);
    assert_eq!(output.ok(), "denied\ndenied\ndenied");
    let job = description(&private, "@last");
    let told = counted(&job["report"]);
    let level = private.ctl(["doctor", "--json"]);
    if level.says("level 7") || level.says("level 8") {
        let by_port = |port: u16, count| (format!("net.connect_tcp 127.0.0.1:{port}"), count);
        assert_eq!(told, [by_port(1, 2), by_port(22, 1)]);
        let summary = job["report"]["summary"].as_str().unwrap();
        assert!(summary.contains("denied: net.connect_tcp 127.0.0.1:1 ×2"), "{summary}");
        let lines = private.audit_lines();
        let is_told = |line: &&String| line.contains("net.connect_tcp 127.0.0.1:22");
        assert_eq!(lines.iter().filter(is_told).count(), 1, "{lines:?}");
    } else {
        assert_eq!(told, [], "older kernels tell nobody");
    }
}
