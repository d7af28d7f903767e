"""/proc and /sys: what programs need is there, what tells of the host or steers it is not."""

import os

from harness import Want, exists, opened, read, written

#: Entries that hold memory, addresses, keys or other people's doings: masked
#: (policies/src/masks.rs) or absent.
EMPTY = (
    "kcore", "keys", "key-users", "kallsyms", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "latency_stats", "timer_list", "timer_stats",
    "sched_debug", "slabinfo", "vmallocinfo", "modules", "cmdline", "config.gz", "iomem", "ioports", "interrupts", "diskstats", "partitions",
    "pagetypeinfo", "swaps", "allocinfo", "zoneinfo", "buddyinfo", "softirqs",
)
EMPTY_DIRECTORIES = ("acpi", "asound", "bus", "scsi", "fs", "irq", "xen", "ide", "mpt", "dynamic_debug")
NEEDED = {
    "cpuinfo": "processor", "meminfo": "MemAvailable", "stat": "cpu ", "uptime": ".", "loadavg": ".", "version": "Linux version",
    "filesystems": "tmpfs", "self/status": "VmRSS", "self/maps": "r-xp", "self/smaps": "Pss", "self/statm": " ", "self/stat": " ",
    "self/limits": "Max open files", "self/mountinfo": " / ", "self/mounts": "/tmp", "self/cgroup": ":/", "self/cmdline": "p", "self/comm": "p",
    "self/io": "rchar", "self/oom_score": "", "sys/kernel/ngroups_max": "65536", "sys/kernel/cap_last_cap": "4", "sys/kernel/pid_max": "",
    "sys/kernel/random/uuid": "-", "sys/vm/overcommit_memory": "", "sys/kernel/osrelease": ".", "sys/fs/pipe-max-size": "", "sys/vm/max_map_count": "",
    "sys/kernel/threads-max": "", "sys/kernel/sem": "", "sys/kernel/shmmax": "", "sys/fs/inotify/max_user_watches": "", "vmstat": "pgfault", "self/schedstat": " ",
    "self/numa_maps": "", "self/net/dev": "lo", "sys/net/core/somaxconn": "", "sys/kernel/core_pattern": "",
}
SETTINGS = (
    "kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "kernel/sysrq", "kernel/panic", "kernel/kptr_restrict",
    "kernel/dmesg_restrict", "kernel/randomize_va_space", "kernel/unprivileged_bpf_disabled", "kernel/ns_last_pid", "kernel/poweroff_cmd",
    "kernel/hotplug", "kernel/usermodehelper/bset", "kernel/usermodehelper/inheritable", "kernel/yama/ptrace_scope", "kernel/perf_event_paranoid",
    "kernel/shmmax", "kernel/msgmax", "kernel/sem", "kernel/threads-max", "kernel/pid_max", "kernel/keys/maxkeys", "kernel/random/boot_id",
    "kernel/printk", "kernel/cad_pid", "kernel/io_uring_disabled", "vm/overcommit_memory", "vm/drop_caches", "vm/mmap_min_addr", "vm/panic_on_oom", "vm/swappiness",
    "vm/nr_hugepages", "vm/max_map_count", "fs/suid_dumpable", "fs/protected_symlinks", "fs/protected_hardlinks", "fs/file-max",
    "fs/binfmt_misc/register", "fs/inotify/max_user_watches", "fs/mqueue/queues_max", "net/ipv4/ip_forward", "net/core/somaxconn",
    "net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range", "net/ipv4/conf/all/forwarding", "net/core/bpf_jit_enable", "user/max_user_namespaces", "debug/exception-trace", "abi/vsyscall32",
)
ACTORS = ("sysrq-trigger", "self/clear_refs", "self/mem", "self/attr/current", "self/attr/exec", "self/loginuid", "self/sessionid", "self/uid_map", "self/gid_map",
          "self/projid_map", "self/setgroups", "self/sched", "self/timens_offsets", "self/comm", "self/make-it-fail", "self/fail-nth", "self/latency", "self/timerslack_ns", "self/patch_state",
          "irq/default_smp_affinity", "irq/1/smp_affinity", "mtrr", "acpi/wakeup", "bus/pci/00/00.0", "scsi/scsi", "fs/ext4", "fs/xfs", "fs/nfsd/threads", "dynamic_debug/control", "slabinfo", "kcore", "kmsg")
