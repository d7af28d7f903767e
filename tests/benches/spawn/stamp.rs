//! A program of three system calls that says when its first instruction ran, so
//! that every launcher is asked the same question: how long until the job runs?

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Name of the program in its directory.
pub(crate) const NAME: &str = "stamp";

/// clock_gettime(CLOCK_MONOTONIC), write(1) of the 16 bytes, exit(0).
#[rustfmt::skip]
const CODE: [u8; 48] = [
    0x48, 0x83, 0xec, 0x10,       // sub rsp, 16
    0xb8, 0xe4, 0, 0, 0,          // mov eax, 228 (clock_gettime)
    0xbf, 1, 0, 0, 0,             // mov edi, 1
    0x48, 0x89, 0xe6,             // mov rsi, rsp
    0x0f, 0x05,                   // syscall
    0xb8, 1, 0, 0, 0,             // mov eax, 1 (write)
    0xbf, 1, 0, 0, 0,             // mov edi, 1
    0x48, 0x89, 0xe6,             // mov rsi, rsp
    0xba, 16, 0, 0, 0,            // mov edx, 16
    0x0f, 0x05,                   // syscall
    0xb8, 60, 0, 0, 0,            // mov eax, 60 (exit)
    0x31, 0xff,                   // xor edi, edi
    0x0f, 0x05,                   // syscall
];

/// A static ELF file: one header, one segment, the code.
fn image() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + CODE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        elf.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

/// Writes the program into a directory.
pub(crate) fn place_in(directory: &Path) {
    let path = directory.join(NAME);
    fs::write(&path, image()).expect("a program can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("and be made executable");
}

/// Now, in nanoseconds of the clock that the program reads.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// What the program printed.
pub(crate) fn read(output: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = output.get(at..at + 8).and_then(|b| b.try_into().ok());
        i64::from_le_bytes(bytes.expect("the program printed 16 bytes"))
    };
    nanos(Timespec { tv_sec: word(0), tv_nsec: word(8) })
}

fn nanos(time: Timespec) -> u64 {
    let part = |n: i64| u64::try_from(n).expect("the clock is positive");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
