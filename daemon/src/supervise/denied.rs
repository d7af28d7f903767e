//! Refused system calls: from the agent's numbers to words.

use fetchml_api::agent::DeniedCalls;
use fetchml_api::denial::argument_of_interest;
use fetchml_api::job::Denied;
use fetchml_policies::{Library, calls};

/// What each was, and which profiles would have let it pass.
pub(super) fn in_words(library: &Library, denied: &DeniedCalls) -> Vec<Denied> {
    let mut words: Vec<_> = denied
        .calls
        .iter()
        .map(|denied| {
            let mut args = [0; 6];
            if let Some(slot) = argument_of_interest(denied.call).and_then(|at| args.get_mut(at)) {
                *slot = denied.argument;
            }
            Denied {
                call: calls::words(denied.call, denied.argument),
                count: denied.count,
                allowed_by: library
                    .allowing(denied.call, args)
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
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
