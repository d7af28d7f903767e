"""What an ordinary training job needs: processes, threads, descriptors, time, libraries."""

import asyncio
import ctypes
import fcntl
import importlib
import locale
import os
import pathlib
import queue
import resource
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time

from harness import LIBC, call_result, errno_name, in_child, read

MODULES = (
    "_bz2", "_ctypes", "_decimal", "_elementtree", "_hashlib", "_lzma", "_multiprocessing", "_posixshmem", "_sqlite3", "_ssl", "_uuid", "asyncio",
    "concurrent.futures", "csv", "ctypes.util", "curses", "dbm", "email", "gzip", "http.server", "json", "logging.handlers", "lzma", "mmap",
    "multiprocessing.shared_memory", "pickle", "platform", "readline", "secrets", "shutil", "sqlite3", "ssl", "tarfile", "unittest", "urllib.request",
    "uuid", "venv", "webbrowser", "xml.etree.ElementTree", "zipfile", "zoneinfo", "faulthandler", "tracemalloc", "cProfile", "resource", "syslog",
)


def run(probe, context):
    must, check = probe.must, probe.check
    threads(must)
    descriptors(must)
    signals_and_time(must)
    children(must)
    facts(must, check)
    libraries(must, check)


def threads(must):
    def many():
        done = []
        workers = [threading.Thread(target=lambda i=i: done.append(i)) for i in range(32)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        return len(done) == 32

    def locks():
        condition, ready = threading.Condition(), []
        worker = threading.Thread(target=lambda: (condition.acquire(), ready.append(1), condition.notify(), condition.release()))
        with condition:
            worker.start()
            return condition.wait_for(lambda: ready, 5)

    def big_stack():
        old = threading.stack_size(64 << 20)
        try:
            worker = threading.Thread(target=lambda: None)
            worker.start()
            worker.join()
        finally:
            threading.stack_size(old)

    def executor():
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(len, ["ab"] * 50)) == 100

    def handed():
        box = queue.Queue()
        threading.Thread(target=box.put, args=(1,)).start()
        return box.get(timeout=5) == 1

    must("threads", many, "BLAS, data loaders, everything")
    must("thread-locks", locks, "futexes")
    must("thread-stack", big_stack, "large stacks")
    must("thread-pool", executor, "pools")
    must("thread-queue", handed, "queues")
    must("thread-local", lambda: setattr(threading.local(), "x", 1), "thread storage")
    must("thread-native-id", lambda: threading.get_native_id() > 0, "gettid")
    must("thread-affinity", lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)), "pinning of threads")
    must("thread-yield", os.sched_yield, "spinning pools")
    must("thread-barrier", lambda: threading.Barrier(1).wait(5) == 0, "barriers")
    must("membarrier", lambda: call_result(324, 0, 0, 0)[0] >= 0, "lock-free allocators ask for it")
    must("rseq", lambda: errno_name(call_result(334, 0, 0, 0, 0)[1]) != "EPERM", "glibc registers it in every thread")
    must("futex_waitv", lambda: errno_name(call_result(449, 0, 0, 0, 0, 0)[1]) != "EPERM", "newer runtimes wait on several")
    must("robust-list", lambda: call_result(273, ctypes.create_string_buffer(24), 24)[0] == 0, "mutexes survive their holder")


