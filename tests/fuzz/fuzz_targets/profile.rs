//! Profiles as an administrator might write them, or a vendor might send them.
#![no_main]

use fetchml_policies::Library;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static VENDOR: LazyLock<Library> =
    LazyLock::new(|| Library::load::<&str>(&[]).expect("the vendor's policies are sound"));

fuzz_target!(|text: &str| {
    for problem in VENDOR.check_text("fuzzed.toml", text) {
        // Each fault has words and, where it has a place, one in the file.
        assert!(!problem.to_string().is_empty());
        if let Some((line, column)) = problem.place {
            assert!(line <= text.matches('\n').count() + 1 && column > 0, "{problem}");
        }
    }
});
