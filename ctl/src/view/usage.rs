//! What a job uses or used, in words.

use crate::view::text::{duration, size, visible};
use fetchml_api::job::{LiveUsage, Usage};

/// What a running job uses: a line for the whole of it, and one a card whose driver
/// tells.
pub(super) fn live(usage: &LiveUsage) -> Vec<(&'static str, String)> {
    let parts = [
        Some(format!(
            "{} in user mode, {} in the kernel",
            duration(usage.user_usec),
            duration(usage.system_usec)
        )),
        usage.memory_bytes.map(|bytes| format!("{} of memory", size(bytes))),
        usage.processes.map(|count| format!("{count} processes and threads")),
        io(usage.read_bytes, usage.written_bytes),
        usage.disk_bytes.map(|bytes| format!("{} on the disk", size(bytes))),
    ];
    let whole = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let mut lines = vec![("uses", whole)];
    lines.extend(usage.gpus.iter().map(|gpu| {
        let parts = [
            gpu.busy_percent.map(|percent| format!("{percent} % busy")),
            gpu.memory_bytes.map(|bytes| format!("{} of its memory", size(bytes))),
        ];
        let said: Vec<_> = parts.into_iter().flatten().collect();
        let said =
            if said.is_empty() { "its driver tells nothing".into() } else { said.join(", ") };
        ("accelerator", format!("{}: {said}", visible(&gpu.name)))
    }));
    lines
}

/// What a job used beyond time and memory, to follow that; empty where nothing is known.
pub(super) fn further(usage: &Usage) -> String {
    let parts = [
        usage.processes_peak.map(|count| format!("{count} processes and threads at most")),
        io(usage.read_bytes, usage.written_bytes),
        usage.disk_bytes.map(|bytes| format!("{} on the disk", size(bytes))),
    ];
    parts.into_iter().flatten().map(|part| format!(", {part}")).collect()
}

fn io(read: Option<u64>, written: Option<u64>) -> Option<String> {
    Some(format!("{} read, {} written", size(read?), size(written?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::job::GpuUse;

    #[test]
    fn only_what_is_known_is_said() {
        assert_eq!(further(&Usage::default()), "");
        let known = Usage {
            processes_peak: Some(9),
            read_bytes: Some(0),
            written_bytes: Some(3 << 20),
            disk_bytes: Some(2 << 20),
            ..Usage::default()
        };
        assert_eq!(
            further(&known),
            ", 9 processes and threads at most, 0 B read, 3 MiB written, 2 MiB on the disk"
        );
        let gpu = |name: &str, busy_percent| GpuUse {
            name: name.into(),
            busy_percent,
            memory_bytes: busy_percent.map(|_| 1 << 30),
        };
        let usage = LiveUsage {
            memory_bytes: Some(5 << 20),
            gpus: vec![gpu("amd0", Some(7)), gpu("amd1", None)],
            ..LiveUsage::default()
        };
        let lines: Vec<_> =
            live(&usage).into_iter().map(|(label, text)| format!("{label}: {text}")).collect();
        assert_eq!(
            lines,
            [
                "uses: 0µs in user mode, 0µs in the kernel, 5 MiB of memory",
                "accelerator: amd0: 7 % busy, 1 GiB of its memory",
                "accelerator: amd1: its driver tells nothing",
            ]
        );
    }
}
