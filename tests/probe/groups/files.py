"""What of the host is shown, and that only the job's own places can be changed."""

import os
import stat
import subprocess

from harness import LIBC, Want, attempt, call, exists, in_child, mount_at, opened, read

#: What the root may hold: made by the supervisor, or named by a profile.
ROOT = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev", "etc", "opt", "outputs", "proc", "sys", "tmp", "usr", "work", "mnt", "data"}
ROOT_NEEDED = {"bin", "dev", "etc", "outputs", "proc", "tmp", "usr", "work"}
ETC = {
    "alternatives", "ca-certificates", "fonts", "group", "hostname", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types",
    "nsswitch.conf", "passwd", "protocols", "python3", "python3.11", "python3.12", "python3.13", "resolv.conf", "services", "ssl", "timezone",
    "vulkan", "OpenCL", "glvnd", "nvidia", "R",
}
HIDDEN = (
    "/home", "/root", "/var", "/run", "/boot", "/srv", "/media", "/lost+found", "/vmlinuz", "/initrd.img", "/.dockerenv", "/snap", "/nix",
    "/var/run/docker.sock", "/var/lib", "/var/log", "/var/lib/fetchml", "/var/log/fetchml", "/run/fetchml", "/run/systemd", "/run/credentials",
    "/sys/fs", "/sys/fs/cgroup", "/sys/fs/bpf", "/sys/kernel", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/firmware",
    "/sys/firmware/efi", "/sys/class", "/sys/class/net", "/sys/class/dmi", "/sys/block", "/sys/bus", "/sys/module", "/sys/power", "/sys/hypervisor",
    "/sys/dev", "/sys/devices/virtual", "/sys/devices/virtual/dmi", "/sys/devices/virtual/net", "/sys/devices/virtual/powercap",
    "/sys/devices/platform", "/sys/devices/LNXSYSTM:00", "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh", "/etc/ssl/private",
    "/etc/fetchml", "/etc/systemd", "/etc/docker", "/etc/kubernetes", "/etc/machine-id", "/etc/crontab", "/etc/cron.d", "/etc/fstab",
    "/etc/pam.d", "/etc/security", "/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/default", "/etc/init.d", "/etc/krb5.conf",
    "/etc/netplan", "/etc/network", "/etc/apt", "/etc/mtab", "/oldroot", "/old_root", "/put_old", "/.oldroot", "/host", "/rootfs", "/lower", "/upper",
    "/empty", "/roots",
)
GPU_SYS = {"/sys/class", "/sys/bus", "/sys/module", "/sys/dev", "/sys/devices/virtual"}


def run(probe, context):
    check = probe.check
    top = set(os.listdir("/"))
    extra = set(os.environ.get("PROBE_ALLOWED_ROOT", "").split())
    check("root-nothing-else", "[]", sorted(top - ROOT - extra), "the root shows what the profile says and no more")
    check("root-complete", "[]", sorted(ROOT_NEEDED - top), "what the contract promises is there")
    check("etc-nothing-else", "[]", lambda: sorted(set(os.listdir("/etc")) - ETC), "the same for /etc")
    check("etc-ssl", "[\"certs\"]", lambda: os.listdir("/etc/ssl") if os.path.exists("/etc/ssl") else ["certs"], "no private keys")
    check("sys-nothing-else", "[\"cpu\", \"node\"]", lambda: sorted(os.listdir("/sys/devices/system")) if not context.profile == "gpu" else ["cpu", "node"], "processors and memory nodes")
    check("sys-top", "[\"devices\"]", lambda: sorted(os.listdir("/sys")) if not context.profile == "gpu" else ["devices"], "nothing of /sys that acts on the machine")
    for path in HIDDEN:
        if context.profile == "gpu" and any(path.startswith(p) for p in GPU_SYS):
            continue
        check(f"hidden{path.replace('/', '-')}", "absent", lambda p=path: exists(p), "nothing of the host that the profile does not name")
    check("work-content", Want("the project", lambda a: "work" not in a), lambda: sorted(os.listdir("/work"))[:20], "what --dir named")
    check("outputs-empty", Want("empty or this probe's", lambda a: all(n.startswith("probe") for n in a)), lambda: os.listdir("/outputs"), "kept with the job, empty at its start")
    host_files(check, context)
    read_only(check)
    writable(check, context)
    tricks(check)
    agent_program(check)
    modes(check)


