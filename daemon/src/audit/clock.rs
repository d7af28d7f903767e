//! When and during which boot.

use super::AuditError;
use fetchml_api::audit::{Id128, Stamp};
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// As PID 1 sees it, and with it journald: a container has an id of its own mounted over
/// that of the kernel, and the /proc of our unit does not show it.
const BOOT_ID_OF_PID_1: &str = "/proc/1/root/proc/sys/kernel/random/boot_id";

/// The id of this boot of the machine.
pub(super) fn boot_id() -> Result<Id128, AuditError> {
    // Only root may look there.
    if let Ok(text) = std::fs::read_to_string(BOOT_ID_OF_PID_1)
        && let Some(id) = parse(&text)
    {
        return Ok(id);
    }
    let text = std::fs::read_to_string(BOOT_ID).map_err(AuditError::io("read", BOOT_ID.into()))?;
    parse(&text)
        .ok_or_else(|| AuditError::Clock { path: BOOT_ID, why: format!("not an id: {text:?}") })
}

fn parse(text: &str) -> Option<Id128> {
    let digits: String = text.trim_end().chars().filter(|c| *c != '-').collect();
    digits.parse().ok()
}

/// Now. The boot clock never steps back, so a wall clock that did shows.
pub(super) fn stamp() -> Stamp {
    Stamp {
        time_usec: microseconds(ClockId::Realtime),
        boottime_usec: microseconds(ClockId::Boottime),
    }
}

fn microseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}
