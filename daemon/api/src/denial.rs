//! Which argument of a denied system call says what was asked for.
//!
//! The agent counts denials by call and by this argument, the supervisor puts
//! them into words. Both use this table, so that they mean the same. Numbers are
//! those of x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl` of Linux 6.12).

/// Calls with an argument worth telling, by number: the argument's index.
/// Only arguments that are plain values: what a pointer leads to belongs to the
/// job and is not read.
const ARGUMENT_OF_INTEREST: [(u32, u8); 26] = [
    (2, 2),   // open: mode
    (16, 1),  // ioctl: request
    (41, 0),  // socket: family
    (53, 0),  // socketpair: family
    (56, 0),  // clone: flags
    (72, 1),  // fcntl: command
    (85, 1),  // creat: mode
    (90, 1),  // chmod: mode
    (91, 1),  // fchmod: mode
    (133, 1), // mknod: mode
    (135, 0), // personality: persona
    (141, 0), // setpriority: which
    (157, 0), // prctl: option
    (158, 0), // arch_prctl: option
    (227, 0), // clock_settime: clock
    (250, 0), // keyctl: operation
    (251, 0), // ioprio_set: which
    (257, 3), // openat: mode
    (259, 2), // mknodat: mode
    (268, 2), // fchmodat: mode
    (272, 0), // unshare: flags
    (302, 1), // prlimit64: resource
    (308, 1), // setns: kind
    (317, 0), // seccomp: operation
    (321, 0), // bpf: command
    (452, 2), // fchmodat2: mode
];

/// Index of the argument of call `number` that tells one use from another, if
/// it has one: the family of `socket`, the request of `ioctl`.
#[must_use]
pub fn argument_of_interest(number: u32) -> Option<usize> {
    ARGUMENT_OF_INTEREST
        .binary_search_by_key(&number, |(call, _)| *call)
        .ok()
        .map(|at| usize::from(ARGUMENT_OF_INTEREST[at].1))
}

const SOCKET: u32 = 41;
const SOCKETPAIR: u32 = 53;

/// What is kept of a refused call's arguments: the one of interest, of which the
/// kernel looks at the low half only; for sockets the type (without its flags) and
/// the protocol besides, since policies decide by these as well. 0 where the call
/// has no argument of interest.
#[must_use]
pub fn kept(number: u32, args: &[u64; 6]) -> u64 {
    let of_interest = argument_of_interest(number).and_then(|at| args.get(at));
    let low = of_interest.map_or(0, |value| value & 0xffff_ffff);
    match number {
        SOCKET | SOCKETPAIR => low | (args[1] & 0xf) << 32 | (args[2] & 0xff_ffff) << 40,
        _ => low,
    }
}

/// The arguments that a [`kept`] value stands for, as far as they are known; 0 where
/// they are not.
#[must_use]
pub fn arguments(number: u32, kept: u64) -> [u64; 6] {
    let mut args = [0; 6];
    if let Some(slot) = argument_of_interest(number).and_then(|at| args.get_mut(at)) {
        *slot = kept & 0xffff_ffff;
    }
    if matches!(number, SOCKET | SOCKETPAIR) {
        args[1] = kept >> 32 & 0xf;
        args[2] = kept >> 40;
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_table_is_found() {
        assert!(ARGUMENT_OF_INTEREST.is_sorted_by_key(|(call, _)| *call));
        for (call, index) in ARGUMENT_OF_INTEREST {
            assert_eq!(argument_of_interest(call), Some(usize::from(index)), "{call}");
            assert!(index < 6, "{call}");
        }
        assert_eq!(argument_of_interest(101), None, "ptrace");
    }

    #[test]
    fn of_a_socket_type_and_protocol_are_kept_without_the_flags() {
        const CLOEXEC: u64 = 0o2_000_000;
        let kept = kept(SOCKET, &[2 | 7 << 40, 3 | CLOEXEC, 255, 9, 9, 9]);
        assert_eq!(arguments(SOCKET, kept), [2, 3, 255, 0, 0, 0]);
        assert_eq!(
            arguments(16, super::kept(16, &[1, 0x5412, 3, 0, 0, 0])),
            [0, 0x5412, 0, 0, 0, 0]
        );
        assert_eq!(super::kept(101, &[16, 1, 0, 0, 0, 0]), 0);
        assert_eq!(argument_of_interest(u32::MAX), None);
    }
}
