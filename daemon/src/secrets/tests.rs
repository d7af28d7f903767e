use super::*;
use std::os::unix::fs::PermissionsExt;
use zeroize::Zeroizing;

fn value(text: &str) -> Value {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn vault(state: &Path) -> Vault {
    // The tests' user is the administrator; others are not, whoever runs the tests.
    Vault::open(state, false).expect("a vault")
}

fn stranger() -> Holder {
    Holder::new(4_000_000, vec![4_000_000])
}

fn uses(name: &str) -> Vec<SecretUse> {
    vec![SecretUse { name: name.to_owned(), variable: None }]
}

#[test]
fn a_secret_is_kept_replaced_and_forgotten() {
    let state = tempfile::tempdir().expect("a directory");
    let vault = vault(state.path());
    let own = Holder::new(vault.administrator, Vec::new());
    vault.add("hf-token", &[], &value("first\nvalue"), 1).expect("it is new");
    let taken = vault.take(&uses("hf-token"), &own).expect("it is there");
    assert_eq!(**taken[0].value, *b"first\nvalue");
    assert!(!format!("{taken:?}").contains("first"), "{taken:?}");
    assert!(matches!(vault.add("hf-token", &[], &value("second"), 2), Err(VaultError::There(_))));
    vault.rotate("hf-token", &value("second"), 2).expect("it is there");
    assert_eq!(**vault.take(&uses("hf-token"), &own).expect("it is there")[0].value, *b"second");
    let listed = vault.list().expect("a list");
    assert_eq!((listed[0].added_usec, listed[0].rotated_usec, listed[0].kept), (1, 2, "file"));
    vault.remove("hf-token").expect("it is there");
    assert!(matches!(vault.rotate("hf-token", &value("x"), 3), Err(VaultError::Unknown(_))));
    assert!(vault.list().expect("a list").is_empty());
}

#[test]
fn only_who_it_is_for_may_use_it_and_nobody_else_learns_of_it() {
    let state = tempfile::tempdir().expect("a directory");
    let vault = vault(state.path());
    vault.add("theirs", &["user:daemon".to_owned()], &value("s3cret-1"), 1).expect("it is new");
    let daemon = Holder::of_user(1);
    vault.check(&uses("theirs"), &daemon).expect("it is for daemon");
    let refused = vault.check(&uses("theirs"), &stranger()).expect_err("not for everybody");
    let absent = vault.check(&uses("absent"), &stranger()).expect_err("there is none");
    assert_eq!(
        refused.to_string().replace("theirs", "absent"),
        absent.to_string(),
        "whether it is there is not told"
    );
    let nobody = vault.add("other", &["user:no-such-user".to_owned()], &value("s3cret-2"), 1);
    assert!(matches!(nobody, Err(VaultError::Nobody(_))));
    for name in ["", "../x", ".x", "a/b", "-x", "a b"] {
        assert!(matches!(vault.add(name, &[], &value("s3cret"), 1), Err(VaultError::Name(_))));
    }
}

#[test]
fn files_that_others_can_read_are_refused() {
    let state = tempfile::tempdir().expect("a directory");
    let vault = vault(state.path());
    vault.add("token", &[], &value("s3cret-1"), 1).expect("it is new");
    let own = Holder::new(vault.administrator, Vec::new());
    let path = state.path().join("secrets/token");
    let mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
    for loose in [0o640, 0o604, 0o622] {
        mode(loose);
        let refused = vault.take(&uses("token"), &own).expect_err("it is open");
        assert!(matches!(refused, VaultError::Exposed(_)), "{loose:o}: {refused}");
    }
    mode(0o600);
    vault.take(&uses("token"), &own).expect("it is closed");
    std::fs::set_permissions(state.path().join("secrets"), std::fs::Permissions::from_mode(0o755))
        .expect("a mode");
    assert!(matches!(Vault::open(state.path(), false), Err(VaultError::Exposed(_))));
}

#[test]
fn a_value_comes_in_a_sealed_memory_file_only() {
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};
    let file = |text: &str| {
        let file = memfd_create("value", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .expect("a memory file");
        rustix::io::write(&file, text.as_bytes()).expect("a write");
        file
    };
    let sealed = |text: &str| {
        let file = file(text);
        let seals = rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK;
        fcntl_add_seals(&file, seals).expect("seals");
        file
    };
    assert_eq!(*read_value(&sealed("s3cret-1")).expect("it is sealed"), b"s3cret-1");
    assert!(matches!(read_value(&file("s3cret-1")), Err(VaultError::NotSealed(_))));
    assert!(matches!(read_value(&sealed("short")), Err(VaultError::Size(5))));
    let (pipe, _) = rustix::pipe::pipe().expect("a pipe");
    assert!(matches!(read_value(&pipe), Err(VaultError::NotSealed(_))));
}
