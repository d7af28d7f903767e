//! File handles: what names a file to its file system whatever its path becomes
//! (name_to_handle_at(2), open_by_handle_at(2)).

use crate::{Errno, check};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::OFlags;

/// MAX_HANDLE_SZ of the kernel.
const MAX_BYTES: usize = 128;

/// The kernel's name of a file within its file system. It holds what tells a file
/// from a later one with the same inode number, so that it never leads to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle {
    kind: i32,
    bytes: Vec<u8>,
}

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct Raw {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    f_handle: [u8; MAX_BYTES],
}

impl FileHandle {
    /// From what was kept of one. `None`: no handle is that long.
    #[must_use]
    pub fn from_parts(kind: i32, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX_BYTES).then_some(Self { kind, bytes })
    }

    /// How the file system writes its handles.
    #[must_use]
    pub fn kind(&self) -> i32 {
        self.kind
    }

    /// What it wrote.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The handle of what a descriptor stands for; no path is looked at.
    ///
    /// # Errors
    /// EOPNOTSUPP from a file system that has no handles.
    pub fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut raw = Raw {
            handle_bytes: MAX_BYTES as libc::c_uint,
            handle_type: 0,
            f_handle: [0; MAX_BYTES],
        };
        let mut mount_id: libc::c_int = 0;
        // SAFETY: the path is NUL-terminated; the structure begins as the kernel's
        // does and has as many bytes behind that as it says; the mount's number is
        // an int of ours.
        let ret = unsafe {
            libc::name_to_handle_at(
                file.as_raw_fd(),
                c"".as_ptr(),
                (&raw mut raw).cast(),
                &raw mut mount_id,
                libc::AT_EMPTY_PATH,
            )
        };
        check(ret.into())?;
        let len = usize::try_from(raw.handle_bytes).map_err(|_| Errno::OVERFLOW)?;
        let bytes = raw.f_handle.get(..len).ok_or(Errno::OVERFLOW)?.to_vec();
        Ok(Self { kind: raw.handle_type, bytes })
    }

    /// Opens the file on the mount that `mount` is on. Nothing on the way to it is
    /// asked for permission, and it may lie outside the part that the mount shows.
    ///
    /// # Errors
    /// ESTALE when it is not there any more; EPERM without CAP_DAC_READ_SEARCH.
    pub fn open(&self, mount: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut raw = Raw {
            handle_bytes: libc::c_uint::try_from(self.bytes.len()).map_err(|_| Errno::INVAL)?,
            handle_type: self.kind,
            f_handle: [0; MAX_BYTES],
        };
        raw.f_handle.get_mut(..self.bytes.len()).ok_or(Errno::INVAL)?.copy_from_slice(&self.bytes);
        let flags =
            libc::c_int::try_from((flags | OFlags::CLOEXEC).bits()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the structure begins as the kernel's does and has the bytes that
        // it says it has.
        let fd =
            unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut raw).cast(), flags) };
        check(fd.into())?;
        // SAFETY: the call has just opened it, so nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use rustix::fs::{Mode, open};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_handle_leads_to_its_directory_and_to_no_later_one() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = std::env::temp_dir().join(format!("fetchml-handle-{}", std::process::id()));
        fs::create_dir(&place).expect("a directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open(&place, flags, Mode::empty()).expect("it opens");
        let handle = FileHandle::of(directory.as_fd()).expect("a handle");
        let kept = FileHandle::from_parts(handle.kind(), handle.bytes().to_vec()).expect("short");
        let moved = place.with_extension("moved");
        fs::rename(&place, &moved).expect("renamed");
        let mount = open(std::env::temp_dir(), flags, Mode::empty()).expect("its parent");
        let again = kept.open(mount.as_fd(), flags).expect("it leads back");
        let inode = fs::metadata(&moved).expect("there").ino();
        assert_eq!(rustix::fs::fstat(&again).expect("stat").st_ino, inode);
        drop((directory, again));
        fs::remove_dir(&moved).expect("removed");
        assert_eq!(kept.open(mount.as_fd(), flags).expect_err("gone"), Errno::STALE);
    }
}
