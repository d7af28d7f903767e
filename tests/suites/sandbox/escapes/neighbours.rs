//! Two jobs at a time, and a job against the supervisor's own sockets.

use super::{attack, finish, start, until_running};
use crate::private;
use std::fs;

const LISTENS: &str = "\
import ctypes, os, socket, time
a = socket.socket(socket.AF_UNIX); a.bind('\\0neighbour'); a.listen()
b = socket.socket(); b.bind(('127.0.0.1', 5555)); b.listen()
open('/tmp/neighbour', 'w').write('mine'); open('/dev/shm/neighbour', 'w').write('mine')
c = ctypes.CDLL(None); assert c.shmget(4711, 4096, 0o1666) >= 0
open('/outputs/ready', 'w').close()
time.sleep(1000)";

const LOOKS: &str = "\
import ctypes, os, socket, sys
from attack import *
def reach(family, address):
    s = socket.socket(family); s.settimeout(2); s.connect(address)
attempt('abstract socket', 'ECONNREFUSED EPERM', reach, socket.AF_UNIX, '\\0neighbour')
attempt('loopback', 'ECONNREFUSED EACCES', reach, socket.AF_INET, ('127.0.0.1', 5555))
attempt('/tmp', 'ENOENT', read, '/tmp/neighbour')
attempt('/dev/shm', 'ENOENT', read, '/dev/shm/neighbour')
attempt('its outputs', 'ENOENT', read, '/outputs/ready')
attempt('System V memory', 'ENOENT', call, 29, 4711, 4096, 0)
for pid in (int(sys.argv[1]), int(sys.argv[2])):
    attempt('signal', 'ESRCH', os.kill, pid, 0)
    attempt('look', 'ENOENT', os.stat, f'/proc/{pid}')
    attempt('pidfd', 'ESRCH EINVAL', os.pidfd_open, pid)
mine = {int(p) for p in os.listdir('/proc') if p.isdigit()}
print('held processes' if len(mine) <= 3 else f'BROKEN {mine}')
for kind in ('cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'): print(os.readlink(f'/proc/self/ns/{kind}'))
done()";

#[test]
fn two_jobs_are_strangers() {
    let private = private!();
    private.put("listens.py", LISTENS);
    let words = ["run", "--network", "loopback", "--", "/usr/bin/python3", "listens.py"];
    let first = private.command(words).spawn().unwrap();
    let ready = private.dir().join("state/users/0/default/1/outputs/ready");
    super::eventually("the first job listens", || ready.exists().then_some(()));
    let (agent, command) = super::agent_and_command(&private);
    // Numbers far above those of the second job's own processes.
    let pids = [agent, command].map(|p| p.as_raw_nonzero().to_string());
    let looked = attack(&private, LOOKS, &["--network", "loopback"], &[&pids[0], &pids[1]]);
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let theirs = fs::read_link(format!("/proc/{}/ns/{kind}", pids[1])).unwrap();
        let shared = looked.stdout.lines().any(|l| l == theirs.to_str().unwrap());
        assert!(!shared && looked.says(&format!("{kind}:[")), "{kind}: {looked}");
    }
    private.ctl(["cancel", "1"]).expect(0);
    finish(first);
}

const KNOCKS: &str = "\
import os, socket, time
from attack import *
def speak(path, words):
    s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect(path); s.sendall(words)
    said = s.recv(200)
    if not said.startswith(b'OK'): raise PermissionError(1, 'refused')
    return said
for uid in (0, 1000, 65534):
    claim = b'\\0AUTH EXTERNAL ' + str(uid).encode().hex().encode() + b'\\r\\n'
    attempt(f'bus as {uid}', 'EPERM ECONNRESET EPIPE EACCES ETIMEDOUT', speak, '/sup/run/bus.sock', claim)
for name in sorted(os.listdir('/sup/run/jobs')):
    attempt('agent of ' + name, 'EACCES', socket.socket(socket.AF_UNIX).connect, '/sup/run/jobs/' + name)
time.sleep(0.5)
done()";

#[test]
fn the_supervisors_sockets_are_closed_to_jobs_that_see_them() {
    let private = private!();
    let other = start(&private, &[], "sleep 100");
    until_running(&private);
    // The worst mount that a user can give: the supervisor's own directory.
    let mount = format!("{}:/sup", private.dir().display());
    attack(&private, KNOCKS, &["--mount", &mount], &[]);
    let ended = private.ctl(["status", "@last"]);
    assert!(ended.says("succeeded"), "{ended}");
    assert!(private.ctl(["list"]).says("running"), "the other job was ended");
    let denied = private.audit_lines().iter().filter(|l| l.contains("\"denied\"")).count();
    assert!(denied >= 1, "the attempt is not on record");
    private.ctl(["cancel", "1"]).expect(0);
    finish(other);
    assert!(fs::metadata(private.socket()).is_ok());
}

#[test]
fn jobs_of_two_supervisors_never_share_a_host_id() {
    // More than two: the first id of each is not always the same.
    let mut all = Vec::new();
    for _ in 0..6 {
        let private = private!();
        private.ctl(["submit", "--", "sleep", "100"]).ok();
        until_running(&private);
        all.push(private);
    }
    let ids: std::collections::BTreeSet<_> = all.iter().map(super::host_uid).collect();
    assert_eq!(ids.len(), all.len(), "{ids:?}");
}

#[test]
fn a_running_job_keeps_its_host_id_when_the_supervisor_dies() {
    let private = private!();
    private.ctl(["submit", "--", "sleep", "100"]).ok();
    until_running(&private);
    let first = super::host_uid(&private);
    private.crash();
    // A new supervisor counts from the beginning.
    for _ in 0..4 {
        let map = private.shell("cat /proc/self/uid_map");
        let id: u32 = map.ok().split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_ne!(id, first);
    }
    private.ctl(["cancel", "1"]).expect(0);
}
