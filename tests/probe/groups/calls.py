"""System calls that a training job does not need, each by its number.

Arguments are invalid or without effect for each call, so a sandbox that lets
one through answers another errno and is not harmed by it.
"""

import ctypes
import os
import struct

from groups.identity import prctl
from harness import Want, call, call_result, errno_name, in_child

BAD = (-1, -1, -1, -1, -1, -1)

#: Named in policies/seccomp/default-hardened.json: EPERM.
FORBIDDEN = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "move_mount": 429, "open_tree": 428, "mount_setattr": 442, "unshare": 272, "setns": 308,
    "open_by_handle_at": 304, "name_to_handle_at": 303, "bpf": 321, "perf_event_open": 298, "fanotify_init": 300,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "seccomp": 317,
    "keyctl": 250, "add_key": 248, "request_key": 249, "reboot": 169, "kexec_load": 246, "kexec_file_load": 320,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "swapon": 167, "swapoff": 168,
    "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "sethostname": 170,
    "setdomainname": 171, "quotactl": 179, "quotactl_fd": 443, "acct": 163, "syslog": 103, "vhangup": 153,
    "ioperm": 173, "iopl": 172, "modify_ldt": 154, "move_pages": 279, "migrate_pages": 256, "uselib": 134,
    "ustat": 136, "sysfs": 139, "_sysctl": 156, "nfsservctl": 180, "lookup_dcookie": 212,
}
#: The same, but open where a job may look into its own processes.
TRACING = {"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438}
#: Not named: ENOSYS, as from a kernel without them.
ABSENT = {
    "clone3": 435, "openat2": 437, "create_module": 174, "get_kernel_syms": 177, "query_module": 178, "getpmsg": 181,
    "putpmsg": 182, "afs_syscall": 183, "tuxcall": 184, "security": 185, "set_thread_area": 205, "get_thread_area": 211,
    "epoll_ctl_old": 214, "epoll_wait_old": 215, "remap_file_pages": 216, "vserver": 236, "fanotify_mark": 301,
    "memfd_secret": 447, "process_madvise": 440, "process_mrelease": 448, "mq_open": 240, "mq_unlink": 241,
    "mq_timedsend": 242, "mq_timedreceive": 243, "mq_notify": 244, "mq_getsetattr": 245, "msgget": 68, "msgsnd": 69,
    "msgrcv": 70, "msgctl": 71, "io_setup": 206, "io_destroy": 207, "io_getevents": 208, "io_submit": 209,
    "io_cancel": 210, "io_pgetevents": 333, "vmsplice": 278, "map_shadow_stack": 453, "statmount": 457,
    "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
    "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    "file_getattr": 468, "file_setattr": 469, "cachestat": 451,
}

PRCTL_REFUSED = {
    "SET_KEEPCAPS": (8, 1), "SET_TIMING": (14, 1), "SET_UNALIGN": (6, 1), "SET_FPEMU": (10, 1), "SET_FPEXC": (12, 1), "SET_ENDIAN": (20, 1),
    "SET_SECCOMP-strict": (22, 1), "SET_SECCOMP-filter": (22, 2), "CAPBSET_DROP": (24, 0), "SET_TSC": (26, 2),
    "SET_SECUREBITS": (28, 0), "TASK_PERF_EVENTS_DISABLE": (31,), "TASK_PERF_EVENTS_ENABLE": (32,), "MCE_KILL": (33, 0),
    "SET_MM": (35, 1), "SET_MM_EXE_FILE": (35, 13), "SET_MM_MAP": (35, 14), "MPX_ENABLE": (43,), "SET_FP_MODE": (45, 0),
    "CAP_AMBIENT-raise": (47, 2, 0), "SVE_SET_VL": (50, 16), "SET_SPECULATION_CTRL": (53, 0, 2), "PAC_RESET_KEYS": (54, 0),
    "SET_TAGGED_ADDR_CTRL": (55, 0), "SET_IO_FLUSHER": (57, 1), "SET_SYSCALL_USER_DISPATCH": (59, 1), "SCHED_CORE": (62, 1),
    "SME_SET_VL": (63, 16), "SET_MDWE": (65, 1), "SET_MEMORY_MERGE": (67, 1), "SET_SHADOW_STACK_STATUS": (75, 1),
    "unknown-100": (100,), "unknown-top": (0x7FFFFFFF,), "zero": (0,),
}
PRCTL_ALLOWED = {
    "GET_DUMPABLE": (3,), "GET_KEEPCAPS": (7,), "GET_SECCOMP": (21,), "CAPBSET_READ": (23, 0), "GET_SECUREBITS": (27,),
    "GET_TIMERSLACK": (30,), "GET_NO_NEW_PRIVS": (39,), "GET_THP_DISABLE": (42,), "GET_SPECULATION_CTRL": (52, 0), "SET_NO_NEW_PRIVS": (38, 1),
    "SET_TIMERSLACK": (29, 50000), "SET_DUMPABLE": (4, 1), "SET_PDEATHSIG": (1, 0), "SET_CHILD_SUBREAPER": (36, 0),
}
#: Allowed by default alone.
NOT_STRICT = {"GET_KEEPCAPS", "GET_TIMERSLACK", "SET_TIMERSLACK", "SET_CHILD_SUBREAPER", "GET_SPECULATION_CTRL"}
IOCTLS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423, "TIOCCONS": 0x541D}
PERSONALITIES = {
    "ADDR_NO_RANDOMIZE": 0x0040000, "READ_IMPLIES_EXEC": 0x0400000, "MMAP_PAGE_ZERO": 0x0100000, "ADDR_COMPAT_LAYOUT": 0x0200000,
    "UNAME26": 0x0020000, "PER_LINUX32": 8, "SHORT_INODE": 0x1000000, "PER_SVR4": 0x4100001, "PER_BSD": 6,
}


