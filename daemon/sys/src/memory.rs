//! What the compiler calls to copy, fill and compare memory, for a program that has
//! no C library: short code, of which every processor since 2013 makes a fast copy.

use core::arch::asm;

/// Copies `count` bytes, which may overlap.
///
/// # Safety
/// As `memmove`: both are valid for so many bytes.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    // The first byte to be written is none that is still to be read.
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: as the caller says.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _,
                inout("rsi") from => _, options(nostack, preserves_flags));
        }
        return;
    }
    let (to, from) =
        (to.wrapping_add(count).wrapping_sub(1), from.wrapping_add(count).wrapping_sub(1));
    // SAFETY: as the caller says; from the last byte down, and the direction is set
    // back to what everybody expects.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") to => _,
            inout("rsi") from => _, options(nostack));
    }
}

/// Writes a byte `count` times.
///
/// # Safety
/// As `memset`: it is valid for so many bytes.
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, count: usize) {
    // SAFETY: as the caller says.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}

/// The difference of the first bytes that differ; 0 without any.
///
/// # Safety
/// As `memcmp`: both are valid for so many bytes.
pub(crate) unsafe fn compare(one: *const u8, other: *const u8, count: usize) -> i32 {
    let mut at = 0;
    while at < count {
        // SAFETY: as the caller says.
        let a = unsafe { *one.wrapping_add(at) };
        // SAFETY: as the caller says.
        let b = unsafe { *other.wrapping_add(at) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// Bytes before the first that is zero.
///
/// # Safety
/// As `strlen`: it is valid up to there.
pub(crate) unsafe fn length(string: *const u8) -> usize {
    let left: usize;
    // Not a loop, of which the compiler might make a call of strlen.
    // SAFETY: as the caller says.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => left, inout("rdi") string => _, in("al") 0u8,
            options(nostack, readonly));
    }
    // It counts down, the zero as well.
    usize::MAX - left - 1
}

/// Under the names that the compiler calls.
#[cfg(not(feature = "std"))]
mod symbols {
    use core::ffi::{c_char, c_int, c_void};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
        // SAFETY: as the caller says.
        unsafe { super::copy(to.cast(), from.cast(), count) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(
        to: *mut c_void,
        from: *const c_void,
        count: usize,
    ) -> *mut c_void {
        // SAFETY: as the caller says.
        unsafe { super::copy(to.cast(), from.cast(), count) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut c_void, byte: c_int, count: usize) -> *mut c_void {
        // SAFETY: as the caller says.
        unsafe { super::fill(to.cast(), byte as u8, count) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int {
        // SAFETY: as the caller says.
        unsafe { super::compare(one.cast(), other.cast(), count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int {
        // SAFETY: as the caller says.
        unsafe { super::compare(one.cast(), other.cast(), count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(string: *const c_char) -> usize {
        // SAFETY: as the caller says.
        unsafe { super::length(string.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_right_wherever_its_ends_overlap() {
        const FROM: usize = 100;
        for count in [0, 1, 8, 63, 100] {
            for to in 0..2 * FROM {
                let mut bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
                let mut expected = bytes.clone();
                expected.copy_within(FROM..FROM + count, to);
                let base = bytes.as_mut_ptr();
                // SAFETY: both lie within the 512 bytes.
                unsafe { copy(base.wrapping_add(to), base.wrapping_add(FROM), count) };
                assert!(bytes == expected, "{count} bytes from {FROM} to {to}");
            }
        }
    }

    #[test]
    fn exactly_what_is_asked_is_filled() {
        for count in [0, 1, 15, 100] {
            let mut bytes = [1u8; 128];
            // SAFETY: these lie within the array.
            unsafe { fill(bytes.as_mut_ptr().wrapping_add(3), 0xfe, count) };
            for (at, byte) in bytes.iter().enumerate() {
                let inside = (3..3 + count).contains(&at);
                assert_eq!(*byte, if inside { 0xfe } else { 1 }, "{count}, {at}");
            }
        }
    }

    #[test]
    fn bytes_compare_as_slices_do() {
        let words: [&[u8]; 6] = [b"", b"a", b"ab", b"ab\xff", b"ab\x01", b"b"];
        for one in words {
            for other in words {
                let count = one.len().min(other.len());
                // SAFETY: both have so many bytes.
                let order = unsafe { compare(one.as_ptr(), other.as_ptr(), count) }.cmp(&0);
                assert_eq!(order, one[..count].cmp(&other[..count]), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_string_ends_at_its_zero() {
        for (string, expected) in [(c"", 0), (c"init", 4)] {
            // SAFETY: it ends with a zero.
            assert_eq!(unsafe { length(string.as_ptr().cast()) }, expected);
        }
    }
}
