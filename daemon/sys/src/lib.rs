//! System calls behind safe types. The only crate of the workspace in which
//! unsafe code is allowed; it decides nothing.
//!
//! What rustix offers is used from there. Here is the rest: a clone that shares
//! the address space ([`clone`]), execve and PID 1's calls ([`process`]), the mount
//! attributes call ([`mount`]), Landlock rules and seccomp programs for a process
//! that may not allocate ([`confine`]), refused calls that are asked about
//! ([`denied`]), memory files in place ([`sealed`]), the few network, socket and namespace calls that nobody wraps
//! ([`net`], [`namespace`], [`peer`], [`inherited`]), file handles ([`handle`]), and
//! whether the kernel has a call at all ([`features`]).
//!
//! Every function that a [`clone::spawn`] child may call is marked *child-safe*:
//! it performs system calls on data that was prepared before and neither
//! allocates nor locks.
//!
//! Without the feature `std` this is all that a program has: its start, its memory and
//! the calls that the agent needs, none of which goes through the C library.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod call;
pub mod clone;
pub mod confine;
pub mod denied;
#[cfg(feature = "std")]
pub mod features;
#[cfg(feature = "std")]
pub mod handle;
#[cfg(any(not(feature = "std"), test))]
mod heap;
#[cfg(feature = "std")]
pub mod inherited;
#[cfg(any(not(feature = "std"), test))]
mod memory;
#[cfg(feature = "std")]
pub mod mount;
#[cfg(feature = "std")]
pub mod namespace;
#[cfg(feature = "std")]
pub mod net;
#[cfg(feature = "std")]
pub mod peer;
pub mod process;
pub mod sealed;
#[cfg(feature = "sentinel")]
pub mod sentinel;
#[cfg(not(feature = "std"))]
mod start;
#[cfg(feature = "watch")]
pub mod watch;

/// A system call's error number.
pub type Errno = rustix::io::Errno;

/// Turns the C convention (-1 and `errno`) into a result. Child-safe: a child of
/// [`clone::spawn`] has its parent thread's `errno` to itself, since that thread
/// sleeps until the child executes or exits.
#[cfg(feature = "std")]
fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret < 0 {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    } else {
        Ok(ret)
    }
}