def run(probe, context):
    check = probe.check
    for name, number in FORBIDDEN.items():
        check(name, "EPERM|ENOSYS" if context.strict else "EPERM", lambda n=number: in_child(lambda: call(n, *BAD)), "a job has no use for it and the kernel's code behind it has holes")
        # A second set of arguments: what passes with zeros passes for somebody.
        check(f"{name}-zeros", "EPERM|ENOSYS" if context.strict else "EPERM", lambda n=number: in_child(lambda: call(n, 0, 0, 0, 0, 0, 0)), "whatever its arguments")
    for name, number in TRACING.items():
        # -1 names no process and no descriptor.
        expect = "ESRCH|EBADF|EIO|EPERM|EINVAL|EFAULT" if context.traces else "EPERM|ENOSYS" if context.strict else "EPERM"
        check(name, expect, lambda n=number: in_child(lambda: call(n, *BAD)), "looking into processes")
    for name, number in ABSENT.items():
        check(name, "ENOSYS", lambda n=number: in_child(lambda: call(n, *BAD)), "not listed, so it looks absent and libraries fall back")
    check("setgroups", "EPERM|ENOSYS", lambda: call(116, 0, 0), "no groups")
    check("ptrace-traceme", "ok" if context.traces else "EPERM|ENOSYS", lambda: in_child(lambda: call(101, 0, 0, 0, 0)), "steering a process of one's own")
    tracing(check, context)
    prctls(check, context)
    ioctls(check)
    personalities(check)
    modes(check)
    nodes(check)
    special(check, context)


def tracing(check, context):
    expect = "ok" if context.traces else "EPERM|ENOSYS"
    source, target = ctypes.create_string_buffer(b"mark", 8), ctypes.create_string_buffer(8)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(target), 8)
    remote = (ctypes.c_uint64 * 2)(ctypes.addressof(source), 8)
    check("process_vm_readv-self", expect, lambda: call(310, os.getpid(), local, 1, remote, 1, 0), "debuggers and profilers read so")
    check("process_vm_writev-self", expect, lambda: call(311, os.getpid(), local, 1, remote, 1, 0), "and write so")
    check("ptrace-seize-child", expect, seize_child, "a debugger holds its child")
    check("mem-of-child", "content" if context.traces else "content|EACCES|EPERM", memory_of_child, "the same through /proc, where the kernel's own rule holds")