REFUSED = "EROFS|EACCES|EPERM|ENOENT|EISDIR|EINVAL"


def empty(path):
    if not os.path.exists(path):
        return "empty"
    if os.path.isdir(path):
        return "empty" if not os.listdir(path) else f"entries: {os.listdir(path)[:4]}"
    return "empty" if not read(path, 64) else "content"


def own_entries(check, context):
    """What must stay as it is also where a process can write its own entries."""
    thread = f"/proc/self/task/{os.getpid()}/comm"
    check("name-thread", "ok" if context.cuda else REFUSED, lambda: written(thread, b"probe"), "CUDA gives up where it cannot")
    for name, content in (("uid_map", b"0 0 1"), ("gid_map", b"0 0 1"), ("setgroups", b"allow"), ("loginuid", b"0"),
                          ("timens_offsets", b"monotonic 1 0"), ("oom_score_adj", b"-1000"), ("make-it-fail", b"1")):
        check(f"own-{name}", REFUSED, lambda n=name, c=content: written(f"/proc/self/{n}", c), "what the sandbox set is not changed from inside")
    for name in sorted(os.listdir("/proc")):
        path = f"/proc/{name}"
        if name.isdigit() or os.path.islink(path):
            continue
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY) or os.stat(path).st_rdev == os.makedev(1, 3)
        check(f"fixed-{name}", "true", read_only, "no process's: the machine's")


def run(probe, context):
    check = probe.check
    for name in EMPTY:
        check(f"proc-{name}", "empty|EACCES|EPERM", lambda n=name: empty(f"/proc/{n}"), "memory, addresses, keys, hardware or other people's doings")
    for name in EMPTY_DIRECTORIES:
        check(f"proc-{name}", "empty|EACCES|EPERM", lambda n=name: empty(f"/proc/{n}"), "hardware, and what steers it")
    for name, part in NEEDED.items():
        if name in ("self/numa_maps", "sys/net/core/somaxconn") and not os.path.exists(f"/proc/{name}"):
            continue
        check(f"proc-needs-{name.replace('/', '-')}", "works", lambda n=name, p=part: "works" if p in read(f"/proc/{n}") else "lacks " + p, "libraries size and name things by it")
    for name in SETTINGS:
        check(f"setting-{name.replace('/', '-')}", REFUSED, lambda n=name: opened(f"/proc/sys/{n}", os.O_WRONLY), "settings of the kernel are the machine's")
    for name in ACTORS:
        # The kernel's own rules let a process write some of its own; the mount does not,
        # but where CUDA needs it.
        if name == "self/mem" or context.cuda and name.startswith("self/"):
            continue
        path = f"/proc/{name}"
        masked = os.path.exists(path) and os.stat(path).st_rdev == os.makedev(1, 3)
        check(f"write-{name.replace('/', '-')}", "harmless" if masked else REFUSED, lambda p=path, m=masked: "harmless" if m else opened(p, os.O_WRONLY), "nothing in a job writes to /proc")
    check("self-mem-write", "ok" if context.cuda else REFUSED, lambda: opened("/proc/self/mem", os.O_RDWR), "read-only pages are changed through it")
    own_entries(check, context)
    check("kallsyms-zero", "0", lambda: str(sum(1 for l in read("/proc/kallsyms").splitlines() if l.split()[0].strip("0"))), "no address of the kernel")
    check("modules-zero", "0", lambda: str(sum(1 for l in read("/proc/modules").splitlines() if "0x0000000000000000" not in l)) if os.path.exists("/proc/modules") else "0", "the same")
    check("stack-hidden", "EACCES|EPERM|", lambda: read("/proc/self/stack"), "kernel stacks")
    check("wchan-hidden", "0|", lambda: read("/proc/self/wchan"), "kernel addresses")
    check("pagemap-frames", "0|EPERM", frames, "no physical address (row hammer)")
    check("syscall-file", Want("no kernel address", lambda a: a in ("EPERM", "EACCES") or "0xffff8" not in a), lambda: read("/proc/self/syscall"), "what it waits for is user space's")
    check("proc-mounts-link", "self/mounts", lambda: os.readlink("/proc/mounts"), "own mounts only")
    check("proc-net-link", "self/net", lambda: os.readlink("/proc/net"), "own network only")
    check("proc-self", str(os.getpid()), lambda: os.readlink("/proc/self"), "ids agree")
    check("proc-thread-self", f"{os.getpid()}/task/{os.getpid()}", lambda: os.readlink("/proc/thread-self"), "ids agree")
    check("map-files", "EPERM|EACCES|[]|ok", lambda: "ok" if os.listdir("/proc/self/map_files") is not None else "", "its own")
    check("nvram", "absent", exists("/dev/nvram"), "firmware")
    sysfs(check, context)


