"""What every attack shares: attempts, and one line of verdict for each.

A script runs as a job. It says what each attempt must be answered with, so that
an attack that fails for another reason than the sandbox does not count.
"""

import ctypes
import errno
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def verdict(name, said, expected):
    word = "held" if said in expected.split() else "BROKEN"
    print(f"{word} {name}: {said} (expected {expected})", flush=True)


def attempt(name, expected, f, *args):
    """Calls f; its errno must be one of the expected names."""
    try:
        said = f"OPEN={f(*args)!r}".replace(" ", "_")
    except OSError as e:
        said = errno.errorcode.get(e.errno, str(e.errno))
    verdict(name, said, expected)


def in_child(name, expected, f, *args):
    """As attempt, in a process of its own: how that ended counts, if by a signal."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            said = f"OPEN={f(*args)!r}".replace(" ", "_")
        except OSError as e:
            said = errno.errorcode.get(e.errno, str(e.errno))
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 200).decode()
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        said = signal.Signals(os.WTERMSIG(status)).name
    verdict(name, said, expected)


def call(number, *args):
    """A system call by its number on x86-64."""
    ctypes.set_errno(0)
    words = [ctypes.c_ulong(a % 2**64) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def read(path):
    with open(path, "rb") as f:
        return f.read(4096)


def write(path, data=b"x"):
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def done():
    print("done", flush=True)
