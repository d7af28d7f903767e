//! Network and socket calls that nobody wraps.

use crate::{Errno, check};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Brings the loopback of the current network namespace up. Child-safe.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the namespace.
pub fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data; all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    let ret = unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request))
    };
    check(ret.into())?;
    Ok(())
}

/// The process at the other end of a connected unix socket, as a descriptor
/// (`SO_PEERPIDFD`, Linux 6.5). For a client it is the process that listens.
///
/// # Errors
/// ENOPROTOOPT before 6.5, ESRCH or EINVAL when that process is gone.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the kernel writes one int.
    let ret = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            std::ptr::from_mut(&mut fd).cast(),
            &raw mut len,
        )
    };
    check(ret.into())?;
    // SAFETY: the kernel made a fresh descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
