//! Policies as data, and the small crate that reads them. It decides nothing.
//!
//! Vendor defaults are part of the binary, so that a supervisor without an
//! installation has them too; a directory such as `/etc/fetchml/policies` adds
//! to them or replaces them file by file.

mod assemble;
mod beyond;
mod bpf;
pub mod calls;
mod check;
mod decision;
pub mod devices;
mod diff;
mod document;
pub mod explain;
mod filter;
mod library;
pub mod masks;
pub mod oci;
mod paths;
mod problem;
pub mod profile;
mod question;
mod reader;
mod resolve;
pub mod secrets;
mod sound;
mod trust;

pub use diff::{Difference, Subject, diff};
pub use document::{Calls, Document, Overview};
pub use filter::{Counting, Filter};
pub use library::Library;
pub use oci::{Comparison, Condition, Outcome, Rule};
pub use problem::{PolicyError, Problem};
pub use profile::{Demand, Denials, Network, Profile, Shown};
pub use question::{Answer, Other, Question};
pub use trust::is_file_name;
