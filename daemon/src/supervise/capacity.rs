//! What the machine has for jobs: processors, memory, accelerators.

use crate::cgroup::Bounds;
use crate::queue::{Capacity, Gpu, MilliCpus};
use std::fs;

/// Left to the machine itself: one part in twenty, and at least so much.
const RESERVE_PART: u64 = 20;
const LEAST_RESERVE_BYTES: u64 = 256 << 20;

/// What is there, within what the groups above the jobs' leave of it.
pub(super) fn of_machine(bounds: Bounds, gpus: Vec<Gpu>) -> Capacity {
    let online = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let total_bytes =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text)).unwrap_or(0);
    of(online, total_bytes, bounds, gpus)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn of(online: usize, total_bytes: u64, bounds: Bounds, gpus: Vec<Gpu>) -> Capacity {
    let online = online as MilliCpus * 1000;
    let cpus = bounds.cpus.map_or(online, |cpus| online.min((cpus * 1000.0) as MilliCpus));
    let memory = total_bytes.saturating_sub(LEAST_RESERVE_BYTES.max(total_bytes / RESERVE_PART));
    Capacity {
        slots: 0,
        milli_cpus: cpus,
        memory_bytes: bounds.memory_bytes.map_or(memory, |most| memory.min(most)),
        gpus,
    }
}

/// `MemTotal` of /proc/meminfo.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_machine_keeps_something_for_itself() {
        let bytes = total_bytes("MemTotal:       67108864 kB\nMemFree: 1 kB\n");
        assert_eq!(bytes, Some(64 * GIB));
        let large = of(8, 64 * GIB, Bounds::default(), Vec::new());
        assert_eq!((large.milli_cpus, large.memory_bytes), (8000, 64 * GIB - 64 * GIB / 20));
        let small = of(2, GIB, Bounds::default(), Vec::new());
        assert_eq!(small.memory_bytes, GIB - LEAST_RESERVE_BYTES);
    }

    #[test]
    fn what_groups_above_leave_is_less_than_what_is_there_or_nothing_new() {
        let bounds = |cpus, gib| Bounds { cpus: Some(cpus), memory_bytes: Some(gib * GIB) };
        let within = of(8, 64 * GIB, bounds(1.5, 4), Vec::new());
        assert_eq!((within.milli_cpus, within.memory_bytes), (1500, 4 * GIB));
        let beyond = of(8, 64 * GIB, bounds(100.0, 1000), Vec::new());
        assert_eq!(beyond, of(8, 64 * GIB, Bounds::default(), Vec::new()));
    }
}
