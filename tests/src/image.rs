//! Images of Debian: built once by `images/build.sh`, kept outside the
//! repository, never written to by a test.

use crate::Unavailable;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Releases that the package supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debian {
    /// Debian 12, systemd 252.
    Bookworm,
    /// Debian 13, systemd 257.
    Trixie,
}

impl Debian {
    /// Name of the suite.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `root/`, for `systemd-nspawn`.
    Container,
    /// `disk.img`, `vmlinuz` and `initrd.img`, for qemu.
    Machine,
}

/// Where images are kept.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("FETCHML_TEST_CACHE")
        .map_or_else(|| "/var/cache/fetchml-tests".into(), PathBuf::from)
}

/// The directory of an image, which is built when it is not there.
///
/// # Errors
/// When it cannot be built, or this is not root.
pub fn directory(kind: Kind, debian: Debian) -> Result<PathBuf, Unavailable> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unavailable("booting a Debian needs root".into()));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/build.sh");
    let word = match kind {
        Kind::Container => "container",
        Kind::Machine => "machine",
    };
    let output = Command::new(&script)
        .args([word, debian.suite()])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Unavailable::because(&script.display().to_string(), &e))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Unavailable(format!("{} cannot be built: {}", debian.suite(), stderr.trim())));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
