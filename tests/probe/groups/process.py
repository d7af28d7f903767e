"""What a job's first process was given: environment, session, limits, signals, place."""

import ctypes
import os
import resource
import signal
import time

from groups.identity import prctl
from harness import Want, attempt, call, call_result, errno_name, in_child, opened, read, status_field, written

#: docs/run-contract.md, "Environment", and what a shell adds.
VARIABLES = {
    "FETCHML_ATTEMPT", "FETCHML_JOB_ID", "FETCHML_METRICS_FILE", "FETCHML_OUTPUT_DIR",
    "PATH", "HOME", "LANG", "PYTHONUNBUFFERED",
    "PROBE_HOST", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE",
}
OF_PROFILE = {"gpu": {"CUDA_CACHE_PATH"}, "notebook": {"JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"}}
SECRETS = (
    "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET",
    "LISTEN_FDS", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "SUDO_USER", "USER", "LOGNAME",
    "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "ENV", "AWS_SECRET_ACCESS_KEY",
    "HF_TOKEN", "WANDB_API_KEY", "DOCKER_HOST", "KUBECONFIG", "http_proxy", "HTTPS_PROXY", "MAIL", "TERM",
    "FETCHML_AGENT",
)


def run(probe, context):
    check = probe.check
    environment(check, context)
    session(check)
    limits(check, context)
    signals(check)
    scheduling(check, context)
    keyring(check)
    dumping(check, context)
    agent(check, context)


def environment(check, context):
    cards = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"} if context.cuda else set()
    check("env-known", "[]", sorted(set(os.environ) - VARIABLES - OF_PROFILE.get(context.profile, set()) - cards),
          "only documented variables and what --env gave")
    for name in SECRETS:
        check(f"env-{name}", "absent", "there" if name in os.environ else "absent", "a variable of the supervisor or the client")
    check("env-PATH", "/usr/local/bin:/usr/bin:/bin", os.environ.get("PATH", ""), "no directory that the job could write")
    check("env-HOME", "/tmp", os.environ.get("HOME", ""), "writable, gone with the job")
    check("env-LANG", "C.UTF-8", os.environ.get("LANG", ""), "UTF-8 without host locales")
    check("env-job", Want("a number", str.isdigit), os.environ.get("FETCHML_JOB_ID", ""), "a job knows its number")
    check("env-outputs", "/outputs", os.environ.get("FETCHML_OUTPUT_DIR", ""), "where results go")
    check("env-same-in-proc", "true", lambda: set(read("/proc/self/environ").split("\0")) - {""} <= {
        f"{k}={v}" for k, v in os.environ.items()}, "nothing is hidden in the initial block")


def session(check):
    check("session-leader", "true", lambda: os.getsid(0) != os.getsid(os.getppid()) or os.getsid(0) != 0, "a session of its own")
    check("session-not-pid1", Want("not 0 and not 1", lambda s: s > 1), os.getsid(0), "apart from the agent's")
    check("no-terminal", "ENXIO|ENOENT|ENODEV|EACCES", lambda: opened("/dev/tty", os.O_RDWR), "no controlling terminal to inject into")
    check("tty-number", "0", lambda: read("/proc/self/stat").rpartition(")")[2].split()[4], "as the kernel says")
    for fd in (0, 1, 2):
        check(f"not-a-terminal-{fd}", "false", os.isatty(fd), "no terminal is shared with the client")
    check("cwd", "/work", os.getcwd, "inside the job's root (CVE-2024-21626)")
    check("cwd-link", Want("no (unreachable)", lambda a: a.startswith("/work")), lambda: os.readlink("/proc/self/cwd"), "the same by /proc")
    check("root-link", "/", lambda: os.readlink("/proc/self/root"), "the root is the job's")
    check("umask", "0022", lambda: status_field("Umask"), "not the supervisor's")
    check("parent", Want("of this job", lambda p: p >= 1), os.getppid(), "never 0: no parent outside the namespace")
    check("parent-death-signal", "0", death_signal, "a job does not die with a thread of the agent")
    check("child-subreaper", "0", lambda: pointer_prctl(37), "orphans go to the agent", strict="EINVAL")
    check("tracer", "0", lambda: status_field("TracerPid"), "nobody traces the job")


