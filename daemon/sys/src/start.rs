//! The start of a program without the C library, whose own asks the processor for
//! its features some eighty times; in a virtual machine each answer is the
//! hypervisor's, and all of them take longer than all that the agent does.
//!
//! The program is one file at an address that the kernel chose. It has no thread-local
//! memory and nothing that is resolved while it runs.

use crate::heap::Heap;
use crate::process;
use core::arch::naked_asm;
use core::ffi::c_char;
use rustix::mm::{MprotectFlags, mprotect};

#[global_allocator]
static HEAP: Heap = Heap::new();

/// Where the kernel begins, with the arguments on the stack: adds the address at which
/// the program lies to every address in its data (`R_X86_64_RELATIVE`, of which `DT_RELA`
/// and `DT_RELASZ` tell the place). In assembly, because until then nothing may be
/// used that has such an address, and a compiler does not promise that.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        ".hidden __ehdr_start",
        ".hidden _DYNAMIC",
        "xor ebp, ebp",
        "lea rdi, [rip + __ehdr_start]",
        "lea rsi, [rip + _DYNAMIC]",
        "xor ecx, ecx",
        "xor edx, edx",
        "2:",
        "mov rax, [rsi]",
        "cmp rax, {rela}",
        "cmove rcx, [rsi + 8]",
        "cmp rax, {rela_bytes}",
        "cmove rdx, [rsi + 8]",
        "add rsi, 16",
        "test rax, rax",
        "jnz 2b",
        // rcx to rdx: the table.
        "add rcx, rdi",
        "add rdx, rcx",
        "3:",
        "cmp rcx, rdx",
        "jae 5f",
        "cmp dword ptr [rcx + 8], {relative}",
        "jne 4f",
        "mov rax, [rcx]",
        "mov rsi, [rcx + 16]",
        "add rsi, rdi",
        "mov [rdi + rax], rsi",
        "add rcx, 24",
        "jmp 3b",
        // Nothing else is in a program that was linked right.
        "4:",
        "ud2",
        "5:",
        "mov rsi, rsp",
        "and rsp, -16",
        "call {begin}",
        "ud2",
        rela = const 7,
        rela_bytes = const 8,
        relative = const 8,
        begin = sym begin,
    )
}

/// The rest of the start, as the C library would do it.
///
/// # Safety
/// `header` is that of this program, which lies where the linker placed its parts, and
/// `stack` is what the kernel left: a count and the arguments.
unsafe extern "C" fn begin(header: *const libc::Elf64_Ehdr, stack: *const usize) -> ! {
    unsafe extern "C" {
        /// Of [`crate::program`].
        fn main(count: i32, arguments: *const *const c_char) -> i32;
    }
    // SAFETY: as the caller says.
    unsafe { protect_relocated(header) };
    // SAFETY: as the caller says.
    let count = unsafe { *stack };
    // SAFETY: behind the count come the arguments.
    let status = unsafe { main(count as i32, stack.wrapping_add(1).cast()) };
    process::leave(status as u8)
}

/// Makes what was relocated read-only (`PT_GNU_RELRO`), which a dynamic loader does.
///
/// # Safety
/// As in [`begin`].
unsafe fn protect_relocated(header: *const libc::Elf64_Ehdr) {
    const PAGE: usize = 4096;
    let base = header.cast::<u8>().cast_mut();
    // SAFETY: as the caller says.
    let header = unsafe { &*header };
    let table = base.wrapping_add(header.e_phoff as usize).cast::<libc::Elf64_Phdr>();
    for at in 0..usize::from(header.e_phnum) {
        // SAFETY: the table has so many entries and is in the first page of the image.
        let part = unsafe { &*table.wrapping_add(at) };
        if part.p_type != libc::PT_GNU_RELRO {
            continue;
        }
        let first = part.p_vaddr as usize / PAGE * PAGE;
        let end = (part.p_vaddr + part.p_memsz) as usize / PAGE * PAGE;
        let place = base.wrapping_add(first).cast();
        // SAFETY: the linker keeps what is written later out of these pages.
        if unsafe { mprotect(place, end - first, MprotectFlags::READ) }.is_err() {
            process::leave(STATUS);
        }
    }
}

/// Of a program that broke off.
const STATUS: u8 = 101;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    process::leave(STATUS)
}

// What the compiled parts of `core` and `alloc` name for an unwinding that a program
// built with `panic = "abort"` never does.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    process::leave(STATUS)
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    process::leave(STATUS)
}
