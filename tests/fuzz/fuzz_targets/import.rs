//! Docker's and Podman's seccomp profiles, decided for a host.
#![no_main]

use fetchml_policies::Library;
use fetchml_policies::oci::{ImportHost, import};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static VENDOR: LazyLock<Library> =
    LazyLock::new(|| Library::load::<&str>(&[]).expect("the vendor's policies are sound"));

fuzz_target!(|text: &str| {
    let host = ImportHost { capabilities: vec!["CAP_SYS_PTRACE".to_owned()], kernel: (6, 1) };
    let Ok(imported) = import("fuzzed.json", text, &host) else { return };
    // What comes out is a plain profile: our own reader finds nothing in it but
    // what a site may not have at all.
    for problem in VENDOR.check_text("imported.json", &imported.text) {
        let known = ["defaultAction", "syscalls"].contains(&problem.key.as_str());
        assert!(known, "{problem}\n{}", imported.text);
    }
});
