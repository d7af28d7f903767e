//! What people see, made from values alone: nothing here reads or writes.

pub(crate) mod attempts;
pub(crate) mod audit;
pub(crate) mod doctor;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod jobs;
pub(crate) mod kept;
pub(crate) mod metrics;
pub(crate) mod outputs;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod text;
mod usage;
