//! Refused system calls: from the agent's numbers to words.

use fetchml_api::agent::DeniedCalls;
use fetchml_api::denial::arguments;
use fetchml_api::job::Denied;
use fetchml_policies::{Library, calls};

/// What each was, and which profiles would have let it pass that this one refused.
pub(super) fn in_words(library: &Library, profile: &str, denied: &DeniedCalls) -> Vec<Denied> {
    let mut words: Vec<_> = denied
        .calls
        .iter()
        .map(|denied| {
            let args = arguments(denied.call, denied.argument);
            let mut allowed_by = library.allowing(denied.call, args);
            // What this very profile seems to allow was refused for an argument that
            // nobody kept; what others would say to that is not known either.
            if allowed_by.contains(&profile) {
                allowed_by.clear();
            }
            Denied {
                call: calls::words(denied.call, denied.argument),
                count: denied.count,
                allowed_by: allowed_by.into_iter().map(str::to_owned).collect(),
            }
        })
        .collect();
    if denied.others > 0 {
        words.push(Denied {
            call: Denied::OTHERS.to_owned(),
            count: denied.others,
            allowed_by: Vec::new(),
        });
    }
    words
}