def descriptors(must):
    def epoll():
        ours, theirs = socket.socketpair()
        with ours, theirs, select.epoll() as watch:
            watch.register(ours, select.EPOLLIN | select.EPOLLET)
            theirs.send(b"!")
            return watch.poll(5)[0][1] == select.EPOLLIN

    def poll():
        ours, theirs = os.pipe()
        watch = select.poll()
        watch.register(ours, select.POLLIN)
        os.write(theirs, b"!")
        answer = watch.poll(5000)
        os.close(ours)
        os.close(theirs)
        return answer[0][0] == ours

    def selected():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.send(b"!")
            return select.select([ours], [], [], 5)[0] == [ours]

    def eventfd():
        fd = os.eventfd(3) if hasattr(os, "eventfd") else call_result(290, 3, 0)[0]
        value = int.from_bytes(os.read(fd, 8), "little")
        os.close(fd)
        return value == 3

    def timerfd():
        fd = call_result(283, 1, 0)[0]
        spec = (ctypes.c_long * 4)(0, 0, 0, 1_000_000)
        if call_result(286, fd, 0, spec, 0)[0] != 0:
            return False
        value = int.from_bytes(os.read(fd, 8), "little")
        os.close(fd)
        return value >= 1

    def signalfd():
        def inside():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            fd = call_result(289, -1, (ctypes.c_uint64 * 1)(1 << signal.SIGUSR1 - 1), 8, 0)[0]
            os.kill(os.getpid(), signal.SIGUSR1)
            return int.from_bytes(os.read(fd, 128)[:4], "little") == signal.SIGUSR1

        return in_child(inside)

    def pidfd():
        child = subprocess.Popen(["sleep", "60"])
        fd = os.pidfd_open(child.pid)
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        ready = select.select([fd], [], [], 5)[0] == [fd]
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
        os.close(fd)
        return child.wait() == -signal.SIGTERM and ready

    def inotify():
        fd = LIBC.inotify_init1(0)
        with tempfile.TemporaryDirectory() as place:
            LIBC.inotify_add_watch(fd, place.encode(), 0x100)
            open(f"{place}/new", "wb").close()
            name = os.read(fd, 4096)[16:].rstrip(b"\0")
        os.close(fd)
        return name == b"new"

    def passed():
        ours, theirs = socket.socketpair()
        with ours, theirs, tempfile.TemporaryFile() as file:
            file.write(b"passed")
            file.flush()
            socket.send_fds(ours, [b"x"], [file.fileno()])
            _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
            content = os.pread(fds[0], 6, 0)
            os.close(fds[0])
            return content == b"passed"

    def credentials():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8] == (1000).to_bytes(4, "little")

    def memfd():
        fd = os.memfd_create("probe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, 4096)
        fcntl.fcntl(fd, 1033, 0x2 | 0x4)  # F_ADD_SEALS, shrink and grow
        os.close(fd)

    def memfd_exec():
        """JITs and loaders run code from anonymous files."""
        fd = os.memfd_create("probe-exec")
        with open("/bin/true", "rb") as program:
            os.write(fd, program.read())
        return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(f"/proc/self/fd/{fd}", ["true"], {}), 0)[1]) == 0

    def many():
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(500)]
        for fd in opened:
            os.close(fd)

    def spliced():
        ours, theirs = os.pipe()
        with open("/dev/zero", "rb", buffering=0) as zero:
            moved = os.splice(zero.fileno(), theirs, 100) if hasattr(os, "splice") else call_result(275, zero.fileno(), 0, theirs, 0, 100, 0)[0]
        os.close(ours)
        os.close(theirs)
        return moved == 100

    must("epoll", epoll, "event loops")
    must("epoll_pwait2", lambda: errno_name(call_result(441, -1, 0, 1, 0, 0, 8)[1]) in ("EBADF", "EINVAL", "EFAULT"), "newer event loops")
    must("poll", poll, "subprocess")
    must("select", selected, "servers")
    must("eventfd", eventfd, "event loops wake themselves")
    must("timerfd", timerfd, "event loops")
    must("signalfd", signalfd, "supervisors of workers")
    must("pidfd", pidfd, "waiting for workers without races")
    must("inotify", inotify, "TensorBoard follows directories")
    must("pass-descriptors", passed, "PyTorch shares tensors by descriptor")
    must("peer-credentials", credentials, "who is on the other end")
    must("memfd", memfd, "shared tensors")
    must("memfd-exec", memfd_exec, "loaders of code")
    must("many-descriptors", many, "500 open files")
    must("splice", spliced, "zero copy", strict="ENOSYS|false")
    must("dup", lambda: os.close(os.dup(1)), "redirection")
    must("pipe-size", lambda: fcntl.fcntl(1, 1032) >= 4096, "F_GETPIPE_SZ")
    must("close-range", lambda: call_result(436, 900, 1000, 0)[0] == 0, "subprocess closes with it")
    must("fcntl-owner", lambda: fcntl.fcntl(0, fcntl.F_GETOWN) is not None, "signals of descriptors")


