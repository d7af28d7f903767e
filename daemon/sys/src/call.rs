//! System calls without the C library, whose wrappers keep the error number in the
//! memory of a thread.

use crate::Errno;
use core::arch::asm;

/// Issues a system call. Child-safe.
///
/// # Safety
/// What the kernel does with the arguments must leave this program sound.
pub(crate) unsafe fn call<const N: usize>(
    number: libc::c_long,
    arguments: [usize; N],
) -> Result<usize, Errno> {
    const { assert!(N <= 6) };
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    let ret: isize;
    // SAFETY: the convention of x86-64 Linux: the number and the result in rax, six
    // arguments, and rcx and r11 are lost. The rest is for the caller to say.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => ret,
            in("rdi") argument(0),
            in("rsi") argument(1),
            in("rdx") argument(2),
            in("r10") argument(3),
            in("r8") argument(4),
            in("r9") argument(5),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // The kernel keeps the last page of addresses free for error numbers.
    match ret {
        -4095..0 => Err(Errno::from_raw_os_error(-ret as i32)),
        _ => Ok(ret as usize),
    }
}
