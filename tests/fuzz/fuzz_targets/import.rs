//! Docker's and Podman's seccomp profiles, decided for a host.
#![no_main]

use fetchml_policies::Library;
use fetchml_policies::oci::ImportHost;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static VENDOR: LazyLock<Library> =
    LazyLock::new(|| Library::load::<&str>(&[]).expect("the vendor's policies are sound"));

fuzz_target!(|text: &str| {
    let host = ImportHost { capabilities: vec!["CAP_SYS_PTRACE".to_owned()], kernel: (6, 1) };
    let Ok(imported) = VENDOR.import("fuzzed.json", text, &host) else { return };
    let found = VENDOR.check_text("imported.json", &imported.text);
    assert!(found.is_empty(), "{found:?}\n{}", imported.text);
});
