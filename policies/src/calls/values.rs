//! Names of argument values, from the kernel's user-space headers (Linux 6.12).

/// Words for one argument of the call `name`.
pub(super) fn words(name: &str, value: u64) -> String {
    // Every argument of the table is an int or less: the kernel does not look at
    // the high half.
    let low = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
    if matches!(name, "clone" | "unshare" | "setns") {
        return flags(low);
    }
    if is_mode(name) {
        return format!("mode {low:o}");
    }
    match table(name).iter().find(|(number, _)| *number == low) {
        Some((_, name)) => (*name).to_owned(),
        None if matches!(name, "ioctl" | "personality" | "arch_prctl") => format!("{low:#x}"),
        None => low.to_string(),
    }
}

/// The value that has this word: a name of the call's table, several joined by
/// `|`, or a number, decimal, `0x…` or (where it is a mode) octal.
pub(super) fn value(name: &str, word: &str) -> Option<u64> {
    read(table(name), if is_mode(name) { 8 } else { 10 }, word)
}

/// The value of an argument that is not the one of interest.
pub(super) fn further(name: &str, index: usize, word: &str) -> Option<u64> {
    read(further_table(name, index), 10, word)
}

/// The word for such a value.
pub(super) fn further_word(name: &str, index: usize, value: u64) -> String {
    let named = further_table(name, index).iter().find(|(known, _)| u64::from(*known) == value);
    named.map_or_else(|| format!("{value:#x}"), |(_, word)| (*word).to_owned())
}

fn read(names: &[(u32, &str)], base: u32, word: &str) -> Option<u64> {
    if let Some((one, rest)) = word.split_once('|') {
        return Some(read(names, base, one.trim())? | read(names, base, rest.trim())?);
    }
    let named = names.iter().find(|(_, known)| known.eq_ignore_ascii_case(word));
    match (named, word.strip_prefix("0x")) {
        (Some((number, _)), _) => Some(u64::from(*number)),
        (None, Some(digits)) => u64::from_str_radix(digits, 16).ok(),
        (None, None) => u64::from_str_radix(word, base).ok(),
    }
}

/// The type of a socket, socket(2).
pub(super) fn socket_type(kind: u64) -> String {
    let known = match kind {
        1 => "SOCK_STREAM",
        2 => "SOCK_DGRAM",
        3 => "SOCK_RAW",
        4 => "SOCK_RDM",
        5 => "SOCK_SEQPACKET",
        6 => "SOCK_DCCP",
        10 => "SOCK_PACKET",
        _ => return kind.to_string(),
    };
    known.to_owned()
}

fn is_mode(name: &str) -> bool {
    const CALLS: [&str; 9] =
        ["open", "openat", "creat", "chmod", "fchmod", "fchmodat", "fchmodat2", "mknod", "mknodat"];
    CALLS.contains(&name)
}

fn table(name: &str) -> &'static [(u32, &'static str)] {
    match name {
        "clone" | "unshare" | "setns" => &NAMESPACES,
        "socket" | "socketpair" => &FAMILIES,
        "ioctl" => &REQUESTS,
        "prctl" => &PROCESS_OPTIONS,
        "fcntl" => &FILE_COMMANDS,
        "prlimit64" => &RESOURCES,
        "keyctl" => &KEY_OPERATIONS,
        "seccomp" => &SECCOMP_OPERATIONS,
        "clock_settime" => &CLOCKS,
        "setpriority" => &WHOSE,
        "ioprio_set" => &WHOSE_IO,
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "mknod" | "mknodat" => &MODES,
        _ => &[],
    }
}

fn further_table(name: &str, index: usize) -> &'static [(u32, &'static str)] {
    match (name, index) {
        ("socket" | "socketpair", 1) => &SOCKET_TYPES,
        ("socket" | "socketpair", 2) => &PROTOCOLS,
        ("mmap" | "mprotect" | "pkey_mprotect", 2) => &PROTECTIONS,
        ("mmap", 3) => &MAPPINGS,
        _ => &[],
    }
}

fn flags(value: u32) -> String {
    let named: Vec<&str> =
        NAMESPACES.iter().filter(|(flag, _)| value & flag != 0).map(|(_, name)| *name).collect();
    if named.is_empty() { format!("{value:#x}") } else { named.join("|") }
}

