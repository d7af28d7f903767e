"""/dev: five nodes that behave, the usual links, shared memory, and nothing else."""

import fcntl
import mmap
import os
import stat
import struct
import termios

from harness import Want, attempt, call, exists, opened, read

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
OTHERS = {"fd", "stdin", "stdout", "stderr", "shm"}
#: Where a profile gives a job terminals of its own.
OF_TERMINALS = {"ptmx", "pts"}
ABSENT = (
    "mem", "kmem", "port", "kmsg", "console", "tty", "tty0", "tty1", "ttyS0", "ptmx", "pts", "pts/0", "vcs", "vcsa", "fuse", "kvm", "loop0",
    "loop-control", "sda", "sda1", "vda", "nvme0", "nvme0n1", "dm-0", "mapper", "mapper/control", "disk", "block", "char", "cuse", "uinput", "uhid", "input", "input/event0",
    "net", "net/tun", "vhost-net", "vhost-vsock", "vsock", "vfio", "vfio/vfio", "hpet", "rtc", "rtc0", "watchdog", "watchdog0", "cpu_dma_latency", "cpu/0/msr",
    "mcelog", "snapshot", "userfaultfd", "udmabuf", "dma_heap", "btrfs-control", "autofs", "log", "initctl", "mqueue", "hugepages", "hugetlbfs", "core",
    "snd", "video0", "media0", "bus", "bus/usb", "gpiochip0", "i2c-0", "spidev0.0", "tpm0", "tpmrm0", "sgx_enclave", "ipmi0", "raw", "rfkill", "ppp", "zram0", "binder",
)
GPU = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "dri", "dri/card0", "dri/renderD128", "kfd", "infiniband", "fb0")


def run(probe, context):
    check = probe.check
    gpu = context.profile == "gpu" or context.cuda
    others = OTHERS | OF_TERMINALS if context.terminals else OTHERS
    names = set(os.listdir("/dev"))
    check("nothing-else", "[]", sorted(n for n in names - set(NODES) - others if not (gpu and n.startswith(("nvidia", "dri", "kfd", "infiniband")))), "every node is a way into a driver")
    check("complete", "[]", sorted((set(NODES) | others) - names), "what programs expect")
    for name, (major, minor) in NODES.items():
        path = f"/dev/{name}"
        mode = os.stat(path)
        check(f"{name}-kind", "true", stat.S_ISCHR(mode.st_mode), "a device, not a file or a link that lies (CVE-2025-31133)")
        check(f"{name}-number", [major, minor], [os.major(mode.st_rdev), os.minor(mode.st_rdev)], "of the right number")
        check(f"{name}-link", "false", os.path.islink(path), "not a link")
        check(f"{name}-mode", "0o666", oct(stat.S_IMODE(mode.st_mode)), "open to everyone")
        check(f"{name}-read", "ok", lambda p=path: opened(p), "can be read")
        check(f"{name}-write", "ok", lambda p=path: opened(p, os.O_WRONLY), "can be written")
        check(f"{name}-chmod", "EPERM|EROFS|EACCES", lambda p=path: os.chmod(p, 0o666) or "changed", "the node is the host's own, whoever owns it")
        check(f"{name}-utime", "EROFS|EPERM|EACCES", lambda p=path: os.utime(p) or "changed", "its times are the host's, and everyone may write it")
        check(f"{name}-xattr", "EROFS|EPERM|EACCES|EOPNOTSUPP", lambda p=path: os.setxattr(p, "user.x", b"y") or "set", "the same")
        check(f"{name}-unlink", "EROFS|EPERM|EACCES|EBUSY", lambda p=path: os.unlink(p) or "gone", "it stays")
        check(f"{name}-exec", "EACCES|EPERM", lambda p=path: os.execv(p, [p]), "nothing to execute")
    behaviour(check)
    for name in (n for n in ABSENT if not (context.terminals and n in OF_TERMINALS)):
        check(f"absent-{name.replace('/', '-')}", "absent", lambda n=name: exists(f"/dev/{n}"), "no hardware, no terminal, no kernel interface")
    for name in () if gpu else GPU:
        check(f"absent-{name.replace('/', '-')}", "absent", lambda n=name: exists(f"/dev/{n}"), "cards are given to who asks for one")
    if context.terminals:
        terminals(check)
    else:
        check("pty", Want("refused", lambda a: a != "opened"), lambda: attempt(terminal), "no terminals: a job has nobody to type")
    check("not-writable", "EROFS|EACCES|EPERM", lambda: opened("/dev/probe", os.O_CREAT | os.O_WRONLY), "nothing can be added")
    check("shm-empty", Want("only this probe's", lambda a: all(n.startswith(("probe", "psm_", "sem.", "pym", "mp-")) for n in a)), lambda: os.listdir("/dev/shm"), "no segment of the host or of another job")
    check("random-ioctl", "EPERM|EACCES|EINVAL", lambda: entropy(0x5204), "the pool cannot be emptied (RNDZAPENTCNT)")
    check("random-add", "EPERM|EACCES|EINVAL", lambda: entropy(0x40085203), "nor credited (RNDADDENTROPY)")
    check("random-reseed", "EPERM|EACCES|EINVAL", lambda: entropy(0x5207), "nor reseeded (RNDRESEEDCRNG)")


