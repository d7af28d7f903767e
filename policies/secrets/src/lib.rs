//! Finding secrets in text: in configurations, where they are refused, and in logs,
//! where they are blotted out.
//!
//! What a secret looks like is data ([`Source`], compiled into [`Rules`]). The
//! agent of every job runs this code on whatever the job writes, so it depends on
//! nothing, not even the standard library, allocates little, and its time grows with the
//! length of the text alone. The rules are compiled once, by the supervisor; agents use
//! them in place ([`Rules::bytes`], [`Rules::in_place`]).

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod charset;
mod checksum;
pub mod config;
mod entropy;
mod flat;
mod grams;
#[cfg(test)]
mod hostile_tests;
mod injected;
mod names;
mod pattern;
mod pem;
mod rules;
mod scan;
mod source;
mod stream;
mod url;
mod value;
mod work;

pub use rules::Rules;
pub use scan::{Manner, RuleId, Span};
pub use source::{RuleFault, Source};
pub use stream::{Piece, Redactor};