def pointer_prctl(option):
    value = ctypes.c_int(-1)
    ctypes.set_errno(0)
    from harness import LIBC
    result = LIBC.prctl(option, ctypes.byref(value), 0, 0, 0)
    return value.value if result == 0 else errno_name(ctypes.get_errno())


def death_signal():
    return pointer_prctl(2)


def limits(check, context):
    def soft_hard(which):
        return list(resource.getrlimit(which))

    # 1 stops a core-dump helper of the host too, which 0 does not (core(5)).
    check("limit-core", "[0, 0]|[1, 1]", soft_hard(resource.RLIMIT_CORE), "no memory of the job on the disk")
    check("limit-msgqueue", "[0, 0]", soft_hard(resource.RLIMIT_MSGQUEUE), "no POSIX queues")
    check("limit-nice", "[0, 0]", soft_hard(resource.RLIMIT_NICE), "priority can only fall")
    check("limit-rtprio", "[0, 0]", soft_hard(resource.RLIMIT_RTPRIO), "no real-time scheduling")
    check("limit-nofile", Want("64 to 1048576, hard as soft", lambda a: 64 <= a[0] == a[1] <= 1048576),
          soft_hard(resource.RLIMIT_NOFILE), "the profile's open_files")
    if not context.strict:
        check("limit-nofile-enough", Want("at least 4096", lambda a: a >= 4096), soft_hard(resource.RLIMIT_NOFILE)[0],
              "data loaders hand over a descriptor a tensor")
    check("limit-nproc", Want("finite, hard as soft", lambda a: 8 <= a[0] == a[1] < 1 << 23), soft_hard(resource.RLIMIT_NPROC), "the profile's pids")
    if context.strict:
        check("limit-nproc-small", Want("at most 1025", lambda a: a <= 1025), soft_hard(resource.RLIMIT_NPROC)[0], "no fork bomb")
    check("limit-memlock", Want("finite, at most 64 MiB", lambda a: 0 <= a[1] <= 64 << 20), soft_hard(resource.RLIMIT_MEMLOCK), "memory that cannot be swapped is bounded")
    check("limit-stack", Want("8 MiB", lambda a: a[0] == 8 << 20), soft_hard(resource.RLIMIT_STACK), "as threads expect")
    check("limit-address-space", "-1", soft_hard(resource.RLIMIT_AS)[0], "CUDA and allocators reserve terabytes")
    check("limit-file-size", "-1", soft_hard(resource.RLIMIT_FSIZE)[0], "checkpoints are large")
    for name in ("NOFILE", "NPROC", "CORE", "MEMLOCK", "NICE", "RTPRIO", "MSGQUEUE"):
        check(f"limit-raise-{name}", "EPERM", lambda n=name: in_child(lambda: raised(n)), "a hard limit cannot be raised")
    check("limit-agent", "EPERM|EACCES", lambda: call(302, 1, 7, 0, ctypes.create_string_buffer(16)), "the agent's limits are not the job's to see or set")
    check("limit-lower", "ok", lambda: in_child(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)) or "ok"), "lowering works")


def raised(name):
    which = getattr(resource, f"RLIMIT_{name}", None) or {"NICE": 13, "RTPRIO": 14, "MSGQUEUE": 12}[name]
    hard = resource.getrlimit(which)[1]
    try:
        resource.setrlimit(which, (hard + 1, hard + 1))
    except ValueError:  # Python's word for EPERM here
        return "EPERM"
    return "raised"


def signals(check):
    check("signals-blocked", "0000000000000000", lambda: status_field("SigBlk"), "a blocked TERM would outlive cancel")
    # Python itself ignores PIPE and XFSZ; glibc's own two (32, 33) cannot be told apart.
    known = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1) | (3 << 31)
    check("signals-ignored", "0", lambda: int(status_field("SigIgn"), 16) & ~known, "an ignored TERM would, too")
    check("signal-chld", "default", lambda: "default" if signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL else "other", "wait works")
    check("signal-hup", "default", lambda: "default" if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL else "other", "nohup of the supervisor does not reach the job")
    check("signals-pending", "0000000000000000", lambda: status_field("SigPnd"), "none is left over")
    check("alternate-stack", "[0, 0]", alternate_stack, "none is left over from before the exec")


