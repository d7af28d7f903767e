"""Ways out through /proc, /sys and descriptors. Argument: path of a file on the
host that no job may reach."""

import os
import sys
from attack import attempt, call, done, read, write

outside = sys.argv[1]
NO = "EACCES EPERM EROFS ENOENT"

# Files by which the kernel is told to run a program on the host.
for path in ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
             "/proc/sys/kernel/poweroff_cmd", "/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper",
             "/proc/sys/kernel/hostname", "/proc/sys/kernel/ns_last_pid", "/proc/sys/vm/drop_caches",
             "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger",
             "/proc/irq/default_smp_affinity", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
             "/proc/self/oom_score_adj", "/proc/self/loginuid", "/proc/self/attr/current", "/proc/self/coredump_filter",
             "/proc/self/timerslack_ns", "/proc/self/clear_refs", "/proc/thread-self/comm", "/proc/mtrr",
             "/sys/devices/system/cpu/cpu0/online", "/sys/power/state", "/sys/kernel/security/landlock"]:
    attempt(f"write {path}", NO, write, path)

# The agent, which has the job's own id.
for name in ["mem", "environ", "maps", "auxv", "stack", "syscall", "io", "root/etc/shadow", "cwd/.", "exe",
             "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8", "ns/mnt", "ns/user", "ns/pid", "task/1/mem", "pagemap"]:
    attempt(f"read /proc/1/{name}", NO, read, f"/proc/1/{name}")
attempt("list /proc/1/fd", NO, os.listdir, "/proc/1/fd")
attempt("list /proc/1/map_files", NO, os.listdir, "/proc/1/map_files")

# Own memory through /proc, which goes around page protection.
attempt("write /proc/self/mem", "EROFS EACCES", os.open, "/proc/self/mem", os.O_RDWR)

# Nothing of the host's memory, keys or addresses.
for path in ["/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/kallsyms", "/proc/slabinfo", "/proc/timer_list",
             "/proc/vmallocinfo", "/proc/kpageflags", "/dev/mem", "/dev/kmsg", "/dev/port", "/sys/kernel/notes",
             "/sys/firmware/acpi/tables/DSDT", "/sys/kernel/debug", "/sys/kernel/vmcoreinfo"]:
    try:
        got = read(path)
    except OSError:
        got = b""
    print(f"held {path}" if got == b"" else f"BROKEN {path}: {got[:60]!r}")

# A descriptor or a working directory that was left open is a way out.
for name in ["cwd", "root", *(f"fd/{n}" for n in range(1024)), *(f"task/{os.getpid()}/fd/{n}" for n in range(16))]:
    for up in ["", "/..", "/../../../../../../.."]:
        try:
            found = os.stat(f"/proc/self/{name}{up}{outside}")
        except OSError:
            continue
        print(f"BROKEN {name}{up} leads out: {found}")
try:
    os.stat(outside)
    print(f"BROKEN {outside} is there")
except OSError:
    print("held the file outside is not there")
os.chdir("/")
for _ in range(300):
    os.chdir("..")
print("held root" if not os.path.exists(outside.lstrip("/")) else "BROKEN up and up leads out")

score = read("/proc/self/oom_score_adj")
print("held out-of-memory score" if score == b"500\n" else f"BROKEN out-of-memory score: {score}")

# No control group file system, so no release agent and no limits to edit.
mounts = open("/proc/self/mounts").read().split("\n")
kinds = {line.split(" ")[2] for line in mounts if line}
strange = kinds & {"cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "bpf", "mqueue", "devpts", "devtmpfs",
                   "configfs", "fusectl", "binfmt_misc", "pstore", "efivarfs", "hugetlbfs"}
devices = {line.split(" ")[1] for line in mounts if " devtmpfs " in line}
strange -= {"devtmpfs"} if all(d.startswith("/dev/") or d.startswith("/proc/") for d in devices) else set()
print(f"BROKEN mounted: {strange}" if strange else "held no control file system is mounted")
group = open("/proc/self/cgroup").read().split()
print("held cgroup" if all(line.endswith(":/") for line in group) or not [g for g in group if g.startswith("0::") and not g.endswith("/")]
      else f"BROKEN cgroup path: {group}")
done()
