//! The supervisor: the only privileged part of FetchML. A job flows one way,
//! `bus` → `access` → `engine` and `queue` (committed in `store`) → `supervise`
//! → `plan` → `launch` → `jail`, and its report flows back; nobody reaches over.

mod accelerators;
pub mod access;
pub mod audit;
pub mod bus;
mod cgroup;
pub mod config;
pub mod directories;
pub mod engine;
mod jail;
mod launch;
pub mod notify;
mod plan;
pub mod queue;
pub mod recover;
pub mod secrets;
pub mod serve;
pub mod store;
pub mod supervise;

/// The known word that a person most likely meant.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
