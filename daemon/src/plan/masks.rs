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

const FILES: [&str; 14] = [
    "kcore",         // physical memory
    "keys",          // names of keys
    "key-users",     // how many keys each user has
    "kallsyms",      // addresses of the kernel
    "kmsg",          // the kernel's log
    "kpagecount",    // page frames
    "kpageflags",    // page frames
    "kpagecgroup",   // page frames
    "latency_stats", // what other processes wait for
    "timer_list",    // timers of all processes
    "sched_debug",   // tasks of all processes
    "slabinfo",      // allocation side channel
    "vmallocinfo",   // addresses of the kernel
    "sysrq-trigger", // reboots the machine
];

const DIRECTORIES: [&str; 4] = [
    "acpi",   // hardware control
    "asound", // hardware
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
