"""Who the job is: ids, groups, capabilities, and that nothing of it can be regained."""

import ctypes
import getpass
import grp
import os
import pwd
import subprocess

from harness import LIBC, Want, call, errno_name, in_child, read, status_field

NOBODY = 65534
LAST_CAPABILITY = 40
# securebits(7): NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE set and locked,
# KEEP_CAPS clear and locked.
SECUREBITS = 0b11101111


def prctl(option, *words):
    words = [ctypes.c_ulong(w) for w in words] + [ctypes.c_ulong(0)] * (4 - len(words))
    ctypes.set_errno(0)
    result = LIBC.prctl(option, *words)
    return result if result >= 0 else errno_name(ctypes.get_errno())


def run(probe, context):
    check = probe.check
    for what, ids in (("uid", os.getresuid()), ("gid", os.getresgid())):
        for kind, number in zip(("real", "effective", "saved"), ids):
            check(f"{what}-{kind}", "1000", number, "the profile's run_as id")
    check("uid-all-four", "1000 1000 1000 1000", lambda: status_field("Uid"), "the file system id too")
    check("gid-all-four", "1000 1000 1000 1000", lambda: status_field("Gid"), "the file system id too")
    check("groups", "[]", os.getgroups, "no group of the supervisor or of the submitter")
    check("groups-status", "", lambda: status_field("Groups"), "as the kernel says")
    maps(check, context)
    names(check)
    regain(check)
    capabilities(check)
    bits(check)
    ownership(check)


def maps(check, context):
    for kind in ("uid", "gid"):
        lines = read(f"/proc/self/{kind}_map").splitlines()
        check(f"{kind}-map-lines", "1", len(lines), "one id is all a job has")
        inside, outside, count = (int(w) for w in lines[0].split())
        check(f"{kind}-map-inside", "1000", inside, "what the profile says")
        check(f"{kind}-map-count", "1", count, "no range: no second id to become")
        check(f"{kind}-map-unprivileged", Want("at least 1879048192", lambda n: n >= 1879048192), outside,
              "on the host an id that no account uses")
        if kind == "uid" and "submitter" in context.host:
            check("uid-map-not-submitter", Want("another", lambda n: n != context.host["submitter"]), outside,
                  "a signal or a trace does not reach the submitter's own processes")
        check(f"{kind}-map-write", "EROFS|EPERM|EACCES", lambda k=kind: write(f"/proc/self/{k}_map", "0 0 1\n"),
              "the map is set for good")
    check("setgroups-denied", "deny", lambda: read("/proc/self/setgroups").strip(), "groups cannot be dropped to gain by their absence")
    check("setgroups-write", "EROFS|EPERM|EACCES", lambda: write("/proc/self/setgroups", "allow"), "nor allowed again")
    check("host-root-unmapped", str(NOBODY), os.stat("/proc/version").st_uid, "root of the host is nobody here")


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return "written"


def names(check):
    check("passwd-name", "job", lambda: pwd.getpwuid(1000).pw_name, "getpass and pathlib ask for it")
    check("passwd-home", "/tmp", lambda: pwd.getpwuid(1000).pw_dir, "a home that can be written")
    check("passwd-shell", "/bin/sh", lambda: pwd.getpwuid(1000).pw_shell, "a shell that exists")
    check("passwd-others", "[\"job\", \"nobody\", \"root\"]", lambda: sorted(p.pw_name for p in pwd.getpwall()),
          "no account of the host")
    check("group-name", "job", lambda: grp.getgrgid(1000).gr_name, "ls -l shows it")
    check("group-others", "[\"job\", \"nogroup\", \"root\"]", lambda: sorted(g.gr_name for g in grp.getgrall()),
          "no group of the host")
    check("getuser", "job", getpass.getuser, "PyTorch's compile cache asks for it")
    check("home", "/tmp", lambda: os.path.expanduser("~"), "caches go there")
    check("id-program", "uid=1000(job) gid=1000(job) groups=1000(job)",
          lambda: subprocess.check_output(["id"], text=True).strip(), "as people look")
    check("whoami", "job", lambda: subprocess.check_output(["whoami"], text=True).strip(), "the same")
    for name in ("shadow", "gshadow", "shadow-", "passwd-", "sudoers", "subuid", "subgid", "machine-id", "fstab", "ssh", "fetchml"):
        check(f"etc-{name}", "absent", lambda n=name: "there" if os.path.lexists(f"/etc/{n}") else "absent",
              "accounts, keys and names of the host")


