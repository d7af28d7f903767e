//! `fetchml-agent`: PID 1 of a job. Static, small, without any privilege.

#![forbid(unsafe_code)]

mod init;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(|a| a.to_str()) {
        Some("init") => init::run(),
        Some("hold") => hold(),
        _ => ExitCode::from(2),
    }
}

/// Keeps a unit's cgroup alive until a signal ends the process.
fn hold() -> ExitCode {
    loop {
        rustix::event::pause();
    }
}
