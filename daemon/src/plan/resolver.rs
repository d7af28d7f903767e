//! How jobs in the host's network find names: as the host does.

use crate::launch::HostView;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;

const PATH: &str = "/etc/resolv.conf";
/// Longer ones are no resolver's.
const MAX_BYTES: u64 = 64 << 10;

/// A copy of the host's file, made for each job: often it is a link into /run, where
/// systemd-resolved or NetworkManager replace it, and /run is in no job's root. Empty
/// where the host has none.
pub(super) fn of_host(view: &HostView) -> Result<String> {
    view.run(|| {
        // Not blocking: who made it a pipe shall not stop every launch.
        const NON_BLOCKING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(PATH);
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
            opened => opened?,
        };
        if !file.metadata()?.is_file() {
            return Err(Error::other(format!("{PATH} is no plain file")));
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        match text.len() as u64 > MAX_BYTES {
            true => Err(Error::other(format!("{PATH} is longer than 64 KiB"))),
            false => Ok(text),
        }
    })
}
