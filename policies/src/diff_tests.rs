use super::*;
use crate::Library;
use crate::profile::Network;
use std::path::Path;

#[test]
fn a_profile_does_not_differ_from_itself() {
    let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
    let profile = library.profile("default").expect("it exists");
    let filter = library.filter(&profile).expect("it is compiled");
    assert_eq!(diff((&profile, &filter), (&profile, &filter)), []);
}

#[test]
fn keys_paths_variables_and_calls_are_told_in_a_fixed_order() {
    let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
    let before = library.profile("default").expect("it exists");
    let filter = library.filter(&before).expect("it is compiled");
    let mut after = Profile::clone(&before);
    after.network_mode = Network::Loopback;
    after.pids = 64;
    after.shm_bytes = 3 << 29;
    after.terminals = true;
    after.memory_bytes = Some(4 << 30);
    after.max_runtime_usec = 1_800_000_000;
    after.allowed_caps = vec!["CAP_SYS_NICE".to_owned()];
    after.show.retain(|shown| shown.path != "/opt");
    after.env.insert("TEAM".to_owned(), "a".to_owned());
    let ceiling = library.ceiling();
    let found = diff((&before, &filter), (&after, &ceiling));
    let lines: Vec<String> = found
        .iter()
        .map(|d| {
            let word = |side: &Option<String>| side.clone().unwrap_or("-".to_owned());
            format!("{:?} {}: {} → {}", d.subject, d.name, word(&d.before), word(&d.after))
        })
        .collect();
    let (calls, rest): (Vec<_>, Vec<_>) =
        lines.iter().map(String::as_str).partition(|line| line.starts_with("Call"));
    assert_eq!(
        rest,
        [
            "Key limits.memory: - → 4GiB",
            "Key limits.pids: 4096 → 64",
            "Key max_runtime_hours: 24 → 0.5",
            "Key network_mode: none → loopback",
            "Key root.shm_size: 2GiB → 1536MiB",
            "Key root.terminals: false → true",
            "Capability CAP_SYS_NICE: - → kept",
            "Path /opt: shown where there is one → -",
            "Variable TEAM: - → a",
        ]
    );
    let enosys = "fails with ENOSYS (Function not implemented)";
    assert!(calls.contains(&format!("Call mq_open: {enosys} → is made").as_str()), "{calls:?}");
    assert_eq!(calls.last(), Some(&format!("Call every other call: {enosys} → is made").as_str()));
    assert!(!calls.iter().any(|line| line.starts_with("Call mount:")), "both refuse it");
}
