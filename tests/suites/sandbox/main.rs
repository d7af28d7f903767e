//! The sandbox on this machine's own kernel: real namespaces, real filters, real
//! crashes, through a private supervisor.

// In a test a panic is the message.
#![allow(clippy::unwrap_used)]

mod attacks;
mod audit;
mod bus;
mod child;
mod contract;
mod crash;
mod created;
mod data;
mod denied;
mod escapes;
mod given;
mod inside;
mod output;
mod probe;
mod profiles;
mod reading;
mod redacted;
mod refused;
mod resident;
mod resources;
mod terminals;

use fetchml_tests::{Private, available};

/// A private supervisor, or the end of the test where there can be none.
macro_rules! private {
    () => {
        match crate::start() {
            Some(private) => private,
            None => return,
        }
    };
}
pub(crate) use private;

fn start() -> Option<Private> {
    available(Private::new())
}
