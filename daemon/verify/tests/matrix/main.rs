//! Every way in which a log is attacked, and what the verifier must say of it.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub, unused_crate_dependencies)]

mod export;
mod machine;
mod many;
mod random;
mod rows;
mod silence;
