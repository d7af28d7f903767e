//! `make bench`: what it costs to start, run in and hold a sandbox.
//!
//! Every launcher runs from this one process, in blocks by turns, so that a busy
//! machine disturbs all alike: read the ratios, and p10 where medians drift.
//! Peers that are not installed are left out, and said so. On a machine that
//! others use, run it at real-time priority (chrt -f 10).

mod inside;
mod latency;
mod peers;
mod resident;
mod stamp;
mod supervisor;

use resident::Resident;
use std::time::Duration;

/// What a launcher is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `/bin/true`, dynamically linked: the whole life of a small program.
    True,
    /// [`stamp`]: when the job's first instruction runs.
    Stamp,
}

impl Program {
    /// Where peers show it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::True => "/bin/true",
            Self::Stamp => "/job/stamp",
        }
    }

    /// The OCI bundle that runs it.
    pub(crate) fn bundle(self) -> &'static str {
        match self {
            Self::True => "bundle-true",
            Self::Stamp => "bundle-stamp",
        }
    }
}

#[allow(clippy::print_stdout)]
fn main() {
    if std::env::args().nth(1).is_some_and(|a| a == inside::ARGUMENT) {
        inside::time_calls();
        return;
    }
    if std::env::args().nth(1).is_some_and(|a| a == inside::DATA_ARGUMENT) {
        inside::time_data();
        return;
    }
    peers::enter_unified_view();
    // cargo passes --bench; a section's first letters may follow.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wants = |name: &str| wanted.as_ref().is_none_or(|w| name.starts_with(w.as_str()));
    // Nothing of the job's directories is on a disk here.
    let memory = tempfile::tempdir_in("/dev/shm").expect("a directory can be made");
    let resident = Resident::new(memory.path());
    resident.run(&["/bin/true"]);
    if wants("latency") {
        print!("{}", latency::section(&resident));
    }
    if wants("breakdown") {
        print!("{}", latency::breakdown(&resident));
    }
    if wants("supervisor") {
        print!("{}", supervisor::section(&resident));
    }
    if wants("inside") {
        print!("{}", inside::section(&resident));
    }
    for missing in peers::missing() {
        println!("not there, left out: {missing}");
    }
}

/// The value below which `share` percent of the times lie, in milliseconds.
pub(crate) fn percentile(times: &mut [Duration], share: usize) -> Option<f64> {
    times.sort_unstable();
    let place = (times.len() * share / 100).min(times.len().checked_sub(1)?);
    times.get(place).map(|t| t.as_secs_f64() * 1000.0)
}
