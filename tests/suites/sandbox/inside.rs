//! What a job sees and can do. Each layer has a test that fails without it.

use crate::private;
use std::collections::BTreeMap;

fn fields(status: &str) -> BTreeMap<&str, &str> {
    status.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k, v.trim())).collect()
}

#[test]
fn a_job_is_nobody_without_capabilities_behind_filters() {
    let private = private!();
    let output = private.shell("cat /proc/self/status");
    let status = fields(output.ok());
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(status["Gid"], "1000\t1000\t1000\t1000");
    assert_eq!(status["Groups"], "");
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(status["Seccomp"], "2");
    // The profile's, and none of the agent's (but what this machine has for all).
    let here = std::fs::read_to_string("/proc/self/status").unwrap();
    let already: u32 = fields(&here)["Seccomp_filters"].parse().unwrap();
    assert_eq!(status["Seccomp_filters"], (already + 1).to_string());
    assert_eq!(status["SigBlk"], "0000000000000000");
    // Of the signals that a process can ignore none is.
    let ignored = u64::from_str_radix(status["SigIgn"], 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff & !(1 << 31), 0, "{ignored:x}");
}

#[test]
fn host_root_is_not_mapped_and_the_map_is_one_id_wide() {
    let private = private!();
    let output = private.shell("cat /proc/self/uid_map; stat -c %u /proc/version; id -un");
    let text = output.ok();
    let map: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((map[0], map[2]), ("1000", "1"), "{output}");
    assert!(map[1].parse::<u32>().unwrap() >= 1_879_048_192, "{output}");
    assert!(text.ends_with("65534\njob"), "{output}");
}