def seize_child():
    pid = os.fork()
    if pid == 0:
        import time
        time.sleep(5)
        os._exit(0)
    try:
        return call(101, 0x4206, pid, 0, 0)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def memory_of_child():
    import time
    buffer = ctypes.create_string_buffer(b"mark", 8)
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        os._exit(0)
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(ctypes.addressof(buffer))
            return "content" if file.read(4) == b"mark" else "other"
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def prctls(check, context):
    for name, words in PRCTL_REFUSED.items():
        check(f"prctl-{name}", "EINVAL|EPERM", lambda w=words: in_child(lambda: prctl(*w)), "not among the options that libraries use")
        check(f"prctl-{name}-high", "EINVAL|EPERM", lambda w=words: in_child(
            lambda: call(157, w[0] | 1 << 32, *(list(w[1:]) + [0] * 4)[:4])), "the kernel looks at 32 bits of the option")
    for name, words in PRCTL_ALLOWED.items():
        check(f"prctl-{name}", Want("an answer", lambda a: a == "EINVAL" and name.startswith("GET_SPEC") or isinstance(a, int)),
              lambda w=words: in_child(lambda: prctl(*w)), "programs ask for it and stop without an answer",
              strict="EINVAL" if name in NOT_STRICT else None)
    check("prctl-SET_NAME", "probed", named, "threads have names")
    check("prctl-SET_PTRACER", "0|EINVAL", lambda: in_child(lambda: prctl(0x59616D61, 0)), "who may trace")


def named():
    def run():
        prctl(15, ctypes.cast(ctypes.c_char_p(b"probed"), ctypes.c_void_p).value)
        with open("/proc/self/comm", encoding="ascii") as file:
            return file.read().strip()

    return in_child(run)


def ioctls(check):
    for name, request in IOCTLS.items():
        for fd, what in ((0, "null"), (1, "pipe"), (-1, "none")):
            check(f"ioctl-{name}-{what}", "EPERM", lambda r=request, f=fd: call(16, f, r, b"x"), "typing into somebody's terminal, or changing the console")
        check(f"ioctl-{name}-high", "EPERM", lambda r=request: call(16, 0, r | 1 << 32, b"x"), "nor with a high bit that the kernel drops")
    for name, command in {"SETLEASE": 1024, "NOTIFY": 1026, "SETDELEG": 1040}.items():
        for high in (0, 1 << 32):
            check(f"fcntl-{name}-{high >> 32}", "EPERM", lambda c=command | high: call(72, 0, c, 1), "what others do with a file is not the job's to hold up or to watch")
    for high in (0, 1 << 32):
        check(f"renameat2-whiteout-{high >> 32}", "EPERM|ENOSYS", lambda h=high: call(316, -100, b"/work/no", -100, b"/work/none", 4 | h), "a whiteout is a device node")
    for name, request in {"FIOCLEX": 0x5451, "FIONCLEX": 0x5450, "FIONBIO": 0x5421}.items():
        check(f"ioctl-{name}", "ok", lambda r=request: plain_ioctl(r), "ordinary controls work")
    for name, request in {
        "SIOCSIFADDR": 0x8916, "SIOCSIFFLAGS": 0x8914, "SIOCADDRT": 0x890B, "SIOCBRADDBR": 0x89A0, "SIOCSIFNAME": 0x8923, "SIOCETHTOOL": 0x8946,
    }.items():
        check(f"ioctl-{name}", "EPERM|EFAULT|EINVAL|ENODEV|ENOTTY|EOPNOTSUPP|ENOPKG", lambda r=request: network_ioctl(r), "the network is not the job's to change")
    for name, request in {"FS_IOC_SETFLAGS": 0x40086602, "FIFREEZE": 0xC0045877, "FITRIM": 0xC0185879, "FS_IOC_FSSETXATTR": 0x401C5820,
                          "EXT4_IOC_RESIZE_FS": 0x40086610, "FS_IOC_SHUTDOWN": 0x8004587D, "FIBMAP": 1}.items():
        check(f"ioctl-{name}", "EPERM|ENOTTY|EOPNOTSUPP|EROFS|EINVAL|EACCES", lambda r=request: outputs_ioctl(r), "nor the file system below /outputs")


