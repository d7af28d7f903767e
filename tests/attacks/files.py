"""Writing to what may only be read, making what may not be made, and becoming
somebody by executing something."""

import ctypes
import mmap
import os
import stat
import struct
import subprocess
from attack import attempt, call, done, libc, read

NO = "EROFS EACCES EPERM"
TARGET = "/usr/bin/env"
before = read(TARGET)

# The plain ways.
for path in [TARGET, "/etc/passwd", "/usr/lib/os-release", "/proc/version"]:
    attempt(f"open {path}", NO, os.open, path, os.O_RDWR)
    attempt(f"truncate {path}", NO, os.truncate, path, 0)
    attempt(f"chmod {path}", NO, os.chmod, path, 0o777)
    attempt(f"chown {path}", NO, os.chown, path, 1000, 1000)
    attempt(f"remove {path}", NO, os.unlink, path)
    attempt(f"replace {path}", NO + " EXDEV", os.rename, "/work/files.py", path)
    attempt(f"link {path}", NO + " EXDEV", os.link, path, "/work/linked")
    attempt(f"label {path}", NO + " ENOTSUP", os.setxattr, path, "user.x", b"x")
attempt("make in /", NO, os.mkdir, "/x")
attempt("make in /etc", NO, os.mkdir, "/etc/x")
attempt("make in /dev", NO, os.mkdir, "/dev/x")
attempt("link over /etc", NO + " EEXIST", os.symlink, "/work", "/etc")

# Dirty pipe: the page cache by way of a pipe whose buffers were used before.
r, w = os.pipe()
os.write(w, b"x" * 65536)
os.read(r, 65536)
fd = os.open(TARGET, os.O_RDONLY)
os.splice(fd, w, 1, offset_src=0)
os.write(w, b"DIRTY")
# Dirty COW: a private mapping thrown away while it is written.
page = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
attempt("write through /proc/self/mem", NO, os.open, "/proc/self/mem", os.O_RDWR)
attempt("ptrace of oneself", "EPERM", call, 101, 0, 0, 0, 0)
attempt("share a mapping for writing", "EACCES", mmap.mmap, fd, 4096)
print("held the file is as it was" if read(TARGET) == before else "BROKEN the file changed")

# Things that carry rights.
open("/work/own", "w").close()
for mode in (0o4755, 0o2755, 0o6777):
    attempt(f"chmod {mode:o}", "EPERM", os.chmod, "/work/own", mode)
    attempt(f"fchmodat2 {mode:o}", "EPERM ENOSYS", call, 452, -100, b"/work/own", mode, 0)
    attempt(f"open {mode:o}", "EPERM", call, 257, -100, b"/outputs/new", 0o101, mode)
    attempt(f"mknod {mode:o}", "EPERM", call, 133, b"/outputs/new", stat.S_IFREG | mode, 0)
for kind in (stat.S_IFCHR, stat.S_IFBLK):
    for place in ("/work", "/outputs", "/tmp", "/dev/shm"):
        attempt(f"device in {place}", "EPERM", os.mknod, f"{place}/node", kind | 0o666, os.makedev(1, 1))
capability = struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0xffffffff, 0)
attempt("file capability", "EPERM ENOTSUP", os.setxattr, "/work/own", "security.capability", capability)
attempt("overlay attribute", "EPERM ENOTSUP", os.setxattr, "/work/own", "trusted.overlay.redirect", b"/etc")
attempt("give away", "EPERM EINVAL", os.chown, "/work/own", 0, 0)


