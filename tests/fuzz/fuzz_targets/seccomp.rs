//! seccomp profiles in our form of the OCI format: read, merged with the ceiling,
//! compiled.
#![no_main]

use fetchml_policies::Library;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static VENDOR: LazyLock<Library> =
    LazyLock::new(|| Library::load::<&str>(&[]).expect("the vendor's policies are sound"));

fuzz_target!(|text: &str| {
    for problem in VENDOR.check_text("fuzzed.json", text) {
        assert!(!problem.to_string().is_empty());
    }
});
