//! Names of system calls, and words for what a denied call asked for.

mod values;

use crate::oci::{Comparison, Condition};
pub use fetchml_api::denial::argument_of_interest;
use fetchml_api::denial::arguments;
use std::str::FromStr;
use syscalls::x86_64::Sysno;

/// Call numbers with this bit enter by the x32 interface.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Name of a call of x86-64, for kernels up to the one this version knows.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(Sysno::new).map(|call| call.name())
}

/// Number of a call by its name, or of a decimal number itself.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    Sysno::from_str(name).ok().map(|call| call as u32).or_else(|| name.parse().ok())
}

/// Whether a call of x86-64 has this name.
pub(crate) fn is_name(name: &str) -> bool {
    Sysno::from_str(name).is_ok()
}

/// A call and what was [kept](fetchml_api::denial::kept) of its arguments:
/// `socket(AF_PACKET, SOCK_RAW)`, `clone(CLONE_NEWUSER)`, `ptrace`, `system call 999`.
/// `value` does not matter where a call has no argument of interest.
#[must_use]
pub fn words(number: u32, value: u64) -> String {
    let Some(name) = name(number) else { return format!("system call {number}") };
    let of_interest = values::words(name, value);
    match (argument_of_interest(number), arguments(number, value)) {
        (None, _) => name.to_owned(),
        (Some(0), [_, kind, protocol, ..]) if kind > 0 => {
            let kind = values::socket_type(kind);
            let protocol = if protocol == 0 { String::new() } else { format!(", {protocol}") };
            format!("{name}({of_interest}, {kind}{protocol})")
        }
        _ => format!("{name}({of_interest})"),
    }
}

/// The value of an argument as people write it: a number, or a name that is
/// usual for this argument of this call, several joined by `|`.
pub(crate) fn value(call: Option<u32>, index: usize, word: &str) -> Option<u64> {
    let of_interest = call.and_then(argument_of_interest) == Some(index);
    let name = call.and_then(name).unwrap_or_default();
    match of_interest {
        true => values::value(name, word),
        false => values::further(name, index, word),
    }
}

/// One test of an argument of a call, in words: `argument 0 is AF_UNIX`.
#[must_use]
pub fn condition(number: u32, condition: &Condition) -> String {
    const LOW_HALF: u64 = 0xffff_ffff;
    let (index, value) = (usize::from(condition.index), condition.value);
    let word = match name(number) {
        Some(name) if argument_of_interest(number) == Some(index) => values::words(name, value),
        Some(name) => values::further_word(name, index, value),
        None => format!("{value:#x}"),
    };
    match condition.comparison {
        Comparison::Equal | Comparison::Masked(LOW_HALF) => format!("argument {index} is {word}"),
        Comparison::NotEqual => format!("argument {index} is not {word}"),
        Comparison::Less => format!("argument {index} is below {value:#x}"),
        Comparison::AtMost => format!("argument {index} is at most {value:#x}"),
        Comparison::AtLeast => format!("argument {index} is at least {value:#x}"),
        Comparison::Greater => format!("argument {index} is above {value:#x}"),
        Comparison::Masked(mask) if value == 0 => {
            format!("argument {index} has none of the bits {mask:#x}")
        }
        Comparison::Masked(mask) if argument_of_interest(number) == Some(index) => {
            format!("argument {index} & {mask:#x} is {value:#x}")
        }
        Comparison::Masked(mask) => format!("argument {index} & {mask:#x} is {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_is_put_into_words() {
        let told = |call: &str, value| words(number(call).expect("a call"), value);
        assert_eq!(told("socket", 16), "socket(AF_NETLINK)");
        assert_eq!(told("socket", 3 << 32 | 17), "socket(AF_PACKET, SOCK_RAW)");
        assert_eq!(told("socket", 262 << 40 | 1 << 32 | 2), "socket(AF_INET, SOCK_STREAM, 262)");
        assert_eq!(told("socket", 4711), "socket(4711)");
        assert_eq!(told("ioctl", 0x5412), "ioctl(TIOCSTI)");
        assert_eq!(told("ioctl", 0xdead), "ioctl(0xdead)");
        assert_eq!(told("clone", 0x1000_0011), "clone(CLONE_NEWUSER)");
        assert_eq!(told("unshare", 0x1002_0000), "unshare(CLONE_NEWNS|CLONE_NEWUSER)");
        assert_eq!(told("clone", 17), "clone(0x11)");
        assert_eq!(told("chmod", 0o4755), "chmod(mode 4755)");
        assert_eq!(told("prctl", 22), "prctl(PR_SET_SECCOMP)");
        assert_eq!(told("ptrace", 7), "ptrace");
        assert_eq!(words(999, 7), "system call 999");
    }

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for call in 0..=600 {
            if let Some(name) = name(call) {
                assert_eq!(number(name), Some(call), "{name}");
            }
        }
        assert_eq!(number("101"), Some(101));
        assert_eq!(number("ptraze"), None);
    }
}
