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

/// A size as people write it for an option: `2G`, `512M`, `4097`.
fn size(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    let unit = units.into_iter().find(|(shift, _)| whole(*shift));
    unit.map_or_else(|| bytes.to_string(), |(shift, name)| format!("{}{name}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_told_as_they_are_written() {
        let told = [2 << 30, 512 << 20, 1536 << 10, 4097, 0].map(size);
        assert_eq!(told, ["2G", "512M", "1536K", "4097", "0"]);
    }
}