# Set-id programs, with the environment and the argument lists of the old holes.
def euid_after(path, argv, env):
    script = subprocess.run(argv, executable=path, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    return script.stdout


hostile = {"GLIBC_TUNABLES": "glibc.malloc.mxfast=glibc.malloc.mxfast=A", "LD_PRELOAD": "/work/evil.so",
           "GCONV_PATH": "/work", "CHARSET": "evil", "PATH": "GCONV_PATH=.", "LD_AUDIT": "/work/evil.so"}
for name in ("id-of-owner", "id-of-root", "id-with-capabilities"):
    if os.path.exists(f"/work/{name}"):
        out = euid_after(f"/work/{name}", ["id", "-u"], {})
        print(f"held {name}" if out.strip() in (b"1000", b"") else f"BROKEN {name} ran as {out}")
root, _, found = next(os.walk("/usr/bin"))
for name in found:
    path = os.path.join(root, name)
    if os.lstat(path).st_mode & 0o6000 and stat.S_ISREG(os.lstat(path).st_mode):
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open("/dev/null", os.O_RDWR), 2)
            # No arguments at all, not even a name.
            argv = (ctypes.c_char_p * 1)(None)
            env = (ctypes.c_char_p * (len(hostile) + 1))(*[f"{k}={v}".encode() for k, v in hostile.items()], None)
            libc.execve(path.encode(), argv, env)
            os._exit(0)
        status = os.stat(f"/proc/{pid}")
        print(f"held {name}" if status.st_uid in (1000, 65534) else f"BROKEN {name} became {status.st_uid}")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
out = subprocess.run(["su", "-c", "id -u"], stdin=subprocess.DEVNULL, capture_output=True)
print("held su" if out.stdout.strip() != b"0" else "BROKEN su")

# A program from memory is as confined as any other.
memory = os.memfd_create("program", 0)
os.write(memory, open("/usr/bin/cat", "rb").read())
attempt("set-id memory file", "EPERM", os.fchmod, memory, 0o4755)
out = subprocess.run(["cat", "/proc/self/status"], executable=f"/proc/self/fd/{memory}", pass_fds=[memory],
                     capture_output=True, text=True).stdout
state = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
whole = state["CapEff"] == "0" * 16 and state["NoNewPrivs"] == "1" and state["Seccomp"] == "2" and state["Uid"].split() == ["1000"] * 4
print("held program from memory" if whole else f"BROKEN program from memory: {state}")

open("/dev/shm/program", "wb").write(open("/usr/bin/true", "rb").read())
os.chmod("/dev/shm/program", 0o755)
attempt("program in /dev/shm", "EACCES", os.execv, "/dev/shm/program", ["program"])

# Terminals: the request with and without bits that only a filter would see.
for fd in (0, 1, 2):
    for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541c), ("TIOCSETD", 0x5423)):
        for high in (0, 1 << 32, 0xffffffff << 32):
            attempt(f"{name} on {fd}", "EPERM", call, 16, fd, high | request, b"i")
    print("held no terminal" if not os.isatty(fd) else f"BROKEN {fd} is a terminal")
# Leases and notices of directories reach whoever uses the file outside; the first with a
# descriptor for reading, as a read-only mount gives it, and with bits that only a filter sees.
own = os.open("/tmp/own", os.O_RDONLY | os.O_CREAT)
for high in (0, 1 << 32, 0xffffffff << 32):
    attempt("a lease", "EPERM", call, 72, own, high | 1024, 1)
    attempt("notices of /usr/bin", "EPERM", call, 72, os.open("/usr/bin", os.O_RDONLY), high | 1026, 0x80000001)
for place in ("/outputs", "/work", "/tmp"):
    open(f"{place}/was", "w").close()
    for high in (0, 1 << 32):
        attempt(f"a whiteout in {place}", "EPERM", call, 316, -100, f"{place}/was".encode(), -100, f"{place}/is".encode(), high | 4)
os.rename("/outputs/was", "/outputs/is")
for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/ptmx", "/dev/pts/0", "/dev/vcs", "/dev/fuse", "/dev/kvm",
             "/dev/net/tun", "/dev/vsock", "/dev/loop-control", "/dev/mapper/control", "/dev/uinput", "/dev/cuse"):
    attempt(f"open {path}", "ENXIO ENOENT EACCES", os.open, path, os.O_RDWR)
done()
