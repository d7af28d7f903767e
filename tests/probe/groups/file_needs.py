"""Files as training writes them, in each of the job's own places."""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile

from harness import LIBC, call_result, errno_name, in_child

#: What the profile of that name answers instead.
STRICT = {"fifo": "EPERM"}
PLACES = ("/tmp", "/work", "/outputs", "/dev/shm")


def run(probe, context):
    for place in PLACES:
        name = place.strip("/").replace("/", "-")
        with tempfile.TemporaryDirectory(prefix="probe-", dir=place) as area:
            for what, (action, why) in NEEDS.items():
                probe.must(f"{what}-{name}", lambda a=action, p=area: a(p), why, STRICT.get(what))
    probe.must("copy-between", lambda: copied("/tmp", "/outputs"), "results are copied to the outputs")
    probe.must("copy-between-layers", lambda: copied("/work", "/tmp"), "data is staged")
    probe.must("move-between", moved_between, "shutil.move over file systems")
    probe.must("tempfile-named", lambda: named("/tmp"), "NamedTemporaryFile")
    probe.must("tempfile-default", lambda: tempfile.gettempdir() == "/tmp", "where temporary files go")
    probe.must("work-copy-up", copy_up, "a file of the project can be changed, in the job's own layer")
    probe.must("large-sparse", lambda: sparse(8 << 30), "checkpoints of many gigabytes")
    probe.must("disk-free", lambda: shutil.disk_usage("/outputs").free > 0, "programs look before they write")
    probe.must("script-in-work", script, "the project's own programs")


def path(area, name):
    return os.path.join(area, name)


