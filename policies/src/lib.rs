//! Policies as data, and the small crate that reads them. It decides nothing.

pub mod profile;
pub use profile::{Demand, Network, Profile, Shown};
