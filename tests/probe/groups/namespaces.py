"""Namespaces: the job is not in any of the host's, and cannot make or enter others."""

import os
import socket

from harness import Want, call, exists, in_child, mounts, read

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
CLONE_FLAGS = {
    "NEWNS": 0x00020000, "NEWCGROUP": 0x02000000, "NEWUTS": 0x04000000, "NEWIPC": 0x08000000,
    "NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000,
}
NEWTIME = 0x80
UNSHARE, SETNS, CLONE, SIGCHLD = 272, 308, 56, 17


def cloned(flags):
    """clone(2) with flags; a child that comes to be leaves at once."""

    def run():
        result, code = clone_result(flags | SIGCHLD)
        return "a process" if result > 0 else code

    return in_child(run)


def clone_result(flags):
    from harness import call_result, errno_name
    result, code = call_result(CLONE, flags, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result > 0:
        os.waitpid(result, 0)
    return result, errno_name(code)


def run(probe, context):
    check = probe.check
    for kind in KINDS:
        own = os.readlink(f"/proc/self/ns/{kind}")
        if kind in context.host.get("namespaces", {}):
            theirs = context.host["namespaces"][kind]
            check(f"{kind}-own", Want(f"not {theirs}", lambda a, t=theirs: a != t and a.startswith(kind)), own,
                  "a namespace shared with the host shares what is in it")
        # Values of the initial namespaces, fixed in the kernel (include/linux/proc_ns.h).
        initial = {"cgroup": 0xEFFFFFFB, "ipc": 0xEFFFFFFF, "user": 0xEFFFFFFD, "uts": 0xEFFFFFFE, "pid": 0xEFFFFFFC}
        if kind in initial:
            check(f"{kind}-not-initial", Want("not the kernel's first", lambda a, n=initial[kind]: a != f"{kind}:[{n}]"),
                  own, "the first namespace of a kind is the host's")
        check(f"{kind}-of-pid1-hidden", "EACCES|EPERM", lambda k=kind: os.readlink(f"/proc/1/ns/{k}"),
              "the agent's namespaces are a way to join it")
        check(f"{kind}-set", "EPERM", lambda k=kind: joined(f"/proc/self/ns/{k}"),
              "setns is closed, also to one's own")
    children = os.readlink("/proc/self/ns/pid_for_children") == os.readlink("/proc/self/ns/pid")
    check("pid-for-children", "true", children, "children are born into the same process namespace")
    check("time-for-children", "true",
          os.readlink("/proc/self/ns/time_for_children") == os.readlink("/proc/self/ns/time"),
          "children see the same clock")

    for name, flag in CLONE_FLAGS.items():
        check(f"unshare-{name}", "EPERM", lambda f=flag: in_child(lambda: call(UNSHARE, f)),
              "a namespace of one's own opens kernel code that is closed to users")
        check(f"clone-{name}", "EPERM", lambda f=flag: cloned(f), "the same by clone")
        check(f"clone-high-{name}", "EPERM", lambda f=flag: cloned(f | 1 << 40),
              "bits above the flags do not hide one from the filter")
        check(f"unshare-user-{name}", "EPERM",
              lambda f=flag: in_child(lambda: call(UNSHARE, f | CLONE_FLAGS["NEWUSER"])),
              "nor together with a user namespace")
    check("unshare-NEWTIME", "EPERM", lambda: in_child(lambda: call(UNSHARE, NEWTIME)), "clocks of one's own")
    check("unshare-FILES", "EPERM", lambda: in_child(lambda: call(UNSHARE, 0x400)),
          "unshare is closed as a whole: nothing common needs it")
    check("unshare-none", "EPERM", lambda: call(UNSHARE, 0), "the same without flags")
    check("clone3", "ENOSYS", lambda: call(435, 0, 0), "its flags cannot be filtered; libc falls back to clone")
    check("clone3-sized", "ENOSYS", lambda: call(435, 0, 88), "with a size as well")
    check("clone-plain", "a process", lambda: cloned(0), "processes must still be made")

    processes(check)
    names(check, context)
    mount_table(check, context)
    cgroup(check, context)


def joined(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return call(SETNS, fd, 0)
    finally:
        os.close(fd)


def processes(check):
    pids = sorted(int(p) for p in os.listdir("/proc") if p.isdigit())
    check("first-process", "fetchml-agent", lambda: read("/proc/1/comm").strip(),
          "process 1 reaps, relays and reports: the agent")
    check("few-processes", Want("at most 4 processes", lambda n: 2 <= n <= 4), len(pids),
          "a job sees its own processes and no others")
    check("ids-begin-low", Want("below 64", lambda n: n < 64), os.getpid(), "ids of a namespace of its own")
    for pid in pids:
        check(f"process-{'own' if pid != 1 else 'agent'}-{pids.index(pid)}", "1000", lambda p=pid: str(os.stat(f"/proc/{p}").st_uid),
              "every process that is seen is the job's")
    chain = read("/proc/self/status")
    line = next(l for l in chain.splitlines() if l.startswith("NSpid:"))
    check("one-id", Want("one number", lambda a: len(a.split()) == 2), line, "the id on the host is not told")
    check("kernel-threads", "absent", lambda: "there" if any(
        read(f"/proc/{p}/comm").strip() == "kthreadd" for p in pids) else "absent", "kthreadd is the host's process 2")


def names(check, context):
    node = os.uname().nodename
    check("hostname", "job", node, "not the machine's")
    check("hostname-file", "job", lambda: read("/etc/hostname").strip(), "as people look it up")
    check("hostname-call", Want("as uname says", lambda a: a == node), socket.gethostname, "both ways agree")
    if "hostname" in context.host:
        check("hostname-not-the-hosts", Want("another", lambda a: a != context.host["hostname"]), node,
              "the machine's name tells where the job runs")
    check("domainname", "(none)|", lambda: read("/proc/sys/kernel/domainname").strip(),
          "nor its domain")
    check("hostname-set", "EPERM", lambda: call(170, b"x", 1), "names belong to the supervisor")
    check("domainname-set", "EPERM", lambda: call(171, b"x", 1), "the same")
    check("ipc-empty-shm", "1", lambda: str(len(read("/proc/sysvipc/shm").splitlines())), "no segment of the host")
    check("ipc-empty-sem", "1", lambda: str(len(read("/proc/sysvipc/sem").splitlines())), "no semaphore of the host")
    check("ipc-empty-msg", "1", lambda: str(len(read("/proc/sysvipc/msg").splitlines())), "no queue of the host")


def mount_table(check, context):
    table = mounts()
    for mount in table:
        name, at = mount["at"].strip("/").replace("/", "-") or "root", mount["at"]
        flags = mount["flags"]
        in_dev = at.startswith("/dev/") and at != "/dev/shm"
        over_proc = at.startswith("/proc/") and mount["source"] == "/null"
        gpu = in_dev and at.startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd", "/dev/infiniband"))
        check(f"mount-{name}-nosuid", "true", "nosuid" in flags, "set-id bits have no effect")
        check(f"mount-{name}-nodev", "true", "nodev" in flags or in_dev or over_proc or gpu,
              "device nodes work only where the supervisor put them")
        check(f"mount-{name}-private", "[]", mount["shared"], "what is mounted here reaches no other namespace")
        writable = at in ("/work", "/outputs", "/tmp", "/dev/shm") or at.startswith("/mnt/") or at == "/proc" and context.cuda
        writable = writable or at == "/dev/pts" and context.terminals
        check(f"mount-{name}-{'rw' if writable else 'ro'}", "true", ("ro" in flags) != writable,
              "only the job's own places can be changed")
        if at in ("/proc", "/dev/shm") or in_dev:
            check(f"mount-{name}-noexec", "true", "noexec" in flags, "nothing to execute there")
    points = [m["at"] for m in table]
    check("mount-once", "[]", sorted({p for p in points if points.count(p) > 1}), "nothing lies hidden under another mount")
    check("mount-old-root", "absent", lambda: "there" if any(
        m["at"] in ("/oldroot", "/.old", "/put_old", "/lower", "/upper") for m in table) else "absent",
        "the old root is gone after pivot_root")
    kinds = {m["kind"] for m in table}
    own = {"devpts"} if context.terminals else set()
    check("mount-kinds", "[]", sorted((kinds - own) & {"cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs",
          "securityfs", "bpf", "configfs", "fusectl", "binfmt_misc", "pstore", "efivarfs", "autofs", "nfs", "hugetlbfs"}),
          "file systems that steer the kernel are not there")
    check("oldroot-by-dotdot", "true", lambda: os.stat("/..").st_ino == os.stat("/").st_ino, "above the root is the root")


def cgroup(check, context):
    lines = read("/proc/self/cgroup").splitlines()
    check("cgroup-root", Want("/ everywhere", lambda a: all(l.split(":", 2)[2] == "/" for l in a)), lines,
          "the job's group is the root of its view")
    check("cgroup-fs", "absent", lambda: exists("/sys/fs/cgroup"), "its own limits are not the job's to change")
    if "cgroup_path" in context.host:
        check("cgroup-path-hidden", "false", context.host["cgroup_path"] in "".join(lines), "no path of the host")
