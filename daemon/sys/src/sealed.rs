//! Memory files that nobody can change any more, read in place.

use crate::Errno;
use core::ptr::null_mut;
use core::slice;
use rustix::fd::AsFd;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// The bytes of a sealed memory file, for as long as the process lives. None is read
/// until it is used.
///
/// # Errors
/// `EPERM` for a file that could still be written or cut, or what the kernel says.
pub fn map(file: impl AsFd) -> Result<&'static [u8], Errno> {
    let seals = fcntl_get_seals(&file)?;
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return Err(Errno::PERM);
    }
    let len = usize::try_from(fstat(&file)?.st_size).map_err(|_| Errno::FBIG)?;
    // SAFETY: a fresh mapping touches no existing memory.
    let start = unsafe { mmap(null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }?;
    // SAFETY: the mapping has so many bytes and is never taken away, and the seals, which
    // nobody can take back, keep the file from being written or cut.
    Ok(unsafe { slice::from_raw_parts(start.cast::<u8>(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    #[test]
    fn only_what_cannot_change_is_mapped() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(c"test", flags).expect("a memory file");
        rustix::io::write(&file, b"for ever").expect("a write");
        for seals in [SealFlags::empty(), SealFlags::SHRINK] {
            fcntl_add_seals(&file, seals).expect("seals");
            assert_eq!(map(&file), Err(Errno::PERM), "{seals:?}");
        }
        fcntl_add_seals(&file, SealFlags::WRITE).expect("seals");
        assert_eq!(map(&file), Ok(&b"for ever"[..]));
        let (other, _) = rustix::pipe::pipe().expect("a pipe");
        assert_eq!(map(&other), Err(Errno::INVAL), "no memory file");
    }
}
