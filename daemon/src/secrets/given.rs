//! Values in memory: wiped when they are let go of, never shown.

use super::{MAX_VALUE_BYTES, MIN_VALUE_BYTES, VaultError};
use rustix::fd::OwnedFd;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use std::fmt;
use zeroize::Zeroizing;

/// The bytes of a secret.
pub type Value = Zeroizing<Vec<u8>>;

/// A secret on its way into a job.
#[derive(Clone)]
pub struct Given {
    /// Its name, that of its file in the job.
    pub name: String,
    /// The variable that has it, in place of a file.
    pub variable: Option<String>,
    /// What it is.
    pub value: Value,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads a value from a client's memory file. Nothing else is taken: what is sealed
/// has its bytes, and reading it waits for nobody.
///
/// # Errors
/// When it is not sealed, or too long or short.
pub fn read_value(file: &OwnedFd) -> Result<Value, VaultError> {
    let not = VaultError::NotSealed;
    let seals = fcntl_get_seals(file).map_err(|_| not("this is no memory file"))?;
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return Err(not("it is not sealed"));
    }
    let size = fstat(file).map_err(|_| not("it cannot be looked at"))?.st_size;
    let size = u64::try_from(size).unwrap_or(0);
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    if !(MIN_VALUE_BYTES..=MAX_VALUE_BYTES).contains(&len) {
        return Err(VaultError::Size(size));
    }
    let mut value = Zeroizing::new(vec![0; len]);
    let mut at = 0;
    while at < len {
        let rest = value.get_mut(at..).unwrap_or_default();
        match rustix::io::pread(file, rest, at as u64) {
            Ok(0) | Err(_) => return Err(not("it cannot be read")),
            Ok(n) => at += n,
        }
    }
    // Line ends are not looked for in logs, and are no part of a variable.
    let told = value.trim_ascii_end().len();
    if told < MIN_VALUE_BYTES {
        return Err(VaultError::Size(told as u64));
    }
    Ok(value)
}