def plain_ioctl(request):
    ours, theirs = os.pipe()
    try:
        return call(16, ours, request, (ctypes.c_int * 1)(0))
    finally:
        os.close(ours)
        os.close(theirs)


def network_ioctl(request):
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        return call(16, s.fileno(), request, ctypes.create_string_buffer(b"lo", 64))


def outputs_ioctl(request):
    fd = os.open("/outputs", os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Immutable, for the flags; nonsense for the rest.
        return call(16, fd, request, struct.pack("16i", 0x10, *[0] * 15))
    finally:
        os.close(fd)


def personalities(check):
    for name, value in PERSONALITIES.items():
        check(f"personality-{name}", "EPERM|ENOSYS", lambda v=value: in_child(lambda: call(135, v)), "address randomisation stays on")
    check("personality-ask", "0", lambda: str(call_result(135, 0xFFFFFFFF)[0]), "asking works, and nothing is set", strict="-1")
    check("personality-plain", "ok", lambda: call(135, 0), "the ordinary one can be set", strict="EPERM")


def modes(check):
    """Set-id bits: such a file in the outputs would run with the submitter's ids."""
    path = b"/outputs/probe-mode"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    fd = os.open(path, os.O_RDONLY)
    create = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    for bits, name in ((0o4755, "setuid"), (0o2755, "setgid"), (0o6777, "both")):
        for what, arguments in {
            "chmod": (90, path, bits), "fchmod": (91, fd, bits), "fchmodat": (268, -100, path, bits),
            "fchmodat2": (452, -100, path, bits, 0), "open": (2, path + b"o", create, bits), "openat": (257, -100, path + b"a", create, bits),
            "creat": (85, path + b"c", bits), "mknod": (133, path + b"n", 0o100000 | bits, 0), "mknodat": (259, -100, path + b"m", 0o100000 | bits, 0),
            "tmpfile": (257, -100, b"/outputs", 0o20200000 | os.O_WRONLY, bits),
        }.items():
            check(f"{what}-{name}", "EPERM|ENOSYS", lambda a=arguments: call(*a), "no set-id file in the outputs")
    for bits in (0o600, 0o755, 0o1777):
        check(f"chmod-{bits:o}", "ok", lambda b=bits: call(90, path, b), "ordinary modes work")
    check("mkdir-setgid-stripped", "EPERM|0o755|0o2755", lambda: directory_mode(), "a set-group-id directory only passes its group on")
    os.close(fd)
    os.unlink(path)


def directory_mode():
    path = "/outputs/probe-directory-mode"
    os.mkdir(path, 0o2755)
    mode = oct(os.stat(path).st_mode & 0o7777)
    os.rmdir(path)
    return mode


DEVICES = {"mem": (0o20666, 1, 1), "kmem": (0o20666, 1, 2), "port": (0o20666, 1, 4), "null": (0o20666, 1, 3), "tty0": (0o20666, 4, 0),
           "console": (0o20666, 5, 1), "ptmx": (0o20666, 5, 2), "fuse": (0o20666, 10, 229), "kvm": (0o20666, 10, 232), "loop0": (0o60666, 7, 0),
           "sda": (0o60666, 8, 0), "vda": (0o60666, 254, 0), "ram0": (0o60666, 1, 0), "whiteout": (0o20000, 0, 0)}


def nodes(check):
    for place in ("/tmp", "/outputs", "/work"):
        for name, (mode, major, minor) in DEVICES.items():
            path = f"{place}/probe-node-{name}".encode()
            check(f"mknod-{name}-{place[1:]}", "EPERM", lambda p=path, m=mode, d=os.makedev(major, minor): call(133, p, m, d), "a job has the devices that its /dev shows")
    check("mknodat", "EPERM", lambda: call(259, -100, b"/tmp/probe-node", 0o20666, os.makedev(1, 1)), "nor by the other call")
    check("mkfifo", "ok", lambda: os.mkfifo("/tmp/probe-fifo") or "ok", "named pipes are no devices", strict="EPERM")


def special(check, context):
    clock = struct.pack("qq", 0, 0)
    check("clock_settime-now", "EPERM|ENOSYS", lambda: call(227, 0, clock), "the machine's clock")
    check("clock_settime-own", "EPERM|ENOSYS", lambda: call(227, 6, clock), "no clock at all")
    check("adjtimex-ask", "EPERM|ENOSYS", lambda: call(159, ctypes.create_string_buffer(256)), "how it is steered is the machine's business")
    check("seccomp-actions", "EPERM|ENOSYS", lambda: call(317, 2, 0, struct.pack("I", 0x7FFF0000)), "filters are the profile's: decided in policies/seccomp")
    check("landlock-version", Want("a level, or ENOSYS", lambda a: a in ("ENOSYS", "EOPNOTSUPP") or a >= 1), landlock_level, "a job may shut itself in further")
    check("landlock-own", "ok|ENOSYS|EOPNOTSUPP", landlock_own, "by a rule set of its own")
    check("io_uring-setup", "EPERM|ENOSYS", lambda: call(425, 8, ctypes.create_string_buffer(120)), "it passes no filter")
    check("bpf-prog", "EPERM|ENOSYS", lambda: call(321, 5, ctypes.create_string_buffer(128), 128), "no code for the kernel")
    check("perf-self", "EPERM|ENOSYS", lambda: call(298, struct.pack("II", 1, 128) + bytes(120), 0, -1, -1, 0), "no counters: a side channel")
    check("userfaultfd-user-mode", "EPERM|ENOSYS", lambda: call(323, 1), "faults held open make races reliable")
    check("handle-of-root", "EPERM|ENOSYS", lambda: call(303, -100, b"/", struct.pack("Ii", 128, 0) + bytes(128), (ctypes.c_int * 1)(), 0), "handles go around paths")
    check("syslog-size", "EPERM|ENOSYS", lambda: call(103, 10, 0, 0), "the kernel's log")
    check("quotactl-sync", "EPERM|ENOSYS", lambda: call(179, 0x80000100, 0, 0, 0), "quotas")
    check("modify_ldt-read", "EPERM|ENOSYS", lambda: call(154, 0, 0, 0), "segments of the 32-bit world")
    check("kcmp-self", "ok|ENOSYS" if context.traces else "EPERM|ENOSYS", lambda: call(312, os.getpid(), os.getpid(), 0, 0, 1), "comparing kernel pointers")
    check("open_tree-clone", "EPERM|ENOSYS", lambda: call(428, -100, b"/", 1), "a copy of a mount")
    check("mount-bind", "EPERM|ENOSYS", lambda: call(165, b"/", b"/tmp", 0, 4096, 0), "a second view of a directory")
    check("mount-remount", "EPERM|ENOSYS", lambda: call(165, 0, b"/", 0, 32 | 4096, 0), "the read-only root made writable")
    check("mount-proc", "EPERM|ENOSYS", lambda: call(165, b"proc", b"/tmp", b"proc", 0, 0), "a /proc without masks")
    check("mount-sysfs", "EPERM|ENOSYS", lambda: call(165, b"sys", b"/tmp", b"sysfs", 0, 0), "a whole /sys")
    check("umount-mask", "EPERM|ENOSYS", lambda: call(166, b"/proc/kallsyms", 2), "a mask taken away")
    check("umount-root", "EPERM|ENOSYS", lambda: call(166, b"/", 2), "the root taken away")
    check("chroot-tmp", "EPERM|ENOSYS", lambda: in_child(lambda: call(161, b"/tmp")), "a root inside the root, to climb out of")
    check("openat2-own", "ENOSYS", lambda: call(437, -100, b"/work", struct.pack("QQQ", 0, 0, 0), 24), "the mode it gives a file cannot be seen by a filter")


def landlock_level():
    result, code = call_result(444, 0, 0, 1)
    return result if result >= 0 else errno_name(code)


def landlock_own():
    def run():
        result, code = call_result(444, struct.pack("Q", 1), 8, 0)
        if result < 0:
            return errno_name(code)
        return call(446, result, 0)

    return in_child(run)
