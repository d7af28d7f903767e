//! The contract between the supervisor, its agents and its clients.
//!
//! Everything here is pure: types, their encodings and the rules that both
//! sides must agree on. Nothing performs I/O, holds privilege or knows an
//! executor, so that a client links no launch code and the agent stays small.
//!
//! * [`job`]: specifications, states, failure classes and exit reports.
//! * [`agent`]: what the supervisor tells PID 1 of a job, and what that answers.
//! * [`denial`]: which argument of a denied system call is worth telling.
//! * [`log`]: the framed format of a job's log.
//! * [`host`]: what is found on a machine.
//! * [`audit`]: audit records, their canonical bytes and the hash chain.
//! * [`queueing`]: what a job asks of the queue.
//! * [`array`]: the jobs that an array or a sweep stands for.
//! * [`names`]: D-Bus names, paths and error names.
//! * `proxy` (feature `bus`): the client side of the D-Bus interfaces.
//!
//! Without the feature `std` there is what the agent needs, which does without the
//! standard library: [`agent`], [`denial`] and [`log`].

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod agent;
#[cfg(feature = "std")]
pub mod array;
#[cfg(feature = "std")]
pub mod audit;
#[cfg(feature = "std")]
pub mod cpus;
pub mod denial;
#[cfg(feature = "std")]
pub mod host;
#[cfg(feature = "std")]
pub mod job;
pub mod log;
#[cfg(feature = "std")]
pub mod names;
#[cfg(feature = "bus")]
pub mod proxy;
#[cfg(feature = "std")]
pub mod queueing;
