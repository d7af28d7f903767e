//! The journal catalog explains every event, and nothing else.

#![allow(missing_docs)]

use fetchml_api::audit::Event;
use std::collections::BTreeMap;

/// Entries of a catalog: message id, and the text below it.
fn entries(catalog: &str) -> BTreeMap<&str, &str> {
    catalog
        .split("\n-- ")
        .skip(1)
        .map(|entry| entry.split_once('\n').expect("an entry has a text"))
        .collect()
}

#[test]
fn each_event_is_explained_under_its_message_id() {
    let path = fetchml_tests::repository().join("units/fetchml.catalog");
    let catalog = std::fs::read_to_string(path).expect("the catalog is there");
    let mut entries = entries(&catalog);
    for event in Event::ALL {
        let name = event.name();
        let entry = entries.remove(event.message_id());
        let entry = entry.unwrap_or_else(|| panic!("{name} has no entry {}", event.message_id()));
        assert!(entry.starts_with("Subject: "), "{name}: {entry}");
        assert!(entry.contains("\nDefined-By: FetchML\n"), "{name}: {entry}");
        let (_, advice) = entry.split_once("\n\n").unwrap_or_else(|| panic!("{name} has no text"));
        assert!(advice.trim().len() > 40, "{name} does not say what to do: {advice}");
    }
    assert!(entries.is_empty(), "no event has these ids: {:?}", entries.keys());
}
