//! Configurations and any other text in which secrets are looked for, and the
//! supervisor's reading of its own.
#![no_main]

use fetchml_policies::secrets::{self, Rules};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RULES: LazyLock<Rules> =
    LazyLock::new(|| secrets::load::<&str>(&[]).expect("the vendor's rules are sound"));

fuzz_target!(|text: &str| {
    let mut end = 0;
    for finding in RULES.scan_config(text) {
        // In their order, apart from each other, within the text.
        assert!(finding.span.start >= end && finding.span.start < finding.span.end);
        end = finding.span.end;
        assert!(end <= text.len() && RULES.id(finding.span.rule) != "unknown");
    }
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (name, value) = text.split_at(half);
    let _ = RULES.judge_value(name, value);
    let mut config = fetchmld::config::Config::default();
    let _ = config.read_text("fuzzed.toml".as_ref(), text, &RULES);
});
