//! `make bench`: what a long queue costs, and how many jobs a second go through the
//! whole system, beside other queues on this machine.
//!
//! Peers that are not installed are left out, and said so.

mod decide;
mod drain;
mod peers;
mod slurm;
mod waiting;

use std::time::Duration;

#[allow(clippy::print_stdout)]
fn main() {
    // cargo passes --bench; a section's first letters may follow.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wants = |name: &str| wanted.as_ref().is_none_or(|w| name.starts_with(w.as_str()));
    if wants("decide") {
        print!("{}", decide::section());
    }
    if wants("waiting") {
        print!("{}", waiting::section());
    }
    if wants("drain") {
        print!("{}", drain::section());
        for missing in peers::missing() {
            println!("not there, left out: {missing}");
        }
    }
}

/// The middle of the times, in milliseconds.
pub(crate) fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
