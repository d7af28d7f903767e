//! Entries of /proc that say something about the host or act on it, and that no
//! training job needs. The mount is read-only anyway, and most of these are for
//! root alone: this is the second wall.

use std::ffi::CString;

/// One entry of /proc to cover.
#[derive(Debug)]
pub(crate) struct ProcMask {
    /// Path below the root.
    pub(crate) path: CString,
    /// Covered by an empty directory rather than by /dev/null.
    pub(crate) directory: bool,
}

const FILES: [&str; 26] = [
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

const DIRECTORIES: [&str; 6] = [
    "acpi",   // hardware control
    "asound", // hardware
    "fs",     // disks, by file system
    "irq",    // hardware control
    "scsi",   // hardware control
    "bus",    // hardware
];

/// The masks for the entries that this kernel has.
pub(crate) fn masks_of_this_kernel() -> Vec<ProcMask> {
    let all = FILES.iter().map(|f| (f, false)).chain(DIRECTORIES.iter().map(|d| (d, true)));
    all.filter(|(name, _)| std::path::Path::new("/proc").join(name).exists())
        .filter_map(|(name, directory)| {
            Some(ProcMask { path: CString::new(format!("proc/{name}")).ok()?, directory })
        })
        .collect()
}
