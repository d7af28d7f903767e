//! Entries of /proc that say something about the host or act on it, and that no
//! training job needs. The mount is read-only anyway, and most of these are for
//! root alone: this is the second wall. Every job has it, whatever its profile.

/// Covered by an empty file.
pub const FILES: [&str; 26] = [
    "buddyinfo",     // free memory by size: tells when an attack on the heap can begin
    "cmdline",       // options of the boot, with whatever secrets somebody put there
    "config.gz",     // what the kernel was built with
    "diskstats",     // what other processes do, by disk
    "interrupts",    // what other processes and people do, by device
    "iomem",         // layout of physical memory
    "ioports",       // hardware
    "kcore",         // physical memory
    "keys",          // names of keys
    "key-users",     // how many keys each user has
    "kallsyms",      // addresses of the kernel
    "kmsg",          // the kernel's log
    "kpagecount",    // page frames
    "kpageflags",    // page frames
    "kpagecgroup",   // page frames
    "latency_stats", // what other processes wait for
    "modules",       // drivers, and where they are
    "partitions",    // disks
    "timer_list",    // timers of all processes
    "sched_debug",   // tasks of all processes
    "slabinfo",      // allocation side channel
    "softirqs",      // what other processes do, by kind of device
    "swaps",         // disks
    "vmallocinfo",   // addresses of the kernel
    "sysrq-trigger", // reboots the machine
    "zoneinfo",      // free memory, as buddyinfo
];

/// Covered by an empty directory.
pub const DIRECTORIES: [&str; 6] = [
    "acpi",   // hardware control
    "asound", // hardware
    "fs",     // disks, by file system
    "irq",    // hardware control
    "scsi",   // hardware control
    "bus",    // hardware
];

/// What covers this entry of /proc, if something does: the path as it stands in a
/// job's root.
pub(crate) fn cover(path: &str) -> Option<&'static str> {
    let inner = path.strip_prefix("/proc/")?;
    let first = inner.split('/').next()?;
    match (FILES.contains(&inner), DIRECTORIES.contains(&first)) {
        (true, _) => Some("an empty file"),
        (_, true) => Some("an empty directory"),
        _ => None,
    }
}
