//! What the system suites share: Debian systems that are booted for a test and
//! gone afterwards.
//!
//! * [`private`]: a supervisor on this machine's own kernel. Milliseconds a job.
//! * [`campaign`]: such a supervisor killed again and again while clients use it.
//! * [`container`]: PID 1, bus, polkit and journald are real, the kernel is this
//!   machine's. Boots in a second.
//! * [`machine`]: the kernel is real as well, with every cgroup v2 controller.
//!   Boots in a minute, because it is emulated.
//!
//! A level that cannot run here says why ([`available`]); where `CI` is set that
//! is a failure.

pub mod campaign;
pub mod cgroup;
pub mod container;
pub mod image;
pub mod machine;
pub mod output;
pub mod private;

pub use container::Container;
pub use image::Debian;
pub use output::Output;
pub use private::{Private, is_in_lower_pid_namespace, processes_with};

use std::path::PathBuf;

/// Why a level cannot run on this machine, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

impl Unavailable {
    fn because(what: &str, error: &dyn std::error::Error) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// The thing, or nothing when its level cannot run here and nobody insists.
///
/// # Panics
/// Where `CI` is set: a level that silently does not run proves nothing.
#[allow(clippy::print_stderr)]
pub fn available<T>(level: Result<T, Unavailable>) -> Option<T> {
    match level {
        Ok(thing) => Some(thing),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "cannot run here: {why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// The package under test, which `make deb` builds.
///
/// # Errors
/// When it is not there.
pub fn package() -> Result<PathBuf, Unavailable> {
    let path = repository().join(format!("build/fetchml_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    if path.exists() {
        Ok(path)
    } else {
        Err(Unavailable(format!("{} is missing: run make deb", path.display())))
    }
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Where cargo leaves what it builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The static agent that `make build` leaves.
#[must_use]
pub fn agent() -> PathBuf {
    target().join("x86_64-unknown-linux-gnu/release/fetchml-agent")
}
