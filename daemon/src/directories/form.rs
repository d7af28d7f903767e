//! What is remembered of a directory to know it again: its inode and birth, its
//! file system, the mount through which its owner opened it, and, where the file
//! system has them, its handle.

use super::mounts::Mount;
use fetchml_sys::handle::FileHandle;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, FileType, OFlags, StatVfsMountFlags, StatxAttributes, StatxFlags, fcntl_getfl,
    fstatfs, fstatvfs, statx,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A directory as the store remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Form {
    pub(super) file: Identity,
    pub(super) mount: Through,
    /// `None`: the file system has none, or it did not lead back.
    pub(super) handle: Option<Handle>,
}

/// Which directory it is. Two that are not the same differ in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) inode: u64,
    /// When the file system made it, seconds and nanoseconds, where it knows: an
    /// inode number is given out again, a birth is not.
    pub(super) born: Option<(i64, u32)>,
    /// `f_type` and `f_fsid` of statfs(2).
    pub(super) file_system: (u64, u64),
}

impl Identity {
    /// Whether `found` is the directory that is remembered here. A newer kernel may
    /// know births where the one that was asked did not.
    pub(super) fn is(&self, found: &Self) -> bool {
        (self.inode, self.file_system) == (found.inode, found.file_system)
            && (self.born.is_none() || self.born == found.born)
    }
}

/// The mount through which it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Through {
    /// The kind of file system, as mount(8) calls it. Empty: the mount was none
    /// of the host's.
    pub(super) kind: String,
    pub(super) root: String,
    pub(super) point: String,
    pub(super) read_only: bool,
    pub(super) no_exec: bool,
}

/// The kernel's handle of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    kind: i32,
    bytes: Vec<u8>,
}

/// What tells two open directories apart while this machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uid: u32,
    file: Identity,
    device: (u32, u32),
    mount: u64,
    access: u32,
}

/// An open directory, looked at.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) file: Identity,
    pub(super) device: (u32, u32),
    pub(super) mount: u64,
    pub(super) is_mount_root: bool,
    /// Removed ones stay files as long as somebody has them open, and are none.
    pub(super) is_directory: bool,
    pub(super) read_only: bool,
    pub(super) no_exec: bool,
}

impl Look {
    pub(super) fn at(directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let stat = statx(directory, c"", AtFlags::EMPTY_PATH, wanted)?;
        let has = |flag: StatxFlags| stat.stx_mask & flag.bits() == flag.bits();
        let of_all = fstatfs(directory)?;
        let of_mount = fstatvfs(directory)?;
        let born =
            has(StatxFlags::BTIME).then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        Ok(Self {
            file: Identity {
                inode: stat.stx_ino,
                born,
                file_system: (of_all.f_type.cast_unsigned(), of_mount.f_fsid),
            },
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            mount: stat.stx_mnt_id,
            is_mount_root: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            is_directory: kind == FileType::Directory && stat.stx_nlink > 0,
            read_only: of_mount.f_flag.contains(StatVfsMountFlags::RDONLY),
            no_exec: of_mount.f_flag.contains(StatVfsMountFlags::NOEXEC),
        })
    }

    /// The key of a directory that this user opened.
    pub(super) fn key(&self, uid: u32, directory: BorrowedFd<'_>) -> Result<Key, Errno> {
        Ok(Key {
            uid,
            file: self.file.clone(),
            device: self.device,
            mount: self.mount,
            access: (fcntl_getfl(directory)? & OFlags::RWMODE).bits(),
        })
    }
}

impl Form {
    /// What is remembered of a directory: `mounts` are those of the host. Whether
    /// the handle leads back is for the caller to try.
    pub(super) fn of(directory: BorrowedFd<'_>, look: &Look, mounts: &[Mount]) -> Self {
        let mount = mounts.iter().find(|mount| mount.id == look.mount);
        let handle = FileHandle::of(directory.as_fd()).ok();
        // Without an identity of its file system a handle could be tried on another
        // one; a directory of a mount that the host does not have stays its owner's.
        let usable = mount.is_some() && look.file.file_system.1 != 0;
        Self {
            file: look.file.clone(),
            mount: Through {
                kind: mount.map(|m| m.kind.clone()).unwrap_or_default(),
                root: mount.map(|m| m.root.to_string_lossy().into_owned()).unwrap_or_default(),
                point: mount.map(|m| m.point.to_string_lossy().into_owned()).unwrap_or_default(),
                read_only: look.read_only,
                no_exec: look.no_exec,
            },
            handle: handle
                .filter(|_| usable)
                .map(|h| Handle { kind: h.kind(), bytes: h.bytes().to_vec() }),
        }
    }

    pub(super) fn handle(&self) -> Option<FileHandle> {
        let handle = self.handle.as_ref()?;
        FileHandle::from_parts(handle.kind, handle.bytes.clone())
    }
}