const NAMESPACES: [(u32, &str); 8] = [
    (0x80, "CLONE_NEWTIME"),
    (0x2_0000, "CLONE_NEWNS"),
    (0x200_0000, "CLONE_NEWCGROUP"),
    (0x400_0000, "CLONE_NEWUTS"),
    (0x800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

const FAMILIES: [(u32, &str); 24] = [
    (0, "AF_UNSPEC"),
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (3, "AF_AX25"),
    (4, "AF_IPX"),
    (5, "AF_APPLETALK"),
    (9, "AF_X25"),
    (10, "AF_INET6"),
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (26, "AF_LLC"),
    (27, "AF_IB"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (33, "AF_RXRPC"),
    (38, "AF_ALG"),
    (39, "AF_NFC"),
    (40, "AF_VSOCK"),
    (41, "AF_KCM"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
];

const REQUESTS: [(u32, &str); 8] = [
    (0x5401, "TCGETS"),
    (0x5402, "TCSETS"),
    (0x540e, "TIOCSCTTY"),
    (0x5412, "TIOCSTI"),
    (0x5413, "TIOCGWINSZ"),
    (0x541c, "TIOCLINUX"),
    (0x541d, "TIOCCONS"),
    (0x5423, "TIOCSETD"),
];

const PROCESS_OPTIONS: [(u32, &str); 26] = [
    (1, "PR_SET_PDEATHSIG"),
    (4, "PR_SET_DUMPABLE"),
    (6, "PR_SET_UNALIGN"),
    (8, "PR_SET_KEEPCAPS"),
    (14, "PR_SET_TIMING"),
    (22, "PR_SET_SECCOMP"),
    (24, "PR_CAPBSET_DROP"),
    (26, "PR_SET_TSC"),
    (28, "PR_SET_SECUREBITS"),
    (31, "PR_TASK_PERF_EVENTS_DISABLE"),
    (32, "PR_TASK_PERF_EVENTS_ENABLE"),
    (33, "PR_MCE_KILL"),
    (34, "PR_MCE_KILL_GET"),
    (35, "PR_SET_MM"),
    (43, "PR_MPX_ENABLE_MANAGEMENT"),
    (47, "PR_CAP_AMBIENT"),
    (53, "PR_SET_SPECULATION_CTRL"),
    (55, "PR_SET_TAGGED_ADDR_CTRL"),
    (57, "PR_SET_IO_FLUSHER"),
    (59, "PR_SET_SYSCALL_USER_DISPATCH"),
    (62, "PR_SCHED_CORE"),
    (65, "PR_SET_MDWE"),
    (66, "PR_GET_MDWE"),
    (67, "PR_SET_MEMORY_MERGE"),
    (68, "PR_GET_MEMORY_MERGE"),
    (0x5961_6d61, "PR_SET_PTRACER"),
];

const FILE_COMMANDS: [(u32, &str); 6] = [
    (8, "F_SETOWN"),
    (10, "F_SETSIG"),
    (1024, "F_SETLEASE"),
    (1026, "F_NOTIFY"),
    (1031, "F_SETPIPE_SZ"),
    (1033, "F_ADD_SEALS"),
];

const RESOURCES: [(u32, &str); 16] = [
    (0, "RLIMIT_CPU"),
    (1, "RLIMIT_FSIZE"),
    (2, "RLIMIT_DATA"),
    (3, "RLIMIT_STACK"),
    (4, "RLIMIT_CORE"),
    (5, "RLIMIT_RSS"),
    (6, "RLIMIT_NPROC"),
    (7, "RLIMIT_NOFILE"),
    (8, "RLIMIT_MEMLOCK"),
    (9, "RLIMIT_AS"),
    (10, "RLIMIT_LOCKS"),
    (11, "RLIMIT_SIGPENDING"),
    (12, "RLIMIT_MSGQUEUE"),
    (13, "RLIMIT_NICE"),
    (14, "RLIMIT_RTPRIO"),
    (15, "RLIMIT_RTTIME"),
];

const KEY_OPERATIONS: [(u32, &str); 6] = [
    (0, "KEYCTL_GET_KEYRING_ID"),
    (1, "KEYCTL_JOIN_SESSION_KEYRING"),
    (6, "KEYCTL_DESCRIBE"),
    (8, "KEYCTL_LINK"),
    (10, "KEYCTL_SEARCH"),
    (11, "KEYCTL_READ"),
];

const SECCOMP_OPERATIONS: [(u32, &str); 4] = [
    (0, "SECCOMP_SET_MODE_STRICT"),
    (1, "SECCOMP_SET_MODE_FILTER"),
    (2, "SECCOMP_GET_ACTION_AVAIL"),
    (3, "SECCOMP_GET_NOTIF_SIZES"),
];

const CLOCKS: [(u32, &str); 2] = [(0, "CLOCK_REALTIME"), (1, "CLOCK_MONOTONIC")];
const WHOSE: [(u32, &str); 3] = [(0, "PRIO_PROCESS"), (1, "PRIO_PGRP"), (2, "PRIO_USER")];
const WHOSE_IO: [(u32, &str); 3] =
    [(1, "IOPRIO_WHO_PROCESS"), (2, "IOPRIO_WHO_PGRP"), (3, "IOPRIO_WHO_USER")];

const MODES: [(u32, &str); 9] = [
    (0o010_000, "S_IFIFO"),
    (0o020_000, "S_IFCHR"),
    (0o040_000, "S_IFDIR"),
    (0o060_000, "S_IFBLK"),
    (0o100_000, "S_IFREG"),
    (0o140_000, "S_IFSOCK"),
    (0o4_000, "S_ISUID"),
    (0o2_000, "S_ISGID"),
    (0o1_000, "S_ISVTX"),
];

const SOCKET_TYPES: [(u32, &str); 7] = [
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (0o4_000, "SOCK_NONBLOCK"),
    (0o2_000_000, "SOCK_CLOEXEC"),
];

const PROTOCOLS: [(u32, &str); 4] =
    [(1, "IPPROTO_ICMP"), (6, "IPPROTO_TCP"), (17, "IPPROTO_UDP"), (58, "IPPROTO_ICMPV6")];

const PROTECTIONS: [(u32, &str); 4] =
    [(0, "PROT_NONE"), (1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];

const MAPPINGS: [(u32, &str); 5] = [
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x4_0000, "MAP_HUGETLB"),
];
