"""Doors into parts of the kernel that escapes came through, knocked at with
arguments that the kernel itself would take."""

import ctypes
import mmap
import os
import struct
from attack import attempt, call, done, in_child

SHUT = "EPERM ENOSYS"
NEWUSER, NEWNS, NEWNET, NEWCGROUP, NEWPID = 0x10000000, 0x20000, 0x40000000, 0x2000000, 0x20000000

# A namespace of one's own is where every capability comes back.
for name, flags in [
    ("user", NEWUSER), ("user and mount", NEWUSER | NEWNS), ("mount", NEWNS),
    ("net", NEWNET), ("user and net", NEWUSER | NEWNET), ("cgroup", NEWCGROUP), ("pid", NEWPID),
]:
    attempt(f"unshare {name}", "EPERM", call, 272, flags)
    in_child(f"clone {name}", "EPERM", call, 56, flags | 17, 0, 0, 0, 0)
    # Only the low half counts for the kernel, and must for the filter.
    in_child(f"clone {name} with high bits", "EPERM", call, 56, 1 << 40 | flags | 17, 0, 0, 0, 0)
args = (ctypes.c_uint64 * 11)(NEWUSER, 0, 0, 0, 17)
in_child("clone3", "ENOSYS", call, 435, args, 88)
namespace = os.open("/proc/self/ns/user", os.O_RDONLY)
attempt("setns", "EPERM", call, 308, namespace, 0)

# Mounts, by the old and by the new calls.
attempt("mount", "EPERM", call, 165, b"x", b"/tmp", b"tmpfs", 0, 0)
attempt("remount /proc writable", "EPERM", call, 165, b"", b"/proc", b"", 32, 0)
attempt("umount a mask", "EPERM", call, 166, b"/proc/kcore", 2)
attempt("fsopen", "EPERM", call, 430, b"tmpfs", 0)
attempt("fsconfig", "EPERM", call, 431, 3, 1, b"source", b"x" * 4096, 0)
attempt("open_tree", "EPERM", call, 428, -100, b"/", 1)
attempt("move_mount", "EPERM", call, 429, -100, b"/work", -100, b"/tmp", 0)
attempt("mount_setattr", "EPERM", call, 442, -100, b"/", 0, (ctypes.c_uint64 * 4)(0, 1), 32)
attempt("pivot_root", "EPERM", call, 155, b"/work", b"/work")
attempt("chroot", "EPERM", call, 161, b"/work")

# Handles of files: inode 2 is the root of the host's file system.
handle = struct.pack("<IiII", 8, 1, 2, 0)
directory = os.open("/work", os.O_RDONLY)
attempt("open_by_handle_at", "EPERM", call, 304, directory, handle, os.O_RDONLY)
attempt("name_to_handle_at", "EPERM", call, 303, directory, b".", ctypes.create_string_buffer(136),
        ctypes.create_string_buffer(4), 4096)

# Subsystems that are reached by a call of their own.
attempt("io_uring_setup", SHUT, call, 425, 8, ctypes.create_string_buffer(120))
attempt("userfaultfd", SHUT, call, 323, 0o4000)
attempt("userfaultfd for user mode", SHUT, call, 323, 0o4001)
program = struct.pack("<BBhi", 0xb7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
code = ctypes.create_string_buffer(program)
load = struct.pack("<IIQQ", 1, 2, ctypes.addressof(code), 0).ljust(120, b"\0")
attempt("bpf", SHUT, call, 321, 5, load, 120)
attempt("perf_event_open", SHUT, call, 298, struct.pack("<II", 1, 128).ljust(128, b"\0"), 0, -1, -1, 0)
attempt("fanotify_init", SHUT, call, 300, 0, 0)
attempt("keyctl", SHUT, call, 250, 1, 0)
attempt("add_key", SHUT, call, 248, b"user", b"x", b"y", 1, -3)
attempt("request_key", SHUT, call, 249, b"user", b"x", 0, -3)
attempt("modify_ldt", SHUT, call, 154, 1, struct.pack("<IIII", 0, 0, 0xfffff, 0x51), 16)
attempt("vmsplice", SHUT, call, 278, 1, 0, 0, 0)
attempt("mq_open", SHUT, call, 240, b"x", 0o102, 0o600, 0)
attempt("quotactl", SHUT, call, 179, 0x80000700, b"/dev/sda", 0, 0)
attempt("memfd_secret", SHUT, call, 447, 0)
attempt("lookup_dcookie", SHUT, call, 212, 0, ctypes.create_string_buffer(8), 8)
attempt("uselib", SHUT, call, 134, b"/work/x")

# The machine itself.
attempt("init_module", SHUT, call, 175, b"", 0, b"")
attempt("finit_module", SHUT, call, 313, directory, b"", 0)
attempt("kexec_load", SHUT, call, 246, 0, 0, 0, 0)
attempt("kexec_file_load", SHUT, call, 320, -1, -1, 0, b"", 8)
attempt("reboot", SHUT, call, 169, 0xfee1dead, 672274793, 0)
attempt("syslog", SHUT, call, 103, 3, ctypes.create_string_buffer(100), 100)
attempt("settimeofday", SHUT, call, 164, 0, struct.pack("<ii", 0, 0))
attempt("clock_settime", SHUT, call, 227, 0, struct.pack("<qq", 0, 0))
attempt("adjtimex", SHUT, call, 159, ctypes.create_string_buffer(256))
attempt("sethostname", SHUT, call, 170, b"owned", 5)
attempt("swapon", SHUT, call, 167, b"/work/x", 0)
attempt("acct", SHUT, call, 163, b"/work/x")
attempt("ioperm", SHUT, call, 173, 0x80, 1, 1)
attempt("iopl", SHUT, call, 172, 3)

# Protections of the process that exploits first switch off.
attempt("no address randomisation", "EPERM", call, 135, 0x40000)
attempt("READ_IMPLIES_EXEC", "EPERM", call, 135, 0x400000)
attempt("map page zero", "EPERM EACCES", lambda: call(9, 0, 4096, 3, 0x32, -1, 0))
attempt("securebits", "EINVAL EPERM", call, 157, 28, 0)
attempt("ambient capability", "EINVAL EPERM", call, 157, 47, 2, 21, 0, 0)
attempt("memory map", "EINVAL EPERM", call, 157, 35, 1, 0, 0, 0)
LOCKED = 0xef
print("held secure bits" if call(157, 27) == LOCKED else f"BROKEN secure bits are {call(157, 27):#x}")
attempt("a second filter with a listener", SHUT, call, 317, 1, 8, 0)


# Other conventions of the same kernel: the filter must not take their numbers
# for those of its own.
def machine_code(code):
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result < 0:
        raise OSError(-result, "")
    return result


# mov eax, 20 (getpid for 32 bits); int 0x80; ret
in_child("int 0x80", "SIGSYS ENOSYS EPERM SIGSEGV", machine_code, b"\xb8\x14\0\0\0\xcd\x80\xc3")
# mov eax, 21 (mount for 32 bits, access for 64)
in_child("int 0x80 mount", "SIGSYS ENOSYS EPERM SIGSEGV", machine_code, b"\xb8\x15\0\0\0\xcd\x80\xc3")
in_child("x32 getpid", "SIGSYS ENOSYS EPERM", call, 0x40000000 + 39)
in_child("x32 recvmmsg", "SIGSYS ENOSYS EPERM", call, 0x40000000 + 537, 0, 0, 0, 0, 0)
done()