def host_files(check, context):
    for number, path in enumerate(context.host.get("secrets", [])):
        check(f"host-file-{number}", "ENOENT|EACCES", lambda p=path: read(p), "a file of the host's that the test made")
        for name, prefix in {"root": "/proc/self/root", "pid1": "/proc/1/root", "cwd": "/proc/self/cwd/../..", "dots": "/work/" + "../" * 20, "fd": "/dev/fd/0/.."}.items():
            check(f"host-file-{number}-{name}", "ENOENT|EACCES|ENOTDIR|EPERM", lambda p=prefix + path: read(p), "nor by a way around")
    for number, pid in enumerate(context.host.get("pids", [])):
        check(f"host-process-{number}", "absent", lambda p=pid: exists(f"/proc/{p}"), "no process of the host")
        check(f"host-kill-{number}", "ESRCH", lambda p=pid: os.kill(p, 0) or "signalled", "nor a signal to one")
        check(f"host-pidfd-{number}", "ESRCH", lambda p=pid: os.pidfd_open(p) and "opened", "nor a handle on one")


PLACES = ("/", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/share", "/etc", "/etc/ssl/certs", "/opt", "/dev", "/proc", "/sys",
          "/sys/devices/system/cpu", "/proc/self", "/proc/sys", "/etc/ld.so.conf.d", "/etc/alternatives")
FILES = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ld.so.cache", "/usr/bin/env", "/usr/bin/python3",
         "/bin/sh", "/usr/lib/os-release", "/etc/localtime", "/etc/services")
REFUSED = "EROFS|EACCES|EPERM|ENOENT"


def read_only(check):
    for place in PLACES:
        if not os.path.isdir(place):
            continue
        name, inside = place.strip("/").replace("/", "-") or "root", place.rstrip("/") + "/probe-written"
        for what, action in {
            "create": lambda p: opened(p, os.O_CREAT | os.O_WRONLY), "mkdir": lambda p: os.mkdir(p) or "made",
            "symlink": lambda p: os.symlink("x", p) or "made", "rename-into": lambda p: renamed_into(p), "link": lambda p: linked(p),
            "tmpfile": lambda p: opened(os.path.dirname(p) or "/", os.O_TMPFILE | os.O_WRONLY), "mkfifo": lambda p: os.mkfifo(p) or "made",
            "bind-socket": lambda p: socket_at(p),
        }.items():
            expect = REFUSED + "|EXDEV|EOPNOTSUPP|EISDIR"
            check(f"{what}-{name}", expect, lambda a=action, p=inside: a(p), "the system is read-only")
        check(f"chmod-{name}", REFUSED, lambda p=place: os.chmod(p, 0o777) or "changed", "its modes too")
        check(f"utime-{name}", REFUSED, lambda p=place: os.utime(p) or "changed", "its times too")
        check(f"access-{name}", "false", lambda p=place: os.access(p, os.W_OK), "and it says so")
    for path in FILES:
        if not os.path.exists(path):
            continue
        name = path.strip("/").replace("/", "-")
        for what, action in {
            "write": lambda p: opened(p, os.O_WRONLY), "append": lambda p: opened(p, os.O_WRONLY | os.O_APPEND), "truncate": lambda p: os.truncate(p, 0) or "cut",
            "unlink": lambda p: os.unlink(p) or "gone", "rename": lambda p: os.rename(p, "/tmp/x") or "moved", "chmod": lambda p: os.chmod(p, 0o777) or "changed",
            "chown": lambda p: os.chown(p, 1000, 1000) or "changed", "utime": lambda p: os.utime(p) or "changed", "setxattr": lambda p: os.setxattr(p, "user.x", b"y") or "set",
            "link-out": lambda p: os.link(p, "/tmp/probe-link") or "linked",
        }.items():
            check(f"{what}-{name}", REFUSED + "|EXDEV|EBUSY|EOPNOTSUPP", lambda a=action, p=path: a(p), "no file of the host is changed")