def alternate_stack():
    buffer = (ctypes.c_uint64 * 3)()
    result, code = call_result(131, 0, buffer)
    return [buffer[0], 0] if result == 0 else errno_name(code)


def scheduling(check, context):
    check("policy", str(os.SCHED_OTHER), os.sched_getscheduler(0), "the ordinary class, whatever the supervisor has")
    check("nice", Want("0 or more", lambda n: n >= 0), os.getpriority(os.PRIO_PROCESS, 0), "no head start over the host")
    check("nice-lower", "EACCES|EPERM", lambda: in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5) or "raised"), "priority cannot rise")
    for name, policy in (("fifo", os.SCHED_FIFO), ("rr", os.SCHED_RR)):
        check(f"realtime-{name}", "EPERM|ENOSYS", lambda p=policy: in_child(
            lambda: os.sched_setscheduler(0, p, os.sched_param(1)) or "real-time"), "a real-time job could stop the machine")
    check("realtime-deadline", "EPERM|EINVAL|ENOSYS", lambda: in_child(deadline), "the same by deadline")
    check("timer-slack", Want("50000", lambda n: n == 50000), lambda: prctl(30), "the kernel's own value", strict="EINVAL")
    check("io-priority", Want("none or best effort", lambda n: n >> 13 in (0, 2)), lambda: call_result(252, 1, 0)[0], "ioprio of a user", strict="-1")
    check("io-priority-realtime", "EPERM|ENOSYS", lambda: in_child(lambda: call(251, 1, 0, 1 << 13)), "not real-time")
    agents = int(read("/proc/1/oom_score_adj"))
    check("oom-score", str(agents), lambda: int(read("/proc/self/oom_score_adj")), "a job goes with its agent")
    check("oom-score-first", Want("500, or a job that CUDA lets write it and a supervisor without CAP_SYS_RESOURCE", lambda n: n == 500 or context.cuda), agents,
          "and before anything of the host")
    check("oom-score-lower", "EROFS|EACCES|EPERM", lambda: written("/proc/self/oom_score_adj", str(agents - 1).encode()), "and never after its agent")
    check("autogroup-raise", "EROFS|EACCES|EPERM|ENOENT", lambda: written("/proc/self/autogroup", b"-5"), "nor raise its group's weight")
    check("affinity", Want("at least one", lambda n: n >= 1), len(os.sched_getaffinity(0)), "thread pools size themselves by it")


def deadline():
    from harness import struct_bytes
    attr = struct_bytes("IIQiIQQQ", 48, 6, 0, 0, 0, 10_000_000, 30_000_000, 30_000_000)
    return call(314, 0, attr, 0)


def keyring(check):
    for name, number in (("session", -3), ("user", -4), ("user-session", -5), ("process", -2), ("thread", -1)):
        check(f"keyring-{name}", "EPERM", lambda n=number: call(250, 0, n, 0), "keys of a session pass through namespaces")
    check("keyring-link", "EPERM", lambda: call(250, 8, -4, -3), "nor can the user's be linked")
    check("keyring-join", "EPERM", lambda: call(250, 1, 0), "nor a new one joined")
    check("proc-keys", "", lambda: read("/proc/keys"), "names of keys are not shown")
    check("proc-key-users", "", lambda: read("/proc/key-users"), "nor how many each user has")


def dumping(check, context):
    # The agent is not dumpable; an ordinary program makes the job's process so again.
    check("core-filter-set", "ok" if context.cuda else "EROFS|EACCES|EPERM", lambda: opened("/proc/self/coredump_filter", os.O_WRONLY), "what a core would hold, which there is none of")
    check("core-pattern-set", "EROFS|EACCES|EPERM", lambda: opened("/proc/sys/kernel/core_pattern", os.O_WRONLY), "a pipe there is a program run as root")
    check("core-dump", "false", lambda: in_child_status(), "an abort leaves no core")


