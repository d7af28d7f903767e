//! Encryption at rest by systemd, with the key of this machine (systemd-creds(1)).

use super::file::Sealed;
use super::{MAX_VALUE_BYTES, Value, VaultError};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

const PROGRAM: &str = "/usr/bin/systemd-creds";
/// An encrypted value is longer by a header and by its spelling.
const MAX_SEALED_BYTES: usize = 2 * MAX_VALUE_BYTES + 4096;

/// What encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// Nothing: the mode of the file protects it.
    None,
    Systemd,
}

impl Seal {
    /// What there is on this machine.
    pub(super) fn find() -> Self {
        if Path::new(PROGRAM).exists() { Self::Systemd } else { Self::None }
    }

    pub(super) fn close(self, name: &str, value: &Value) -> Result<(Sealed, Value), VaultError> {
        match self {
            Self::None => Ok((Sealed::None, value.clone())),
            // The host's key: a supervisor has no devices, a TPM among them.
            Self::Systemd => {
                Ok((Sealed::Systemd, run("encrypt", name, &["--with-key=host"], value)?))
            }
        }
    }

    pub(super) fn open(
        self,
        name: &str,
        sealed: Sealed,
        stored: Value,
    ) -> Result<Value, VaultError> {
        match sealed {
            Sealed::None => Ok(stored),
            Sealed::Systemd => run("decrypt", name, &[], &stored),
        }
    }
}

/// Only the name is in the arguments; the value goes through pipes.
fn run(
    what: &'static str,
    name: &str,
    options: &[&str],
    input: &Value,
) -> Result<Value, VaultError> {
    let failed = |why: String| VaultError::Seal { what, name: name.to_owned(), why };
    let io = |error: std::io::Error| failed(error.to_string());
    let label = OsString::from(format!("--name=fetchml.{name}"));
    let mut child = Command::new(PROGRAM)
        .arg(what)
        .args(options)
        .args([label, "-".into(), "-".into()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    // It reads all before it writes anything, and both fit into its pipes or its memory.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(io)?;
    }
    // As long as it can get, so that it never moves and leaves a copy behind.
    let mut output = Zeroizing::new(Vec::with_capacity(MAX_SEALED_BYTES));
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_SEALED_BYTES as u64).read_to_end(&mut output).map_err(io)?;
    }
    let ended = child.wait_with_output().map_err(io)?;
    if ended.status.success() && !output.is_empty() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(failed(said.lines().last().unwrap_or("it ended without a word").trim().to_owned()))
}
