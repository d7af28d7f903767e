//! Checks that need a profile and its filter together: parts that contradict
//! each other would fail in a job, in words that nobody connects with them.

use crate::calls;
use crate::decision::Decisions;
use crate::filter::{Filter, Ruleset};
use crate::problem::{Fault, Problem};
use crate::profile::{Demand, Network, Profile};
use crate::reader::Draft;

const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;

/// Refuses a profile whose parts do not fit, and fills in what follows from both.
pub(crate) fn complete(
    draft: &Draft,
    profile: &mut Profile,
    filter: &Filter,
) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut fault = |key: &str, message: String, remedy: &str| {
        problems.push(draft.problem(Fault::new(message, remedy), key, None));
    };
    let sockets = has_ip_sockets(filter);
    if profile.network_mode != Network::None && !sockets {
        fault(
            "network_mode",
            format!("seccomp profile {:?} lets no job make an IP socket", filter.name),
            "use \"none\", or a seccomp profile that allows socket for AF_INET",
        );
    }
    if profile.network_mode == Network::Host && profile.landlock == Demand::BestEffort {
        fault(
            "landlock",
            "with the host's network only Landlock keeps a job from abstract sockets of the host"
                .to_owned(),
            "write landlock = \"required\"",
        );
    }
    profile.networks = [Network::None, Network::Loopback, Network::Host]
        .into_iter()
        .filter(|mode| match mode {
            Network::None => true,
            Network::Loopback => sockets,
            Network::Host => profile.network_mode == Network::Host,
        })
        .collect();
    let allowed = profile.allowed_calls.keys();
    let denied = allowed.filter(|name| !possible(name, &filter.merged));
    problems.extend(denied.map(|name| denied_to_all(draft, name)));
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Calls that a draft itself allows and no job may make. This needs nothing of what the
/// draft inherits.
pub(crate) fn forbidden(draft: &Draft, ceiling: &Ruleset) -> Vec<Problem> {
    let allowed = draft.allowed_calls.keys();
    let denied = allowed.filter(|name| !possible(name, &ceiling.decisions));
    denied.map(|name| denied_to_all(draft, name)).collect()
}

/// Whether a call is made with any arguments at all.
fn possible(name: &str, decisions: &Decisions) -> bool {
    calls::number(name).is_some_and(|number| {
        decisions.of(number).endings().any(|ending| ending.outcome.lets_through())
    })
}

fn denied_to_all(draft: &Draft, name: &str) -> Problem {
    let fault = Fault::new("is denied to every job, whatever its profile", "remove it");
    draft.problem(fault, &format!("calls.allow.{name}"), None)
}

fn has_ip_sockets(filter: &Filter) -> bool {
    calls::number("socket").is_some_and(|socket| {
        [AF_INET, AF_INET6]
            .into_iter()
            .any(|family| filter.outcome(socket, &[family, SOCK_STREAM, 0, 0, 0, 0]).lets_through())
    })
}
