//! The D-Bus side: one file an interface. Everything here translates; what a
//! caller may is decided in `access`, what happens is done by `engine`.

mod announce;
mod audit;
mod dbus_shim;
mod door;
mod error;
mod filter;
mod held;
mod job;
mod manager;
mod many;
mod objects;
mod peer;
mod roles;
mod secrets;
mod spec;
mod system;
#[cfg(test)]
mod tests;
mod veil;
mod wire;

pub use door::Desk;
pub use error::BusError;
pub use held::Held;
pub use peer::serve_peer;
pub use system::serve_system;