#[test]
fn two_jobs_never_share_a_host_id() {
    let private = private!();
    let script = "cat /proc/self/uid_map; sleep 1";
    let jobs: Vec<_> = (0..2)
        .map(|_| {
            let mut command = private.command(["run", "--", "sh", "-c", script]);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let maps: Vec<_> = jobs.into_iter().map(|j| j.wait_with_output().unwrap().stdout).collect();
    assert_ne!(maps[0], maps[1]);
}

#[test]
fn every_namespace_is_its_own() {
    let private = private!();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let script = kinds.map(|k| format!("readlink /proc/self/ns/{k}; ")).concat();
    let output = private.shell(&script);
    for (kind, inside) in kinds.iter().zip(output.ok().lines()) {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(host.to_str().unwrap(), inside);
    }
    assert_eq!(output.stdout.lines().count(), kinds.len());
}

/// They are made ahead, and a job that ends gives nothing of its own to the next.
#[test]
fn jobs_at_once_share_no_namespace_whatever_ran_before() {
    use std::io::{BufRead, BufReader};
    let private = private!();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let links = kinds.map(|k| format!("readlink /proc/self/ns/{k}; ")).concat();
    let script = links + "until [ -e /sync/go ]; do sleep 0.05; done";
    let sync = tempfile::tempdir().unwrap();
    let mount = format!("{}:/sync:ro", sync.path().display());
    for network in ["none", "loopback"] {
        let go = sync.path().join("go");
        let mut different = std::collections::BTreeSet::new();
        let mut start = || {
            let command = ["run", "--network", network, "--mount", &mount, "--", "sh", "-c"];
            let mut command = private.command(command);
            let mut job =
                command.arg(&script).stdout(std::process::Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(job.stdout.take().unwrap()).lines();
            different.extend(lines.take(kinds.len()).map(Result::unwrap));
            job
        };
        let jobs = [start(), start()];
        std::fs::write(&go, "").unwrap();
        for mut job in jobs {
            assert!(job.wait().unwrap().success());
        }
        std::fs::remove_file(&go).unwrap();
        assert_eq!(different.len(), 2 * kinds.len(), "{network}: {different:?}");
    }
}

#[test]
fn the_root_and_the_system_cannot_be_written() {
    let private = private!();
    let output = private.shell(
        "for f in /x /usr/x /etc/x /etc/passwd /dev/x /proc/x /proc/sys/kernel/hostname \
         /proc/self/oom_score_adj /proc/sysrq-trigger /sys/x /opt/x; do \
         (: >> $f) 2>/dev/null && echo written: $f; done; echo done",
    );
    assert_eq!(output.ok(), "done");
}

#[test]
fn nothing_below_etc_can_be_executed() {
    let private = private!();
    // Which programs are there differs between hosts; Debian's certificates bring one.
    let output = private.shell(
        "find /etc -type f -perm -1 2>/dev/null | while read f; do \
         ($f) >/dev/null 2>&1; [ $? = 126 ] || echo ran: $f; done; echo done",
    );
    assert_eq!(output.ok(), "done");
}

#[test]
fn every_mount_refuses_set_id_programs_and_foreign_devices() {
    let private = private!();
    let output = private.shell("cat /proc/self/mounts");
    for line in output.ok().lines() {
        let mut words = line.split(' ');
        let (_, at, _, options) =
            (words.next(), words.next().unwrap(), words.next(), words.next().unwrap());
        let has = |o: &str| options.split(',').any(|w| w == o);
        // Names of the kernel's own processors: not reached as devices.
        let device = at.starts_with("/dev/") && at != "/dev/shm" || at.starts_with("/proc/");
        assert!(has("nosuid"), "{line}");
        assert!(has("nodev") || device, "{line}");
        let writable = ["/work", "/outputs", "/tmp", "/dev/shm"].contains(&at) || device;
        assert!(has("ro") || writable, "{line}");
    }
}

#[test]
fn only_the_usual_devices_exist() {
    let private = private!();
    let output = private.shell("cd /dev && echo *; ls /dev/shm; (exec 3<>/dev/tty) 2>&1 || true");
    let names = output.ok().lines().next().unwrap().to_owned();
    assert_eq!(names, "fd full null random shm stderr stdin stdout urandom zero", "{output}");
}

#[test]
fn only_its_own_processes_are_there() {
    let private = private!();
    let output = private.shell("cd /proc && for p in [0-9]*; do cat $p/comm; done");
    let mut seen: Vec<_> = output.ok().lines().collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.iter().all(|c| ["cat", "fetchml-agent", "8", "sh"].contains(c)), "{output}");
    assert!(seen.len() <= 3, "{output}");
}

#[test]
fn the_agent_tells_its_job_nothing_and_cannot_be_touched() {
    let private = private!();
    let output = private.shell(
        "for f in environ maps mem fd/3 exe cwd root; do \
         (cat /proc/1/$f >/dev/null) 2>/dev/null && echo read: $f; \
         readlink /proc/1/$f >/dev/null 2>&1 && echo link: $f; done; \
         ls /proc/1/fd 2>/dev/null; kill -TERM 1; kill -KILL 1; kill -STOP 1; sleep 0.2; echo alive",
    );
    assert_eq!(output.ok(), "alive");
}

#[test]
fn nothing_of_the_supervisor_leaks_in() {
    let private = private!();
    let output = private
        .command([
            "run",
            "--env",
            "MINE=1",
            "--",
            "sh",
            "-c",
            "env | sort; ls -l /proc/self/fd; pwd",
        ])
        .env("SUPERVISOR_SECRET", "hunter2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("MINE=1") && text.trim_end().ends_with("/work"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let names: Vec<_> = text
        .lines()
        .filter_map(|l| l.split_once('='))
        .map(|(k, _)| k)
        .filter(|k| !k.contains(' '))
        .collect();
    let known = [
        "FETCHML_ATTEMPT",
        "FETCHML_JOB_ID",
        "FETCHML_METRICS_FILE",
        "FETCHML_OUTPUT_DIR",
        "HOME",
        "LANG",
        "MINE",
        "OLDPWD",
        "PATH",
        "PWD",
        "PYTHONUNBUFFERED",
        "SHLVL",
        "_",
    ];
    assert!(names.iter().all(|n| known.contains(n)), "{names:?}");
    // 0, 1, 2 and the directory that ls reads.
    let descriptors = text.lines().filter(|l| l.contains(" -> ")).count();
    assert_eq!(descriptors, 4, "{text}");
}

#[test]
fn without_a_network_there_is_none_and_with_a_loopback_only_that() {
    let private = private!();
    let script = "\
import socket
def tried(f):
    try: f(); return 'ok'
    except OSError as e: return type(e).__name__ + ':' + str(e.errno)
def loop():
    s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
    c = socket.create_connection(s.getsockname(), 2); c.close()
def out():
    socket.create_connection(('192.0.2.1', 80), 2)
print(tried(loop), tried(out), tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
      tried(lambda: socket.socket(socket.AF_VSOCK)))
print([n for _, n in socket.if_nameindex()])";
    let none = private.ctl(["run", "--", "/usr/bin/python3", "-c", script]);
    let (calls, names) = none.ok().split_once('\n').unwrap();
    // Landlock refuses what the namespace would not even deliver.
    assert!(calls.starts_with("PermissionError:13 PermissionError:13"), "{none}");
    assert_eq!(names, "['lo']");
    let loopback = private.python(script);
    let (calls, names) = loopback.ok().split_once('\n').unwrap();
    assert!(calls.starts_with("ok OSError:101"), "{loopback}");
    assert_eq!(names, "['lo']");
    for output in [&none, &loopback] {
        let refused: Vec<_> = output.stdout.split_whitespace().skip(2).take(2).collect();
        assert!(refused.iter().all(|w| w.contains(':') && *w != "ok"), "{output}");
    }
}

#[test]
fn forbidden_system_calls_are_refused() {
    let private = private!();
    // Numbers of x86-64; -1 arguments are invalid for each, so a call that is
    // let through answers something else.
    let script = "\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
EPERM, ENOSYS = 1, 38
calls = dict(ptrace=101, mount=165, umount2=166, reboot=169, kexec_load=246, open_by_handle_at=304,
  perf_event_open=298, bpf=321, setns=308, unshare=272, keyctl=250, add_key=248, init_module=175,
  finit_module=313, delete_module=176, pivot_root=155, chroot=161, swapon=167, userfaultfd=323,
  process_vm_readv=310, io_uring_setup=425, fsopen=430, open_tree=428, move_mount=429,
  mount_setattr=442, settimeofday=164, clock_settime=227, sethostname=170, iopl=172, ioperm=173,
  syslog=103, acct=163, quotactl=179, fanotify_init=300, kcmp=312, pidfd_getfd=438)
for name, number in calls.items():
    ctypes.set_errno(0)
    r = libc.syscall(number, -1, -1, -1, -1, -1, -1)
    if not (r == -1 and ctypes.get_errno() in (EPERM, ENOSYS)):
        print('open:', name, r, ctypes.get_errno())
# clone3 must look absent, so that the C library falls back to clone.
r = libc.syscall(435, 0, 0); print('clone3', ctypes.get_errno() == ENOSYS)
# x32 and namespaces by clone
r = libc.syscall(0x40000000 + 39); print('x32', r == -1)
r = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0); print('userns', r == -1)";
    let output = private.python(script);
    assert_eq!(output.ok(), "clone3 True\nx32 True\nuserns True");
}

#[test]
fn ordinary_needs_are_met() {
    let private = private!();
    let script = "\
import threading, multiprocessing as mp, subprocess, tempfile, os, mmap, select, socket, time, fcntl
from multiprocessing import shared_memory
def square(x): return x * x
if True:
    t = threading.Thread(target=time.sleep, args=(0,)); t.start(); t.join()
    with mp.get_context('fork').Pool(2) as p: assert p.map(square, range(4)) == [0, 1, 4, 9]
    s = shared_memory.SharedMemory(create=True, size=4096); s.buf[0] = 7; s.close(); s.unlink()
    assert subprocess.check_output(['sh', '-c', 'echo sub']) == b'sub\\n'
    with tempfile.NamedTemporaryFile() as f: fcntl.flock(f, fcntl.LOCK_EX); f.write(b'x')
    m = mmap.mmap(-1, 4096); m[0] = 1
    e = select.epoll(); a, b = socket.socketpair(); e.register(a, select.EPOLLIN); b.send(b'!'); assert e.poll(1)
    assert os.pidfd_open(os.getpid()) > 2
    assert 'processor' in open('/proc/cpuinfo').read() and os.cpu_count() >= 1
    assert 'MemTotal' in open('/proc/meminfo').read()
    assert open('/sys/devices/system/cpu/possible').read()
    import getpass, pathlib, locale; assert getpass.getuser() == 'job'
    host = socket.gethostname()
    with socket.create_server((host, 0)) as server: socket.create_connection((host, server.getsockname()[1])).close()
    pathlib.Path('/dev/shm/x').write_text('y'); pathlib.Path('/tmp/x').write_text('y')
    print('all met')";
    private.put("needs.py", script);
    let output =
        private.ctl(["run", "--network", "loopback", "--", "/usr/bin/python3", "needs.py"]);
    assert_eq!(output.ok(), "all met");
}

#[test]
fn the_process_limit_holds() {
    let private = private!();
    let output = private.ctl([
        "run", "--pids", "10", "--", "/usr/bin/python3", "-c",
        "import os, time\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0: time.sleep(30); os._exit(0)\n    n += 1\n\
         except BlockingIOError: pass\nprint(n)",
    ]);
    let forked: u32 = output.ok().parse().unwrap();
    assert_eq!(forked, 9, "{output}");
}

#[test]
fn private_tmp_is_empty_and_gone_afterwards() {
    let private = private!();
    private.shell("echo secret > /tmp/left && echo secret > /dev/shm/left").ok();
    let output = private.shell("ls -A /tmp /dev/shm");
    assert_eq!(output.ok(), "/dev/shm:\n\n/tmp:");
}