def frames():
    """Physical page numbers that /proc/self/pagemap tells."""
    import ctypes
    page = ctypes.create_string_buffer(b"x", 1 << 14)
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(ctypes.addressof(page) // 4096 * 8)
        entry = int.from_bytes(file.read(8), "little")
    return str(entry & (1 << 55) - 1)


def sysfs(check, context):
    check("sys-cpu-possible", Want("a range", lambda a: a[0].isdigit()), lambda: read("/sys/devices/system/cpu/possible").strip(), "OpenMP sizes itself by it")
    check("sys-cpu-online", Want("a range", lambda a: a[0].isdigit()), lambda: read("/sys/devices/system/cpu/online").strip(), "glibc counts by it")
    check("sys-cpu-topology", Want("a number", lambda a: a.lstrip("-").isdigit()), lambda: read("/sys/devices/system/cpu/cpu0/topology/core_id").strip(), "hwloc and MKL place threads by it")
    for name in ("cpu/cpu0/online", "cpu/cpu1/online", "cpu/smt/control", "cpu/cpu0/cpufreq/scaling_governor", "cpu/probe", "node/node0/compact", "cpu/cpu0/power/control", "cpu/microcode/reload", "cpu/uevent", "cpu/cpu0/uevent"):
        check(f"sys-write-{name.replace('/', '-')}", REFUSED, lambda n=name: opened(f"/sys/devices/system/{n}", os.O_WRONLY), "processors are not the job's to switch")
    for path in ("/sys/devices/system/cpu/cpu0/driver/../../../..", "/sys/devices/system/cpu/cpu0/subsystem", "/sys/devices/system/node/node0/subsystem", "/sys/devices/system/cpu/cpu0/firmware_node", "/sys/devices/system/node/node0/cpu0/driver"):
        check(f"sys-link{path[11:].replace('/', '-')}", Want("nowhere, or inside", lambda a: a in ("absent", "inside")), lambda p=path: leads(p), "links out of it lead nowhere")
    check("sys-interfaces", "none", interfaces, "the machine's cards, their addresses and what passes through them")
    if context.profile != "gpu":
        for name in ("dmi/id/product_serial", "dmi/id/product_uuid", "dmi/id/board_serial", "net", "thermal", "hwmon", "powercap", "tty", "block", "drm"):
            check(f"sys-class-{name.replace('/', '-')}", "absent", exists(f"/sys/class/{name}"), "serial numbers, sensors and cards of the machine")


def interfaces():
    """Network interfaces, but a loopback, that /sys tells of anywhere."""
    found = set()
    for base in ("/sys/class/net", "/sys/devices"):
        for directory, directories, _ in os.walk(base):
            if os.path.basename(directory) == "net":
                found.update(set(directories) - {"lo"})
                directories.clear()
    return ", ".join(sorted(found)) or "none"


def leads(path):
    if not os.path.exists(path):
        return "absent"
    real = os.path.realpath(path)
    return "inside" if real.startswith("/sys/devices") or real == "/sys" else real