def renamed_into(path):
    source = "/tmp/probe-rename"
    open(source, "wb").close()
    os.rename(source, path)
    return "moved"


def linked(path):
    source = "/tmp/probe-link-source"
    open(source, "wb").close()
    os.link(source, path)
    return "linked"


def socket_at(path):
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        return "bound"


def writable(check, context):
    for place, mode in (("/tmp", 0o1777), ("/dev/shm", 0o1777), ("/work", None), ("/outputs", 0o755)):
        name = place.strip("/").replace("/", "-")
        if mode:
            check(f"mode-{name}", oct(mode), oct(stat.S_IMODE(os.stat(place).st_mode)), "as programs expect")
        for what, action in {
            "create": lambda p: opened(p + "/probe-c", os.O_CREAT | os.O_WRONLY), "mkdir": lambda p: os.mkdir(p + "/probe-d") or "ok",
            "rename": lambda p: os.rename(p + "/probe-c", p + "/probe-r") or "ok", "symlink": lambda p: os.symlink("probe-r", p + "/probe-s") or "ok",
            "link": lambda p: os.link(p + "/probe-r", p + "/probe-l") or "ok", "chmod": lambda p: os.chmod(p + "/probe-r", 0o640) or "ok",
            "utime": lambda p: os.utime(p + "/probe-r", (1, 1)) or "ok", "truncate": lambda p: os.truncate(p + "/probe-r", 4096) or "ok",
            "unlink": lambda p: [os.unlink(p + "/probe-" + n) for n in "rsl"] and "ok", "rmdir": lambda p: os.rmdir(p + "/probe-d") or "ok",
        }.items():
            check(f"{what}-in-{name}", "ok", lambda a=action, p=place: a(p), "the job's own place")
    for place in ("/tmp", "/dev/shm"):
        mount = mount_at(place)
        name = place.strip("/").replace("/", "-")
        check(f"kind-{name}", "tmpfs", mount["kind"] if mount else "no mount", "private, in memory")
        check(f"size-{name}", Want("a size", lambda a: any(o.startswith("size=") for o in a)), mount["options"] if mount else [], "a full directory must not be an out-of-memory kill")
        check(f"size-bounded-{name}", Want("at most 1 TiB", lambda n: 1 << 20 <= n <= 1 << 40), lambda p=place: os.statvfs(p).f_blocks * os.statvfs(p).f_frsize, "bounded")
    check("exec-tmp", "ok", lambda: executed("/tmp"), "built extensions are loaded from caches in /tmp")
    check("exec-work", "ok", lambda: executed("/work"), "scripts of the project")
    check("exec-shm", "EACCES", lambda: executed("/dev/shm"), "shared memory holds no programs")
    check("exec-mmap-shm", "EPERM|EACCES", lambda: mapped("/dev/shm"), "nor libraries")
    check("project-not-changed", "ok", overlay_write, "a write goes to the job's own layer")


def executed(place):
    path = f"{place}/probe-exec"
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o755)
    try:
        return "ok" if subprocess.call([path]) == 0 else "failed"
    finally:
        os.unlink(path)


def mapped(place):
    import mmap
    path = f"{place}/probe-map"
    with open(path, "wb+") as file:
        file.write(bytes(4096))
        file.flush()
        try:
            mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
            return "mapped"
        finally:
            os.unlink(path)


def overlay_write():
    names = [n for n in os.listdir("/work") if os.path.isfile(f"/work/{n}") and not n.startswith("probe-")]
    for name in names[:1]:
        os.utime(f"/work/{name}")
    return "ok"


