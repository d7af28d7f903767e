"""Descriptors: three, of the right kinds, and no way through them."""

import fcntl
import os
import stat

from harness import Want, attempt, opened, read


def run(probe, context):
    check = probe.check
    own = sorted(int(n) for n in os.listdir("/proc/self/fd"))
    # The directory being listed is one itself, and is closed by now.
    held = [n for n in own if attempt(lambda n=n: fcntl.fcntl(n, fcntl.F_GETFD)) != "EBADF"]
    inherited = [n for n in held if n > 2 and not fcntl.fcntl(n, fcntl.F_GETFD) & fcntl.FD_CLOEXEC]
    check("only-three", "[0, 1, 2]", [n for n in held if n <= 2] + inherited, "nothing of the supervisor or the agent is open")
    for number in range(3, 64):
        # What Python itself opened (the script) is close-on-exec.
        check(f"closed-{number}", "closed|own", lambda n=number: state_of(n), "a forgotten descriptor is a way out (CVE-2024-21626)")
    for number in (127, 128, 200, 255, 256, 511, 1000, 1023, 1024, 4095):
        check(f"closed-{number}", "closed|own", lambda n=number: state_of(n), "a high number is not hidden")
    kinds = {0: stat.S_ISCHR, 1: stat.S_ISFIFO, 2: stat.S_ISFIFO}
    for number, test in kinds.items():
        check(f"kind-{number}", "true", test(os.fstat(number).st_mode), "/dev/null and two pipes to the agent")
    check("stdin-null", "[1, 3]", lambda: [os.major(os.fstat(0).st_rdev), os.minor(os.fstat(0).st_rdev)], "the real /dev/null")
    check("stdin-end", "", lambda: os.read(0, 1).decode(), "ends at once")
    check("streams-differ", "true", os.fstat(1).st_ino != os.fstat(2).st_ino, "the log tells them apart")
    for number in held:
        check(f"no-directory-{number}", "false", stat.S_ISDIR(os.fstat(number).st_mode), "no directory of the host to walk from")
        check(f"no-dotdot-{number}", "ENOTDIR|EACCES", lambda n=number: opened_from(n), "nothing can be opened from it")
    for number in (1, 2):
        check(f"reopen-read-{number}", "own pipe|EACCES|EPERM", lambda n=number: reopened(n), "the other end of a pipe is the agent's")
        check(f"no-flags-{number}", "O_WRONLY", lambda n=number: "O_WRONLY" if fcntl.fcntl(n, fcntl.F_GETFL) & 3 == 1 else "other", "write only")
    links = [attempt(lambda n=n: os.readlink(f"/proc/self/fd/{n}")) for n in held]
    check("links-inside", Want("no host path", lambda ls: all(l.startswith(("pipe:", "/dev/null", "/work/", "anon_inode:", "socket:", "/memfd:")) for l in ls)),
          links, "what they name is in the job's root")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        check(f"dev-{name}", target, lambda n=name: os.readlink(f"/dev/{n}"), "as shells expect")
    check("fdinfo", Want("pos and flags", lambda a: "pos:" in a and "flags:" in a), lambda: read("/proc/self/fdinfo/0"), "Python's subprocess looks there")
    check("locks-none", Want("none of this job's", lambda a: isinstance(a, str)), lambda: str(len(read("/proc/locks").splitlines())),
          "locks of the host carry no names")


def state_of(number):
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return "closed"
    return "own" if flags & fcntl.FD_CLOEXEC else "inherited: " + os.readlink(f"/proc/self/fd/{number}")


def opened_from(number):
    fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=number)
    os.close(fd)
    return "opened"


def reopened(number):
    path = f"/proc/self/fd/{number}"
    opened(path, os.O_WRONLY)
    return "own pipe" if os.readlink(path).startswith("pipe:") else "other"
