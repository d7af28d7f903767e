//! Credentials of the peer of a unix socket that nobody wraps.

use crate::{Errno, check};
use rustix::fd::{AsRawFd, BorrowedFd};

/// Supplementary groups of the process that connected, at that moment
/// (`SO_PEERGROUPS`, Linux 4.13).
///
/// # Errors
/// ENODATA when the socket has no peer, ENOPROTOOPT for other sockets.
pub fn groups(socket: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut groups = vec![0u32; 64];
    loop {
        let room = groups.len() * size_of::<u32>();
        let mut len = libc::socklen_t::try_from(room).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the kernel writes at most `len` bytes into `groups`, which has
        // that many, and sets `len` to what it wrote or, with ERANGE, needs.
        let result = check(
            unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_PEERGROUPS,
                    groups.as_mut_ptr().cast(),
                    &raw mut len,
                )
            }
            .into(),
        );
        let count = usize::try_from(len).map_err(|_| Errno::OVERFLOW)? / size_of::<u32>();
        match result {
            Err(Errno::RANGE) if count > groups.len() => groups.resize(count, 0),
            Err(error) => return Err(error),
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
        }
    }
}
