//! What a process takes from itself: seccomp programs, Landlock, descriptors.

use crate::Errno;
use crate::call::call;
use rustix::fd::{AsRawFd, BorrowedFd};

/// Installs a seccomp program for the calling thread: `program` is an array of
/// `struct sock_filter` in native byte order. Child-safe.
///
/// The caller must have set no_new_privs before (seccomp(2)). Store-bypass
/// mitigation is left as it is (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`): since 5.16 it
/// is no longer forced on filtered processes anyway, before that it halves the
/// speed of interpreters.
///
/// # Errors
/// EINVAL for a program the kernel refuses or whose length is no multiple of 8,
/// EACCES without no_new_privs.
pub fn install_filter(program: &[u8]) -> Result<(), Errno> {
    set_filter(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW).map(drop)
}

/// seccomp(2) with these flags; with `NEW_LISTENER` the result is a descriptor.
pub(crate) fn set_filter(program: &[u8], flags: libc::c_ulong) -> Result<usize, Errno> {
    const INSTRUCTION_BYTES: usize = size_of::<libc::sock_filter>();
    let (count, rest) = (program.len() / INSTRUCTION_BYTES, program.len() % INSTRUCTION_BYTES);
    let len = u16::try_from(count).map_err(|_| Errno::INVAL)?;
    if rest != 0 || len == 0 {
        return Err(Errno::INVAL);
    }
    // The kernel copies the instructions byte by byte, so their alignment in our
    // memory does not matter.
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: prog describes `len` instructions inside `program`, which the
    // kernel only reads.
    unsafe {
        call(
            libc::SYS_seccomp,
            [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, (&raw const prog) as usize],
        )
    }
}

/// Allows `access` (bits of landlock(7)) to everything below the file or
/// directory `parent`. Child-safe.
///
/// # Errors
/// EINVAL for access bits that the ruleset does not handle or that a plain file
/// cannot have.
pub fn landlock_allow_beneath(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const RULE_PATH_BENEATH: usize = 1;
    let rule = PathBeneath { access, parent: parent.as_raw_fd() };
    // SAFETY: rule has the layout of struct landlock_path_beneath_attr.
    unsafe {
        call(
            libc::SYS_landlock_add_rule,
            [ruleset.as_raw_fd() as usize, RULE_PATH_BENEATH, (&raw const rule) as usize, 0],
        )
    }?;
    Ok(())
}

/// Restricts the calling thread to a Landlock ruleset. Child-safe. With `log`
/// (level 7) what it then denies to programs that are executed later is told to
/// the kernel's audit, where that is on.
///
/// # Errors
/// EPERM without no_new_privs, E2BIG beyond 16 stacked rulesets, EINVAL for `log`
/// below level 7.
pub fn landlock_restrict_self(ruleset: BorrowedFd<'_>, log: bool) -> Result<(), Errno> {
    // LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON, Linux 6.15.
    const LOG_NEW_EXEC_ON: usize = 1 << 1;
    let flags = if log { LOG_NEW_EXEC_ON } else { 0 };
    // SAFETY: no memory is passed.
    unsafe { call(libc::SYS_landlock_restrict_self, [ruleset.as_raw_fd() as usize, flags]) }?;
    Ok(())
}

/// Closes every descriptor from `first` on. Child-safe.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the caller is a child about to execute, or PID 1 of a job: nothing
    // in this process uses a descriptor above `first` any more.
    unsafe { call(libc::SYS_close_range, [first as usize, u32::MAX as usize, 0]) }?;
    Ok(())
}

/// Marks every descriptor from `first` on as closed by the next exec. Child-safe.
///
/// # Errors
/// EINVAL before Linux 5.11.
pub fn close_from_at_exec(first: u32) -> Result<(), Errno> {
    let at_exec = libc::CLOSE_RANGE_CLOEXEC as usize;
    // SAFETY: no descriptor is closed now.
    unsafe { call(libc::SYS_close_range, [first as usize, u32::MAX as usize, at_exec]) }?;
    Ok(())
}

/// Gives this process a descriptor table of its own with what it shares below `first`,
/// and nothing of the rest. Child-safe.
///
/// # Errors
/// ENOMEM, EMFILE; ENOSYS before Linux 5.9.
pub fn own_descriptors_below(first: u32) -> Result<(), Errno> {
    let unshared = libc::CLOSE_RANGE_UNSHARE as usize;
    // SAFETY: the caller is a child about to execute; the descriptors stay open for those
    // whom it shared the table with.
    unsafe { call(libc::SYS_close_range, [first as usize, u32::MAX as usize, unshared]) }?;
    Ok(())
}

/// Copies a descriptor to a fixed number that is kept by exec. Child-safe.
///
/// # Errors
/// EBADF.
pub fn place_descriptor(from: BorrowedFd<'_>, to: i32) -> Result<(), Errno> {
    if from.as_raw_fd() == to {
        // dup2 of a descriptor to itself would leave its close-on-exec flag set.
        return Err(Errno::BADF);
    }
    // SAFETY: dup2 replaces what was at `to`; the caller is a child about to
    // execute, where the fixed numbers belong to nobody yet.
    unsafe { call(libc::SYS_dup2, [from.as_raw_fd() as usize, to as usize]) }?;
    Ok(())
}

/// Highest Landlock ABI level of the running kernel; 0 when it has none or it is
/// switched off.
#[must_use]
pub fn landlock_level() -> u32 {
    const CREATE_RULESET_VERSION: usize = 1;
    // SAFETY: a null attribute of size 0 only asks for the version.
    let ret = unsafe { call(libc::SYS_landlock_create_ruleset, [0, 0, CREATE_RULESET_VERSION]) };
    ret.ok().and_then(|v| u32::try_from(v).ok()).unwrap_or(0)
}
