use super::*;

fn library() -> Library {
    Library::load::<&Path>(&[]).expect("the vendor's policies are valid")
}

#[test]
fn faults_of_the_whole_are_told_with_those_of_its_values() {
    let library = library();
    let text =
        "extends = \"defualt\"\nrun_as_uid = 0\n[calls.allow]\nmount = \"x\"\nptraze = \"y\"\n";
    let found = library.check_text("x.toml", text);
    let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["run_as_uid", "calls.allow.ptraze", "calls.allow.mount", "extends"]);
    let text = "seccomp_profile = \"none\"\n[limits]\npids = \"many\"\n[root]\ntmp_size = 0\n";
    let found = library.check_text("x.toml", text);
    let of = |key: &str| found.iter().filter(|problem| problem.key == key).count();
    assert_eq!((of("seccomp_profile"), of("limits.pids"), of("root.tmp_size")), (1, 1, 1));
    assert_eq!(of("description"), 1, "{found:?}");
    let text = "extends = \"default\"\n[calls]\nallow = 3\n[limits]\nmemory = 7\n";
    assert_eq!(library.check_text("x.toml", text).len(), 2, "one fault is told once");
    assert_eq!(library.check_text("x.toml", "extends = 3\nuser_ns = false\n").len(), 2);
    let told = library.check_text("x.toml", "extends = = 3\n");
    assert!(!told.iter().any(|problem| problem.message == "is missing"), "{told:?}");
}

#[test]
fn misspelt_calls_of_a_seccomp_file_are_reported_and_no_fault() {
    let library = library();
    let rules = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["raed", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["utterly_foreign"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("mine.json");
    std::fs::write(&path, rules).expect("written");
    assert_eq!(library.check_file(&path), []);
    let found = library.unknown_calls(&path);
    assert_eq!(found.len(), 1, "the last makes no difference: {found:?}");
    assert_eq!((found[0].key.as_str(), found[0].place), ("syscalls[1]", Some((3, 9))));
    assert!(found[0].message.ends_with(": raed") && found[0].remedy == "did you mean read?");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("seccomp/default-hardened.json");
    assert_eq!(library.unknown_calls(&own), []);
}
