//! Mount attributes (mount_setattr(2), Linux 5.12) and pivot_root(2).

use crate::{Errno, check};
use rustix::fd::{AsRawFd, BorrowedFd};
use std::ffi::CStr;

/// Attributes to set on mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttributes(u64);

impl MountAttributes {
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-user-id and file capabilities have no effect.
    pub const NO_SUID: Self = Self(0x2);
    /// Device nodes cannot be opened.
    pub const NO_DEV: Self = Self(0x4);
    /// Nothing can be executed.
    pub const NO_EXEC: Self = Self(0x8);

    /// Both sets of attributes.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which mounts a call touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The one mount.
    One,
    /// The mount and all below it.
    Tree,
}

fn setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    scope: Scope,
    attr: &libc::mount_attr,
) -> Result<(), Errno> {
    let recursive = if scope == Scope::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path is NUL-terminated and attr has the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | recursive,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Sets attributes of the mount at `path` below `dir` (empty: of `dir` itself). Child-safe.
///
/// # Errors
/// mount_setattr(2).
pub fn restrict(
    dir: BorrowedFd<'_>,
    path: &CStr,
    scope: Scope,
    set: MountAttributes,
) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set: set.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    setattr(dir, path, scope, &attr)
}

/// Makes a detached mount show the ids of its file system mapped through
/// `user_namespace`, and sets attributes of it, all or nothing.
///
/// # Errors
/// EINVAL when the file system cannot be mapped, or is mapped already.
pub fn map_ids(
    tree: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    set: MountAttributes,
) -> Result<(), Errno> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let userns_fd = u64::try_from(user_namespace.as_raw_fd()).unwrap_or(u64::MAX);
    let attr_set = MOUNT_ATTR_IDMAP | set.0;
    let attr = libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd };
    setattr(tree, c"", Scope::One, &attr)
}

/// Cuts the mounts of a tree off from their peers. The copy of a mount that
/// systemd made shared would otherwise be one more peer: what is mounted or
/// unmounted in it would be so on the host, and the other way round.
///
/// # Errors
/// mount_setattr(2).
pub fn isolate(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let propagation = libc::MS_PRIVATE;
    let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
    setattr(tree, c"", Scope::Tree, &attr)
}

/// Makes every mount below `/` of this namespace private, so that nothing
/// propagates in or out. Child-safe.
///
/// # Errors
/// mount(2).
pub fn stop_propagation() -> Result<(), Errno> {
    rustix::mount::mount_change(
        c"/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
}

/// Shows a file or directory at a second place, with the attributes of the mount
/// that it is on (mount(2), MS_BIND). Child-safe.
///
/// # Errors
/// mount(2).
pub fn bind(from: &CStr, at: &CStr) -> Result<(), Errno> {
    rustix::mount::mount_bind(from, at)
}

/// Makes the working directory the root and takes the old root, with all that
/// was mounted in it, out of the namespace. Child-safe.
///
/// `pivot_root(".", ".")` stacks the old root on the new one, so that no
/// directory for it is needed (pivot_root(2), NOTES).
///
/// # Errors
/// EINVAL when the working directory is no mount.
pub fn pivot_to_cwd() -> Result<(), Errno> {
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}
