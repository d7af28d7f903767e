"""What the groups of checks are written with.

A check is an expectation and a function that says what is. It never stops the
probe: an exception is an answer too, and becomes the name of its errno or type.
"""

import ctypes
import errno
import json
import os
import select
import signal
import struct
import sys
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NO_FD = -1


class Context:
    """What the probe was told about the job it runs as."""

    def __init__(self, profile, network, host):
        self.profile = profile
        self.network = network
        #: Facts that only the one who started the job knows; empty when a
        #: person runs the probe by hand.
        self.host = host

    @property
    def loopback(self):
        return self.network == "loopback"

    @property
    def strict(self):
        return self.profile == "strict"

    @property
    def cuda(self):
        """The job sees an NVIDIA card: CUDA names its threads in /proc, so a job may
        write what is its own processes' there."""
        return os.path.exists("/dev/nvidiactl")

    @property
    def traces(self):
        """Profiles under which a job may look into its own processes."""
        return self.profile in ("notebook", "debug")

    @property
    def terminals(self):
        """Profiles under which a job has pseudo-terminals of its own."""
        return self.profile in ("notebook", "debug")


class Want:
    """An expectation that is more than a list of words."""

    def __init__(self, words, test):
        self.words = words
        self.test = test

    def __str__(self):
        return self.words


class Probe:
    """Runs checks, prints each as it is decided, counts them."""

    def __init__(self, context, out=sys.stdout, only=None):
        self.context = context
        self.out = out
        self.only = only
        self.group = ""
        self.seen = set()
        self.counts = {}
        self.failed = []

    def begin(self, group):
        self.group = group
        self.counts[group] = 0

    def check(self, name, expect, got, why, strict=None):
        """`expect`: a Want, or the answers that are right, separated by |.
        `got`: the answer or what finds it. `strict`: what is right instead
        under the profile of that name, which leaves out what training on one
        machine can do without."""
        if strict is not None and self.context.strict:
            expect = strict
        full = f"{self.group}.{name}"
        if full in self.seen:
            raise ValueError(f"two checks are called {full}")
        self.seen.add(full)
        if self.only and not full.startswith(self.only):
            return
        answer = attempt(got) if callable(got) else got
        text = answer if isinstance(answer, str) else json.dumps(answer, default=str)
        if isinstance(expect, Want):
            ok = attempt(lambda: bool(expect.test(answer))) is True
        else:
            expect = expect if isinstance(expect, str) else json.dumps(expect)
            ok = text in expect.split("|") or text == expect
        self.counts[self.group] += 1
        line = {"id": full, "group": self.group, "expect": str(expect), "got": text[:600], "ok": ok, "why": why}
        if not ok:
            self.failed.append(line)
        print(json.dumps(line), file=self.out, flush=not ok)

    def must(self, name, action, why, strict=None):
        """A need: the action ends without an exception, and with nothing or a
        true value; a text says what went wrong."""

        def run():
            answer = action()
            good = answer is None or (answer and not isinstance(answer, str))
            return "works" if good else answer

        self.check(name, "works", run, why, strict)

    def summary(self):
        total = sum(self.counts.values())
        return {
            "summary": True,
            "profile": self.context.profile,
            "network": self.context.network,
            "total": total,
            "passed": total - len(self.failed),
            "failed": [line["id"] for line in self.failed],
            "groups": self.counts,
        }


def attempt(action):
    """The action's result, or the name of what it failed with."""
    try:
        return action()
    except OSError as e:
        return errno_name(e.errno) if e.errno else f"{type(e).__name__}: {e}"
    except Exception as e:  # noqa: BLE001 - whatever it is, it is the answer
        at = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__}: {e} (line {at.lineno} of {os.path.basename(at.filename)})"


def errno_name(number):
    # One number with two names.
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, f"errno {number}")


def call(number, *arguments):
    """A system call by its number: `ok`, or the name of its errno."""
    result, code = call_result(number, *arguments)
    return "ok" if result != -1 else errno_name(code)


def call_result(number, *arguments):
    words = [a if not isinstance(a, int) else ctypes.c_long(signed(a)) for a in arguments]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *words)
    return result, ctypes.get_errno()


def signed(word):
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def in_child(action, seconds=20):
    """The action's answer from a forked child, so that whatever it does to
    its process stays there. The name of the signal where one ended it."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        # What a crash handler or a buffered line would print is the parent's.
        answer = json.dumps(attempt(action), default=str).encode()
        os.write(theirs, answer[:4000])
        os._exit(0)
    os.close(theirs)
    answer = b""
    while select.select([ours], [], [], seconds)[0]:
        part = os.read(ours, 4096)
        if not part:
            break
        answer += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(ours)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return json.loads(answer)


def read(path, limit=1 << 20):
    """What a file holds; one of /proc gives no more than a page at once."""
    with open(path, "rb", buffering=0) as file:
        content = b""
        while len(content) < limit and (part := file.read(limit - len(content))):
            content += part
        return content.decode(errors="replace")


def opened(path, flags=os.O_RDONLY, mode=0o600):
    """`ok` when the path can be opened so."""
    os.close(os.open(path, flags | os.O_CLOEXEC, mode))
    return "ok"


def written(path, content):
    """`ok` when a file that is there takes this."""
    with open(path, "wb", buffering=0) as file:
        file.write(content)
    return "ok"


def exists(path):
    return "there" if os.path.lexists(path) else "absent"


def status_field(name, pid="self"):
    for line in read(f"/proc/{pid}/status").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return " ".join(value.split())
    return "no such field"


def mounts():
    """The job's mount table: one dictionary a mount, in order."""
    table = []
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        words, (kind, source, options) = left.split(), right.split(" ", 2)
        table.append({
            "source": words[3], "at": words[4], "flags": words[5].split(","), "shared": words[6:],
            "kind": kind, "device": source, "options": options.split(","),
        })
    return table


def mount_at(path):
    """The topmost mount that covers a path exactly."""
    return next((m for m in reversed(mounts()) if m["at"] == path), None)


def struct_bytes(layout, *values):
    return ctypes.create_string_buffer(struct.pack(layout, *values))
