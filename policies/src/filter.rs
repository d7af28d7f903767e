//! A seccomp profile compiled for the kernel.

use crate::bpf;
use crate::oci::{self, Outcome, Rule};
use crate::problem::{Fault, Problem};
use serde::Serialize;

/// A compiled seccomp profile. Compiled once, used by every job.
#[derive(Clone, Debug, Serialize)]
pub struct Filter {
    /// Name, the stem of its file.
    pub name: String,
    /// `struct sock_filter` arrays in native byte order, in the order in which
    /// they are to be installed.
    #[serde(skip)]
    pub programs: Vec<Vec<u8>>,
    /// System calls that are possible, some only with certain arguments.
    pub allowed: usize,
    /// System calls that are named and never possible.
    pub denied: usize,
    /// Names that no kernel known to this version has. They get `default`.
    pub unknown: Vec<String>,
    /// What happens to a call that no rule names.
    pub default: Outcome,
    /// The rules as they were written, with their reasons.
    pub rules: Vec<Rule>,
}

impl Filter {
    /// Reads and compiles an OCI seccomp document.
    pub(crate) fn read(name: &str, file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = oci::read(file, text)?;
        let calls = oci::calls(file, &document.rules)?;
        let program = bpf::compile(&calls.table, document.default)
            .map_err(|fault: Fault| vec![fault.in_file(file, "syscalls")])?;
        let possible = |call: &oci::Call| {
            call.always.unwrap_or(document.default).lets_through()
                || call.conditional.iter().any(|(outcome, _)| outcome.lets_through())
        };
        let allowed = calls.table.values().filter(|call| possible(call)).count();
        Ok(Self {
            name: name.to_owned(),
            programs: vec![program],
            allowed,
            denied: calls.table.len() - allowed,
            unknown: calls.unknown,
            default: document.default,
            rules: document.rules,
        })
    }
}