def in_child_status():
    pid = os.fork()
    if pid == 0:
        os.chdir("/tmp")
        os.abort()
    _, status = os.waitpid(pid, 0)
    return os.WCOREDUMP(status)


AGENT_FILES = (
    "environ", "maps", "smaps", "smaps_rollup", "mem", "auxv", "exe", "cwd", "root", "fd", "fdinfo", "map_files",
    "stack", "syscall", "io", "pagemap", "numa_maps", "personality", "timers", "ns/mnt", "ns/net", "ns/user", "task/1/mem", "task/1/fd",
)


def agent(check, context):
    for name in AGENT_FILES:
        check(f"agent-{name.replace('/', '-')}", "EACCES|EPERM|ENOENT|empty", lambda n=name: agent_file(f"/proc/1/{n}"),
              "the agent tells its job nothing (it is not dumpable)")
    for name in ("mem", "oom_score_adj", "comm", "clear_refs", "coredump_filter", "attr/current", "task/1/comm", "timerslack_ns"):
        check(f"agent-write-{name.replace('/', '-')}", "EACCES|EPERM|EROFS|ENOENT|EINVAL", lambda n=name: opened(f"/proc/1/{n}", os.O_WRONLY),
              "nor is changed by it")
    for name in ("TERM", "KILL", "STOP", "INT", "HUP", "SEGV", "QUIT", "USR1", "ABRT", "TSTP", "PIPE", "ALRM"):
        check(f"agent-signal-{name}", "unharmed|EPERM", lambda n=name: signalled(n), "a signal does not stop it")
    for name, args in {
        "affinity": (203, 1, 8, ctypes.create_string_buffer(b"\x01" + bytes(7))),
        "scheduler": (144, 1, 5, ctypes.create_string_buffer(8)), "param": (142, 1, ctypes.create_string_buffer(8)),
        "priority": (141, 0, 1, 19), "priority-of-user": (141, 2, 0, 19), "io-priority": (251, 1, 1, 3 << 13),
        "io-priority-of-user": (251, 3, 1000, 3 << 13), "attr": (314, 1, ctypes.create_string_buffer(48), 0),
    }.items():
        check(f"agent-{name}", "EPERM|ENOSYS", lambda a=args: call(*a), "its share of the processor is not the job's to change")
    check("agent-ptrace", "EPERM|EACCES", lambda: call(101, 16, 1, 0, 0), "nor can it be traced")
    check("agent-seize", "EPERM|EACCES", lambda: call(101, 0x4206, 1, 0, 0), "nor seized")
    check("agent-vm-read", "EPERM", lambda: call(310, 1, iovec(), 1, iovec(), 1, 0), "nor read")
    check("agent-vm-write", "EPERM", lambda: call(311, 1, iovec(), 1, iovec(), 1, 0), "nor written")
    check("agent-kcmp", "EPERM|ENOSYS", lambda: call(312, 1, os.getpid(), 0, 0, 0), "nor compared")
    check("agent-pidfd-getfd", "EPERM", agent_descriptor, "nor robbed of a descriptor")
    check("agent-alive", "S|R", lambda: status_field("State", 1)[:1], "after all that it is still there")


def agent_file(path):
    if os.path.isdir(path):
        return os.listdir(path) and "entries" or "empty"
    if os.path.islink(path):
        return os.readlink(path)
    return "content" if read(path, 64) else "empty"


def signalled(name):
    os.kill(1, getattr(signal, f"SIG{name}"))
    time.sleep(0.002)
    return "unharmed" if status_field("State", 1)[:1] in "SR" else attempt(lambda: status_field("State", 1))


_KEEP = ctypes.create_string_buffer(64)


def iovec():
    return (ctypes.c_uint64 * 2)(ctypes.addressof(_KEEP), 8)


def agent_descriptor():
    fd = os.pidfd_open(1)
    try:
        return call(438, fd, 0, 0)
    finally:
        os.close(fd)