def behaviour(check):
    check("null-reads-end", "", lambda: read("/dev/null", 16), "end of file at once")
    check("null-swallows", "4096", lambda: str(written("/dev/null")), "writes vanish")
    check("zero-reads-zeros", "true", lambda: raw("/dev/zero", 64) == bytes(64), "zeros")
    check("full-refuses", "ENOSPC", lambda: str(written("/dev/full")), "no space left on device")
    check("full-reads-zeros", "true", lambda: raw("/dev/full", 64) == bytes(64), "zeros")
    for name in ("random", "urandom"):
        check(f"{name}-random", Want("64 bytes, not all the same", lambda n: n > 20), lambda n=name: len(set(raw(f"/dev/{n}", 64))), "never blocks")
        check(f"{name}-differs", "true", lambda n=name: raw(f"/dev/{n}", 32) != raw(f"/dev/{n}", 32), "never repeats")
    check("zero-map", "0", lambda: str(zero_map()), "the old way to anonymous memory")


def raw(path, count):
    with open(path, "rb", buffering=0) as file:
        return file.read(count)


def written(path):
    with open(path, "wb", buffering=0) as file:
        return file.write(bytes(4096))


def zero_map():
    with open("/dev/zero", "rb+", buffering=0) as file, mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE) as area:
        return area[100]


def terminals(check):
    check("pts-empty", "['ptmx']", lambda: str(os.listdir("/dev/pts")), "no terminal of the host or of another job")
    check("pty", "opened", lambda: attempt(terminal), "debuggers and notebooks talk to programs as a person would")
    check("ptmx-link", "pts/ptmx", lambda: os.readlink("/dev/ptmx"), "the way to the job's own instance and to no other")
    check("ptmx-number", [5, 2], lambda: number("/dev/pts/ptmx"), "what its name says")
    check("pts-owner", "false", lambda: os.stat("/dev/pts").st_uid == os.getuid(), "the directory is not the job's")
    for name, act in {
        "create": lambda: opened("/dev/pts/probe", os.O_CREAT | os.O_WRONLY), "mkdir": lambda: os.mkdir("/dev/pts/probe") or "made",
        "unlink": lambda: os.unlink("/dev/pts/ptmx") or "gone", "chmod": lambda: os.chmod("/dev/pts/ptmx", 0o600) or "changed",
        "link": lambda: os.symlink("/dev/null", "/dev/pts/probe") or "made",
    }.items():
        check(f"pts-{name}", "EROFS|EACCES|EPERM", act, "the kernel alone makes entries there")
    ours, theirs = os.openpty()
    try:
        check("pty-name", "/dev/pts/0", lambda: os.ttyname(theirs), "the first of its own instance")
        check("pty-seen", "['0', 'ptmx']", lambda: str(sorted(os.listdir("/dev/pts"))), "it alone")
        check("pty-number", [136, 0], lambda: number("/dev/pts/0"), "what its name says")
        check("pty-owner", str(os.getuid()), lambda: str(os.fstat(theirs).st_uid), "who opens one owns it")
        check("pty-mode", "0o600", lambda: oct(stat.S_IMODE(os.fstat(theirs).st_mode)), "and nobody else uses it")
        check("pty-size", "ok", lambda: fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0)) and "ok", "programs draw by it")
        check("pty-exec", "EACCES|EPERM", lambda: os.execv("/dev/pts/0", ["x"]), "nothing to execute")
        for name, request in {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423, "TIOCCONS": 0x541D}.items():
            for fd, what in ((ours, "ours"), (theirs, "theirs")):
                for high in (0, 1 << 32):
                    check(f"pty-{name}-{what}-{high >> 32}", "EPERM", lambda r=request | high, f=fd: call(16, f, r, b"x"), "refused on terminals of the job's own as well")
    finally:
        os.close(ours)
        os.close(theirs)
    check("pts-empty-again", "['ptmx']", lambda: str(os.listdir("/dev/pts")), "closed is gone")


def number(path):
    device = os.stat(path).st_rdev
    return [os.major(device), os.minor(device)]


def terminal():
    ours, theirs = os.openpty()
    os.close(ours)
    os.close(theirs)
    return "opened"


def entropy(request):
    fd = os.open("/dev/urandom", os.O_RDWR)
    try:
        return call(16, fd, request, bytes(16))
    finally:
        os.close(fd)
