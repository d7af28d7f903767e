//! Whether the kernel answers a call at all, asked with arguments that every
//! kernel which has the call refuses: nothing is changed.

use crate::{Errno, check};

/// `Ok` when the kernel looked at the arguments, and so has the call.
fn refused_with(expected: Errno, ret: libc::c_long) -> Result<(), Errno> {
    match check(ret) {
        Err(errno) if errno != expected => Err(errno),
        _ => Ok(()),
    }
}

/// clone3(2), Linux 5.3; with CLONE_INTO_CGROUP from 5.7.
///
/// # Errors
/// ENOSYS from a kernel without it, EPERM or ENOSYS from a container's filter.
pub fn clone3() -> Result<(), Errno> {
    // SAFETY: a size of 0 is below that of the first version of the structure, so
    // the kernel reads none and clones nothing.
    refused_with(Errno::INVAL, unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::null::<libc::c_void>(), 0usize)
    })
}

/// mount_setattr(2), Linux 5.12, the newest of the mount calls that are used.
///
/// # Errors
/// ENOSYS from a kernel without it, EPERM or ENOSYS from a container's filter.
pub fn mount_setattr() -> Result<(), Errno> {
    let unknown_flags = libc::c_uint::MAX;
    // SAFETY: unknown flags are refused before any other argument is looked at;
    // the path is a valid string all the same.
    refused_with(Errno::INVAL, unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            c"".as_ptr(),
            unknown_flags,
            std::ptr::null::<libc::c_void>(),
            0usize,
        )
    })
}

/// Listeners of seccomp filters (user notification), Linux 5.0.
///
/// # Errors
/// ENOSYS or EINVAL from a kernel without them, EPERM from a container's filter.
pub fn seccomp_notification() -> Result<(), Errno> {
    let mut sizes =
        libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
    // SAFETY: the kernel writes one such structure, which `sizes` is.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes)
    })?;
    Ok(())
}

/// Whether something keeps the clock of this machine right (adjtimex(2)).
///
/// # Errors
/// EPERM from a container's filter.
pub fn clock_is_synchronised() -> Result<bool, Errno> {
    // SAFETY: all zero is a valid value of this structure of integers, and with
    // `modes` 0 it asks to change nothing.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure, which `clock` is.
    let state = check(unsafe { libc::adjtimex(&raw mut clock) }.into())?;
    Ok(state != libc::c_long::from(libc::TIME_ERROR) && clock.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_has_what_jobs_need() {
        assert_eq!(super::clone3(), Ok(()));
        assert_eq!(super::mount_setattr(), Ok(()));
        assert_eq!(super::seccomp_notification(), Ok(()));
        assert!(super::clock_is_synchronised().is_ok());
    }
}
