//! `make bench`: how many records a second become durable beside what the disk itself
//! can, and how fast a log is verified beside SHA-256 of the same bytes.

mod append;
mod verify;

#[allow(clippy::print_stdout)]
fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wants = |name: &str| wanted.as_ref().is_none_or(|w| name.starts_with(w.as_str()));
    if wants("append") {
        print!("{}", append::section());
    }
    if wants("verify") {
        print!("{}", verify::section());
    }
}

/// Things a second.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn rate(count: u64, time: std::time::Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