def regain(check):
    attempts = {
        "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0),
        "seteuid": lambda: os.seteuid(0), "setegid": lambda: os.setegid(0),
        "setreuid": lambda: os.setreuid(0, 0), "setregid": lambda: os.setregid(0, 0),
        "setresuid": lambda: os.setresuid(0, 0, 0), "setresgid": lambda: os.setresgid(0, 0, 0),
        "setuid-other": lambda: os.setuid(1001), "setgid-other": lambda: os.setgid(1001),
        "setuid-nobody": lambda: os.setuid(NOBODY), "setgid-nobody": lambda: os.setgid(NOBODY),
    }
    for name, action in attempts.items():
        # EINVAL: the id has no place in the job's user namespace.
        check(name, "EINVAL|EPERM", lambda a=action: in_child(lambda: a() or "became it"), "no id but its own")
    check("setuid-own", "ok", lambda: in_child(lambda: os.setuid(1000) or "ok"),
          "giving up privilege one does not have must not fail", strict="EPERM")
    check("setgroups", "EPERM|ENOSYS", lambda: in_child(lambda: os.setgroups([0]) or "set"), "no group can be joined")
    check("setgroups-none", "EPERM|ENOSYS", lambda: in_child(lambda: os.setgroups([]) or "set"), "nor left")
    check("setfsuid", "1000", lambda: in_child(lambda: LIBC.setfsuid(0) and LIBC.setfsuid(0)), "the id for files stays", strict="-1")
    check("setfsgid", "1000", lambda: in_child(lambda: LIBC.setfsgid(0) and LIBC.setfsgid(0)), "the same", strict="-1")
    check("set-id-program", "1000", set_id_program, "set-user-id programs gain nothing")
    for path in ("su", "sudo", "pkexec", "mount", "umount", "newgrp", "passwd", "chsh", "fusermount3", "ping"):
        where = next((f"{d}/{path}" for d in ("/usr/bin", "/usr/sbin") if os.path.exists(f"{d}/{path}")), None)
        if where:
            check(f"set-id-owner-{path}", str(NOBODY), os.stat(where).st_uid, "its owner does not exist in the job")


def set_id_program():
    """The effective id of a child whose program is set-user-id on the host."""
    for path in ("/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/newgrp"):
        if not os.path.exists(path) or not os.stat(path).st_mode & 0o4000:
            continue
        # `su` waits at its prompt; what it is by then stands in its status.
        child = subprocess.Popen([path, "-h"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            ids = status_field("Uid", child.pid)
        except FileNotFoundError:
            ids = "1000 1000"
        child.communicate()
        return ids.split()[1]
    return "1000"


def capabilities(check):
    for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        check(f"capabilities-{name}", "0000000000000000", lambda n=name: status_field(f"Cap{n}"),
              "no capability, not even in the job's own user namespace")
    for number in range(LAST_CAPABILITY + 1):
        check(f"bounding-{number}", "0", lambda n=number: prctl(23, n), "a program with file capabilities gains nothing")
    check("ambient-raise", "EINVAL|EPERM", lambda: prctl(47, 2, 10), "no ambient capability can be raised")
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    check("capset", "EPERM", lambda: in_child(lambda: call(126, header, data)), "none can be taken")
    none = (ctypes.c_uint32 * 6)()
    check("capset-none", "ok", lambda: in_child(lambda: call(126, header, none)), "giving up what one has not must work", strict="EPERM")
    check("file-capabilities", "EPERM|EOPNOTSUPP", lambda: file_capability(), "none can be written to a file")


def file_capability():
    path = "/tmp/probe-capability"
    open(path, "wb").close()
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    return "written"


def bits(check):
    check("no-new-privs", "1", lambda: prctl(39), "no exec gains anything")
    check("no-new-privs-status", "1", lambda: status_field("NoNewPrivs"), "as the kernel says")
    check("no-new-privs-clear", "EINVAL", lambda: prctl(38, 0), "it cannot be taken back")
    check("securebits", SECUREBITS, lambda: prctl(27), "id 0 means nothing, and that is locked")
    check("securebits-clear", "EINVAL|EPERM", lambda: prctl(28, 0), "locked")
    check("keep-capabilities", "0", lambda: prctl(7), "nothing is kept over a change of ids", strict="EINVAL")
    check("keep-capabilities-set", "EINVAL|EPERM", lambda: prctl(8, 1), "nor can be")
    check("seccomp-mode", "2", lambda: status_field("Seccomp"), "a filter holds")
    check("seccomp-mode-prctl", "2", lambda: prctl(21), "the same by prctl")
    check("seccomp-filters", Want("1 or more", lambda a: int(a) >= 1), lambda: status_field("Seccomp_filters"), "it is a loaded one")
    check("seccomp-in-child", "2", lambda: in_child(lambda: status_field("Seccomp")), "children have it")
    check("seccomp-after-exec", "2", lambda: subprocess.check_output(
        ["sed", "-n", "s/^Seccomp:[[:space:]]*//p", "/proc/self/status"], text=True).strip(), "and what they execute")
    check("no-new-privs-after-exec", "1", lambda: subprocess.check_output(
        ["sed", "-n", "s/^NoNewPrivs:[[:space:]]*//p", "/proc/self/status"], text=True).strip(), "the same")


def ownership(check):
    path = "/tmp/probe-owner"
    open(path, "wb").close()
    stat = os.stat(path)
    check("new-file", "[1000, 1000]", [stat.st_uid, stat.st_gid], "a new file is the job's")
    check("chown-root", "EINVAL|EPERM", lambda: os.chown(path, 0, 0) or "given", "no file can be given away")
    check("chown-nobody", "EINVAL|EPERM", lambda: os.chown(path, NOBODY, NOBODY) or "given", "nor to nobody")
    check("chown-own", "ok", lambda: os.chown(path, 1000, 1000) or "ok", "archives set what is already so", strict="EPERM")
    for place in ("/work", "/outputs"):
        stat = os.stat(place)
        check(f"owner{place.replace('/', '-')}", "[1000, 1000]", [stat.st_uid, stat.st_gid], "mapped to the job")
    for place in ("/", "/usr", "/etc", "/dev", "/proc", "/sys", "/etc/passwd"):
        if os.path.exists(place):
            check(f"owner-root{place.replace('/', '-')}", str(NOBODY), os.stat(place).st_uid,
                  "what belongs to the host is nobody's here: the job cannot change its mode")
