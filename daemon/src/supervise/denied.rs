//! Refused system calls: from the agent's numbers to words.

use fetchml_api::agent::DeniedCalls;
use fetchml_api::denial::{argument_of_interest, arguments};
use fetchml_api::job::Denied;
use fetchml_policies::{Denials, Filter, Library, calls};
use std::sync::Arc;

/// What each was, and which profiles would have let it pass that this one refused.
/// Calls that the policy refuses by name come first: no number of others pushes them
/// out of what a person or a record has room for. `None`: the agent said nothing.
///
/// `landlock`: what Landlock denied besides.
pub(super) fn in_words(
    library: &Library,
    profile: &str,
    denied: Option<&DeniedCalls>,
    landlock: Vec<Denied>,
) -> Vec<Denied> {
    let is_lost = landlock.iter().any(Denied::is_uncounted);
    let known = library.profile(profile).ok();
    let filter = known.as_ref().and_then(|profile| library.filter(profile).ok());
    let counts = known.is_none_or(|profile| profile.denials == Denials::Count);
    let mut words: Vec<_> = Vec::new();
    for one in denied.iter().flat_map(|denied| &denied.calls) {
        let args = arguments(one.call, one.argument);
        let call = calls::words(one.call, one.argument);
        let denied =
            Denied { call, count: one.count, allowed_by: by(library, profile, one.call, args) };
        words.push((is_named(filter.as_ref(), one.call, args), denied));
    }
    for &(number, count) in denied.iter().flat_map(|denied| &denied.further) {
        let plain = argument_of_interest(number).is_none();
        let name = calls::name(number).map_or_else(|| format!("call {number}"), str::to_owned);
        let denied = Denied {
            call: if plain { name } else { format!("{name}(others)") },
            count: count.into(),
            allowed_by: if plain { by(library, profile, number, [0; 6]) } else { Vec::new() },
        };
        words.push((is_named(filter.as_ref(), number, [0; 6]), denied));
    }
    words.sort_by_key(|(named, _)| !named);
    let mut words: Vec<_> = words
        .into_iter()
        .map(|(_, denied)| denied)
        .chain(landlock.into_iter().filter(|one| !one.is_uncounted()))
        .collect();
    let mut add = |call: &str, count| {
        words.push(Denied { call: call.to_owned(), count, allowed_by: Vec::new() });
    };
    if let Some(others) = denied.map(|denied| denied.others).filter(|others| *others > 0) {
        add(Denied::OTHERS, others);
    }
    if is_lost || counts && denied.is_none_or(|denied| denied.lost) {
        add(Denied::UNCOUNTED, 0);
    }
    words
}

/// Whether the policy has an error of its own for it, as for ptrace, rather than the
/// one for everything that it does not name.
fn is_named(filter: Option<&Arc<Filter>>, call: u32, args: [u64; 6]) -> bool {
    filter.is_some_and(|filter| filter.outcome(call, &args) != filter.default)
}

fn by(library: &Library, profile: &str, call: u32, args: [u64; 6]) -> Vec<String> {
    let mut allowed_by = library.allowing(call, args);
    // What this very profile seems to allow was refused for an argument that
    // nobody kept; what others would say to that is not known either.
    if allowed_by.contains(&profile) {
        allowed_by.clear();
    }
    allowed_by.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTRACE: u32 = 101;
    const SOCKET: u32 = 41;

    fn library() -> Library {
        Library::load::<&str>(&[]).expect("the vendor's policies are sound")
    }

    fn told(denied: Option<&DeniedCalls>) -> Vec<String> {
        in_words(&library(), "default", denied, Vec::new())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn no_flood_of_harmless_calls_hides_a_telling_one() {
        let mut denied = DeniedCalls::default();
        for number in 0..40 {
            denied.count(1000 + number, 0);
        }
        denied.count(PTRACE, 0);
        denied.count(PTRACE, 0);
        denied.count(SOCKET, 17);
        let words = told(Some(&denied));
        assert_eq!(words[..2], ["socket(others) ×1", "ptrace ×2"], "{words:?}");
        assert_eq!(words.last().map(String::as_str), Some("others ×8"), "{words:?}");
        let all = in_words(&library(), "default", Some(&denied), Vec::new());
        assert!(all[1].allowed_by.contains(&"debug".to_owned()), "{all:?}");
    }

    #[test]
    fn what_could_not_be_counted_does_not_read_as_nothing() {
        assert_eq!(told(Some(&DeniedCalls::default())), [""; 0]);
        assert_eq!(told(None), ["calls that could not be counted"]);
        let mut denied = DeniedCalls { lost: true, ..DeniedCalls::default() };
        denied.count(PTRACE, 0);
        assert_eq!(told(Some(&denied)), ["ptrace ×1", "calls that could not be counted"]);
    }
}