def signals_and_time(must):
    def handler():
        seen = []
        old = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, old)
        return seen == [1]

    def alarm():
        old = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        answer = signal.sigtimedwait({signal.SIGALRM}, 0) if False else time.sleep(0.03)
        signal.signal(signal.SIGALRM, old)
        return answer is None

    def posix_timer():
        identity = ctypes.c_int()
        event = (ctypes.c_int * 16)(0, 0, 0, 1)  # SIGEV_NONE
        if call_result(222, 1, event, ctypes.byref(identity))[0] != 0:
            return False
        return call_result(226, identity.value)[0] == 0

    must("signal-handler", handler, "checkpoints on TERM")
    must("signal-mask", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(), "libraries mask around threads")
    must("itimer", alarm, "timeouts")
    must("posix-timer", posix_timer, "profilers", strict="false")
    for name in ("REALTIME", "MONOTONIC", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID", "MONOTONIC_RAW", "BOOTTIME", "TAI"):
        if hasattr(time, f"CLOCK_{name}"):
            must(f"clock-{name}", lambda n=name: time.clock_gettime(getattr(time, f"CLOCK_{n}")) >= 0, "clocks")
    must("clock-resolution", lambda: time.clock_getres(time.CLOCK_MONOTONIC) < 0.1, "clocks")
    must("sleep", lambda: time.sleep(0.001), "waiting")
    must("time-sane", lambda: time.time() > 1_700_000_000, "the real time, not a tricked one")
    must("getrandom", lambda: len(os.getrandom(32)) == 32, "seeds")
    must("urandom", lambda: os.urandom(16) != os.urandom(16), "seeds")


def children(must):
    def shell(text):
        return subprocess.check_output(["sh", "-c", text], text=True).strip()

    def orphan():
        subprocess.check_call(["sh", "-c", "(sleep 0.01 &) ; exit 0"])

    must("subprocess", lambda: shell("echo sub") == "sub", "shells")
    must("pipeline", lambda: shell("printf 'b\\na\\n' | sort | head -n 1") == "a", "pipes")
    must("here-document", lambda: shell("cat <<X\nhere\nX") == "here", "shells write temporary files or pipes")
    must("background", lambda: shell("sleep 0.01 & wait $!; echo $?") == "0", "job control without a terminal")
    must("stdin-text", lambda: subprocess.run(["cat"], input="x", capture_output=True, text=True, check=True).stdout == "x", "feeding a child")
    must("kill-group", lambda: subprocess.run(["sh", "-c", "kill -TERM -$$"], start_new_session=True).returncode == -15, "process groups")
    must("vfork", lambda: subprocess.call(["true"], close_fds=False) == 0, "posix_spawn")
    must("orphan", orphan, "the agent reaps what is left")
    must("preexec", lambda: subprocess.call(["true"], preexec_fn=os.setsid) == 0, "launchers start sessions")
    must("exit-code", lambda: subprocess.call(["sh", "-c", "exit 42"]) == 42, "statuses")
    must("fork", lambda: os.waitstatus_to_exitcode(os.waitpid(os.fork() or os._exit(7), 0)[1]) == 7, "fork")
    must("nice-up", lambda: in_child(lambda: os.nice(5)) == 5 or None, "loaders lower their priority")
    must("rusage", lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0, "memory of workers")
    must("times", lambda: os.times().user >= 0, "times")
    must("script", lambda: subprocess.check_output([sys.executable, "-c", "print(1+1)"], text=True).strip() == "2", "another interpreter")
    must("script-isolated", lambda: subprocess.call([sys.executable, "-I", "-S", "-c", ""]) == 0, "the same, bare")
    for tool in ("ls", "cat", "grep", "sed", "awk", "tar", "gzip", "find", "xargs", "env", "date", "df", "du", "head", "sort", "wc", "uname", "nproc", "ps", "free", "file"):
        if any(os.path.exists(f"{d}/{tool}") for d in ("/usr/bin", "/bin")):
            must(f"tool-{tool}", lambda t=tool: tool_runs(t), "people's scripts call it")


def tool_runs(tool):
    words = {
        "awk": ["BEGIN{exit 0}"], "grep": ["root", "/etc/passwd"], "sed": ["-n", "1p", "/etc/passwd"], "cat": ["/etc/passwd"], "find": ["/work", "-maxdepth", "0"],
        "gzip": ["-c", "/etc/passwd"], "tar": ["-cf", "/dev/null", "/etc/passwd"], "du": ["-s", "/etc/passwd"], "head": ["/etc/passwd"], "sort": ["/etc/passwd"],
        "wc": ["/etc/passwd"], "xargs": ["-a", "/dev/null"], "file": ["/bin/sh"], "ls": ["-la", "/"], "df": ["/tmp"],
    }.get(tool, [])
    done = subprocess.run([tool, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return True if done.returncode == 0 else f"{done.returncode}: {done.stderr.strip()[:200]}"


def facts(must, check):
    must("cpu-count", lambda: os.cpu_count() >= 1, "pools size themselves by it")
    must("cpu-count-libc", lambda: os.sysconf("SC_NPROCESSORS_ONLN") >= 1, "the same in C")
    must("page-size", lambda: os.sysconf("SC_PAGE_SIZE") == 4096, "facts")
    must("physical-pages", lambda: os.sysconf("SC_PHYS_PAGES") > 0, "caches size themselves by it")
    must("load-average", lambda: len(os.getloadavg()) == 3, "facts")
    must("uname", lambda: os.uname().sysname == "Linux", "facts")
    must("platform", lambda: __import__("platform").platform() != "", "what bug reports hold")
    must("os-release", lambda: "ID=" in read("/usr/lib/os-release"), "platform.freedesktop_os_release")
    must("sysinfo", lambda: call_result(99, ctypes.create_string_buffer(128))[0] == 0, "free(1)")
    must("getcpu", lambda: call_result(309, ctypes.create_string_buffer(4), 0, 0)[0] == 0, "per-CPU caches")
    must("numa-ask", lambda: errno_name(call_result(239, 0, 0, 0, 0, 0)[1]) != "EPERM", "get_mempolicy: NCCL, BLAS")
    must("numa-set", lambda: in_child(lambda: call_result(238, 0, 0, 0)[0] in (0, -1)), "set_mempolicy")
    check("max-rss-unlimited", "-1", resource.getrlimit(resource.RLIMIT_RSS)[0], "memory is bounded by the cgroup alone")


def libraries(must, check):
    for module in MODULES:
        must(f"import-{module}", lambda m=module: importable(m), "the standard library is whole")
    must("zone", lambda: str(__import__("zoneinfo").ZoneInfo("Europe/Berlin").utcoffset(__import__("datetime").datetime(2026, 7, 1))) == "2:00:00", "time zones")
    must("local-time", lambda: time.localtime().tm_year >= 2024, "local time")
    must("locale", lambda: bool(locale.setlocale(locale.LC_ALL, "")), "the locale of LANG exists")
    must("encoding", lambda: sys.getfilesystemencoding() == "utf-8" and locale.getpreferredencoding(False).upper() == "UTF-8", "UTF-8 everywhere")
    must("unbuffered", lambda: sys.stdout.line_buffering or sys.stdout.write_through or os.environ.get("PYTHONUNBUFFERED") == "1", "lines appear when printed")
    must("tls-context", lambda: len(__import__("ssl").create_default_context().get_ca_certs()) >= 0, "requests loads certificates when imported")
    must("sqlite", sqlite, "Optuna and MLflow keep their state so")
    must("sqlite-wal", lambda: sqlite("wal"), "write-ahead log: shared memory files and locks")
    must("hash", lambda: __import__("hashlib").sha256(b"").hexdigest().startswith("e3b0"), "checksums")
    must("uuid", lambda: bool(__import__("uuid").uuid1()), "run ids; uuid1 looks for a card")
    must("ctypes-callback", callback, "libffi needs executable memory or memfd")
    must("find-library", lambda: bool(__import__("ctypes.util").util.find_library("c")), "ldconfig -p, gcc or /etc/ld.so.cache")
    must("home-path", lambda: pathlib.Path.home() == pathlib.Path("/tmp"), "caches")
    must("cache-directory", lambda: os.makedirs(os.path.expanduser("~/.cache/probe/deep"), exist_ok=True), "HF_HOME, matplotlib, Triton")
    must("mime", lambda: __import__("mimetypes").guess_type("x.png")[0] == "image/png", "servers")
    must("asyncio", lambda: asyncio.run(gathered()) == [0, 1, 2], "event loop with a child")
    must("logging-syslog-absent", lambda: __import__("syslog").syslog("probe"), "syslog without a daemon must not fail")
    must("compile", lambda: __import__("compileall").compile_dir(tempfile.mkdtemp(), quiet=2), "byte code")
    must("site-packages", lambda: os.path.isdir(sysconfig.get_paths()["stdlib"]), "where Python lives")
    must("faulthandler", lambda: __import__("faulthandler").enable(), "an alternate signal stack")
    must("getpass", lambda: __import__("getpass").getuser() == "job", "torch.compile's cache directory")
    must("expanduser-name", lambda: os.path.expanduser("~job") == "/tmp", "by name")


def importable(module):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as e:
        # Debian leaves some out (venv, dbm, readline); that is not the sandbox's doing.
        return True if e.name and not os.path.exists(f"{sysconfig.get_paths()['stdlib']}/{e.name.split('.')[0]}.py") else str(e)
    return True


def sqlite(journal="delete"):
    import sqlite3
    with tempfile.TemporaryDirectory(dir="/work") as place, sqlite3.connect(f"{place}/db") as db:
        db.execute(f"pragma journal_mode={journal}")
        db.execute("create table t (x)")
        db.execute("insert into t values (7)")
        db.commit()
        return db.execute("select x from t").fetchone() == (7,)


def callback():
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))(lambda a, b: a[0] - b[0])
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    LIBC.qsort(numbers, 3, 4, compare)
    return list(numbers) == [1, 2, 3]


async def gathered():
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()

    async def one(number):
        await asyncio.sleep(0)
        return number

    return await asyncio.gather(*(one(n) for n in range(3)))
