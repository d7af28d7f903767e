"""The job against the first process of its namespace, which keeps its log, its
time limit and its report."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
from attack import attempt, call, done, libc

KEPT = "EPERM EACCES ENOSYS"
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP, signal.SIGABRT,
               signal.SIGTSTP, signal.SIGXCPU, signal.SIGCHLD, signal.SIGIO):
    os.kill(1, number)
    call(234, 1, 1, int(number))
pid = os.pidfd_open(1)
signal.pidfd_send_signal(pid, signal.SIGKILL)
attempt("ptrace attach", KEPT, call, 101, 16, 1, 0, 0)
attempt("ptrace seize", KEPT, call, 101, 0x4206, 1, 0, 0)
attempt("take a descriptor", KEPT, call, 438, pid, 4, 0)
attempt("process_madvise", KEPT, call, 440, pid, 0, 0, 4, 0)
room = ctypes.create_string_buffer(64)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(room), 64)
there = (ctypes.c_uint64 * 2)(0x400000, 64)
attempt("read memory", KEPT, call, 310, 1, vector, 1, there, 1, 0)
attempt("write memory", KEPT, call, 311, 1, vector, 1, there, 1, 0)
attempt("compare descriptors", KEPT, call, 312, os.getpid(), 1, 0, 1, 4)
attempt("move pages", KEPT, call, 279, 1, 0, 0, 0, 0, 0)
attempt("file size limit", KEPT, resource.prlimit, 1, resource.RLIMIT_FSIZE, (0, 0))
attempt("descriptor limit", KEPT, resource.prlimit, 1, resource.RLIMIT_NOFILE, (0, 0))
attempt("processor", KEPT, os.sched_setaffinity, 1, {0})
attempt("idle scheduling", KEPT, os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
attempt("scheduling attributes", KEPT, call, 314, 1, (ctypes.c_uint32 * 14)(56, 5), 0)
attempt("nice", KEPT, os.setpriority, os.PRIO_PROCESS, 1, 19)
attempt("nice of its group", KEPT, os.setpriority, os.PRIO_PGRP, 1, 19)
attempt("nice of its user", KEPT, os.setpriority, os.PRIO_USER, 0, 19)
attempt("idle I/O", KEPT, call, 251, 1, 1, 3 << 13)
attempt("join its process group", "EPERM", os.setpgid, 0, 1)
attempt("core-dump limit", KEPT + " EINVAL", resource.prlimit, 1, resource.RLIMIT_CORE, (0, 0))

# Sessions: none is the supervisor's, which would show as 0.
print("held sessions" if (os.getsid(1), os.getsid(0)) == (1, os.getpid()) else f"BROKEN sessions: {os.getsid(1)} {os.getsid(0)}")

# Its pipes: small, non-blocking, full, read by the writer.
fcntl.fcntl(1, 1031, 4096)
os.set_blocking(1, False)
try:
    while os.write(1, b"\n" * 4096):
        pass
except BlockingIOError:
    pass
os.set_blocking(1, True)

# Everything that one user can have, all of it taken.
held, cdll = [], ctypes.CDLL(None)
while (fd := cdll.inotify_init1(0)) >= 0:
    held.append(fd)
try:
    while len(held) < 3000:
        held.extend(os.pipe())
        fcntl.fcntl(held[-1], 1031, 1 << 20)
except OSError:
    pass
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
n = 0
while n < 200000 and libc.sigqueue(os.getpid(), 40, None) == 0:
    n += 1
for fd in held:
    os.close(fd)
done()
