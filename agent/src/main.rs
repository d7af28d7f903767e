//! `fetchml-agent`: PID 1 of a job. Static, small, without any privilege.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std, no_main)]
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod init;

// The usual start of a program, that of the C library above all, would be half of the
// way to the job's command.
#[cfg(not(test))]
fetchml_sys::program!(start);

fn start(role: &[u8]) -> u8 {
    match role {
        b"init" => init::run(),
        b"hold" => hold(),
        _ => 2,
    }
}

/// Keeps a unit's cgroup alive until a signal ends the process.
fn hold() -> ! {
    loop {
        rustix::event::pause();
    }
}