def atomic_rename(area):
    with open(path(area, "a"), "w", encoding="ascii") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
    os.replace(path(area, "a"), path(area, "b"))
    directory = os.open(area, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return open(path(area, "b"), encoding="ascii").read() == "x"


def renamed_exchange(area):
    for name in "pq":
        open(path(area, name), "wb").close()
    result, code = call_result(316, -100, path(area, "p").encode(), -100, path(area, "q").encode(), 2)
    return result == 0 or errno_name(code) == "EINVAL"


def hard_link(area):
    open(path(area, "h"), "wb").close()
    os.link(path(area, "h"), path(area, "h2"))
    return os.stat(path(area, "h")).st_nlink == 2


def symlink(area):
    os.symlink("target", path(area, "s"))
    return os.readlink(path(area, "s")) == "target"


def fifo(area):
    os.mkfifo(path(area, "f"))
    pid = os.fork()
    if pid == 0:
        with open(path(area, "f"), "wb") as file:
            file.write(b"through")
        os._exit(0)
    with open(path(area, "f"), "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    return content == b"through"


def unix_socket(area):
    import socket
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        os.chdir(area)  # names of sockets are short
        try:
            server.bind("u")
            server.listen()
            client.connect("u")
            return True
        finally:
            os.chdir("/work")


def flocked(area):
    with open(path(area, "l"), "wb") as one, open(path(area, "l"), "rb") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        try:
            fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def range_locked(area):
    with open(path(area, "r"), "wb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        return in_child(lambda: refused_lock(path(area, "r")))


def refused_lock(name):
    with open(name, "wb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        except OSError:
            return True
    return False


def open_description_lock(area):
    with open(path(area, "o"), "wb+") as file:
        # F_OFD_SETLK of a write lock on the whole file
        fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))


def temporary_file(area):
    fd = os.open(area, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"x")
    os.close(fd)


def named_temporary(area):
    fd = os.open(area, os.O_TMPFILE | os.O_RDWR, 0o600)
    # linkat with AT_SYMLINK_FOLLOW, which Python does not always pass on.
    result, code = call_result(265, -100, f"/proc/self/fd/{fd}".encode(), -100, path(area, "t").encode(), 0x400)
    os.close(fd)
    return errno_name(code) if result == -1 else os.path.exists(path(area, "t"))


def preallocated(area):
    fd = os.open(path(area, "e"), os.O_CREAT | os.O_RDWR, 0o600)
    os.posix_fallocate(fd, 0, 1 << 16)
    size = os.fstat(fd).st_size
    os.close(fd)
    return size == 1 << 16


def punched(area):
    fd = os.open(path(area, "ph"), os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, b"x" * (1 << 16))
    result, code = call_result(285, fd, 3, 0, 4096)
    os.close(fd)
    return result == 0 or errno_name(code) == "EOPNOTSUPP"


def attributes(area):
    name = path(area, "x")
    open(name, "wb").close()
    try:
        os.setxattr(name, "user.probe", b"v")
    except OSError as e:
        # tmpfs has them since Linux 6.6.
        return errno_name(e.errno) == "EOPNOTSUPP" or errno_name(e.errno)
    return os.getxattr(name, "user.probe") == b"v" and os.listxattr(name) == ["user.probe"]


def sent(area):
    with open(path(area, "s1"), "wb+") as one, open(path(area, "s2"), "wb+") as two:
        one.write(b"sent")
        one.flush()
        return os.sendfile(two.fileno(), one.fileno(), 0, 4) == 4


def range_copied(area):
    with open(path(area, "c1"), "wb+") as one, open(path(area, "c2"), "wb+") as two:
        one.write(b"copy")
        one.flush()
        return os.copy_file_range(one.fileno(), two.fileno(), 4, 0, 0) == 4


def deep(area):
    at = area
    for _ in range(60):
        at = path(at, "d" * 20)
        os.mkdir(at)
    shutil.rmtree(path(area, "d" * 20))


def many(area):
    for number in range(200):
        open(path(area, f"n{number}"), "wb").close()
    return len([n for n in os.listdir(area) if n.startswith("n")]) == 200


def vectored(area):
    with open(path(area, "v"), "wb+") as file:
        os.pwritev(file.fileno(), [b"ab", b"cd"], 2)
        return os.pread(file.fileno(), 4, 2) == b"abcd"


def direct(area):
    try:
        fd = os.open(path(area, "di"), os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
    except OSError as e:
        return errno_name(e.errno) == "EINVAL"
    os.close(fd)


def statx(area):
    return call_result(332, -100, area.encode(), 0, 0xFFF, ctypes.create_string_buffer(256))[0] == 0


def access2(area):
    return call_result(439, -100, area.encode(), 4, 0)[0] == 0


def synced(area):
    with open(path(area, "y"), "wb") as file:
        file.write(b"y")
        file.flush()
        os.fdatasync(file.fileno())
        LIBC.syncfs(file.fileno())


def advised(area):
    with open(path(area, "ad"), "wb+") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)


NEEDS = {
    "atomic-rename": (atomic_rename, "checkpoints are written under another name and renamed"), "rename-exchange": (renamed_exchange, "renameat2"),
    "hard-link": (hard_link, "caches link"), "symlink": (symlink, "latest -> run-7"), "fifo": (fifo, "named pipes"), "unix-socket": (unix_socket, "multiprocessing's listeners"),
    "flock": (flocked, "caches of models lock"), "range-lock": (range_locked, "sqlite locks"), "description-lock": (open_description_lock, "newer locks"),
    "o-tmpfile": (temporary_file, "files without a name"), "o-tmpfile-named": (named_temporary, "and named when complete"), "fallocate": (preallocated, "space reserved"),
    "punch-hole": (punched, "space given back"), "xattr": (attributes, "labels"), "sendfile": (sent, "zero copy"), "copy-range": (range_copied, "cp"),
    "deep": (deep, "deep trees"), "many": (many, "many files"), "vectored": (vectored, "writev"), "direct": (direct, "O_DIRECT"), "statx": (statx, "ls"),
    "faccessat2": (access2, "access"), "fsync": (synced, "durable"), "fadvise": (advised, "read ahead"),
}


def copied(source, target):
    with tempfile.NamedTemporaryFile(dir=source, prefix="probe-") as file:
        file.write(b"x" * 100_000)
        file.flush()
        shutil.copy2(file.name, f"{target}/probe-copied")
    same = os.path.getsize(f"{target}/probe-copied") == 100_000
    os.unlink(f"{target}/probe-copied")
    return same


def moved_between():
    with open("/tmp/probe-moved", "wb") as file:
        file.write(b"x")
    shutil.move("/tmp/probe-moved", "/outputs/probe-moved")
    os.unlink("/outputs/probe-moved")


def named(place):
    with tempfile.NamedTemporaryFile(dir=place) as file:
        return os.path.exists(file.name)


def copy_up():
    for directory, _, names in os.walk("/work"):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(directory, name), "ab"):
                    return True
    return True


def sparse(size):
    fd = os.open("/outputs/probe-sparse", os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, size)
    os.pwrite(fd, b"x", size - 1)
    os.close(fd)
    right = os.path.getsize("/outputs/probe-sparse") == size
    os.unlink("/outputs/probe-sparse")
    return right


def script():
    name = "/work/probe-script"
    with open(name, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\necho ran\n")
    os.chmod(name, 0o755)
    try:
        return subprocess.check_output([name], text=True) == "ran\n"
    finally:
        os.unlink(name)