def tricks(check):
    os.makedirs("/tmp/probe-tricks", exist_ok=True)
    for name, target in {"shadow": "/etc/shadow", "pid1-root": "/proc/1/root/etc/shadow", "pid1-cwd": "/proc/1/cwd", "pid1-fd": "/proc/1/fd/3", "host-home": "/root/.ssh", "mem": "/dev/mem"}.items():
        path = f"/tmp/probe-tricks/{name}"
        os.symlink(target, path)
        check(f"symlink-{name}", "ENOENT|EACCES|EPERM", lambda p=path: read(p), "a link leads where the job could go anyway")
    check("self-root-dots", "ENOENT", lambda: read("/proc/self/root/../../../../etc/shadow"), "above the root is the root")
    check("cwd-dots", "ENOENT", lambda: read("../../../../../../../../etc/shadow"), "the same from the working directory")
    check("double-chroot", "EPERM|ENOSYS", lambda: in_child(lambda: call(161, b"/tmp/probe-tricks")), "the classic way out of a root")
    check("fchdir-root", "true", lambda: in_child(climb), "a descriptor of the root does not lead above it")
    check("ld-preload-set-id", "1000", preload, "preloaded code gains nothing")
    check("passwd-overlay", "EROFS|EACCES|EPERM|EXDEV", lambda: os.rename("/etc/passwd", "/etc/passwd2") or "moved", "accounts cannot be made up")
    check("shebang-loop", "ELOOP|ENOEXEC|EACCES", shebang_loop, "the kernel's own bound")
    check("proc-self-exe-write", "EROFS|EACCES|ETXTBSY|EPERM", lambda: opened("/proc/self/exe", os.O_WRONLY), "no program is overwritten by its own link (CVE-2019-5736)")
    check("proc-self-exe-dumb", Want("a program of the profile", lambda a: a.startswith(("/usr/", "/opt/", "/work/", "/mnt/", "/data/"))), lambda: os.readlink("/proc/self/exe"), "it is in the job's root")


def climb():
    fd = os.open("/", os.O_RDONLY)
    os.fchdir(fd)
    for _ in range(8):
        os.chdir("..")
    return os.getcwd() == "/" and os.stat(".").st_ino == os.stat("/").st_ino


def preload():
    return str(os.geteuid())


def shebang_loop():
    path = "/tmp/probe-tricks/loop"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!{path}\n")
    os.chmod(path, 0o755)
    return in_child(lambda: os.execv(path, [path]))


def agent_program(check):
    check("agent-exe", "EACCES|EPERM|ENOENT", lambda: os.readlink("/proc/1/exe"), "the agent's program has no name here")
    check("agent-exe-open", "EACCES|EPERM|ENOENT", lambda: opened("/proc/1/exe"), "nor can it be opened")
    check("agent-exe-write", "EACCES|EPERM|ENOENT|ETXTBSY|EROFS", lambda: opened("/proc/1/exe", os.O_WRONLY), "nor overwritten")
    check("agent-exe-run", "EACCES|EPERM|ENOENT", lambda: in_child(lambda: os.execv("/proc/1/exe", ["x"])), "nor executed again")
    check("agent-cmdline", Want("no path of the host and no secret", lambda a: "/home" not in a and "/var" not in a and "/tmp" not in a),
          lambda: attempt(lambda: read("/proc/1/cmdline")), "its arguments tell nothing")
    check("agent-mountinfo", Want("refused, or the job's own table", lambda a: a in ("EACCES", "EPERM", "same")), lambda: "same" if len(read("/proc/1/mountinfo").splitlines()) == len(read("/proc/self/mountinfo").splitlines()) else "other", "the agent sees nothing that its job does not")


def modes(check):
    LIBC.umask(0o022)
    check("umask-holds", "0o644", file_mode, "what a job writes is readable for the submitter's group, writable by none")
    check("sticky-tmp", "true", lambda: bool(os.stat("/tmp").st_mode & stat.S_ISVTX), "as everywhere")


def file_mode():
    path = "/tmp/probe-mode"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
    return oct(stat.S_IMODE(os.stat(path).st_mode))
