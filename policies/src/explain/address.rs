//! Addresses on the network.

use super::call::words;
use super::{By, Explanation, Grounds, Verdict};
use crate::calls;
use crate::filter::Filter;
use crate::profile::{Network, Profile};
use std::net::{IpAddr, SocketAddr};

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;

/// Whether a job reaches this address over TCP: `192.0.2.1:443`, `[::1]:29500`,
/// `example.org:80`, or a local socket: `/run/x.sock`, `@name`. A job may ask for
/// another network mode than the profile's; it is the profile's that is asked.
#[must_use]
pub fn address(profile: &Profile, filter: &Filter, address: &str) -> Explanation {
    let explain = |verdict, outcome: &str, by, rule| Explanation {
        question: format!("connect {address}"),
        profile: profile.name.clone(),
        verdict,
        outcome: outcome.to_owned(),
        by,
        rule,
        cases: Vec::new(),
    };
    let ip = literal(address);
    let family = match ip {
        _ if address.starts_with(['/', '@']) => AF_UNIX,
        Some(IpAddr::V6(_)) => AF_INET6,
        _ => AF_INET,
    };
    let socket = calls::number("socket").unwrap_or_default();
    let made = filter.outcome(socket, &[family, SOCK_STREAM, 0, 0, 0, 0]);
    if !made.lets_through() {
        let call = calls::words(socket, family);
        let outcome = format!("{call} {}", words(made));
        return explain(Verdict::Denied, &outcome, By::Profile, None);
    }
    if address.starts_with('/') {
        let what = "works for sockets of the job's own; those of the host are not in its root";
        return explain(Verdict::Depends, what, By::Sandbox, None);
    }
    let grounds = |reason: &str| {
        Some(Grounds {
            file: profile.name.clone(),
            key: "network_mode".to_owned(),
            reason: reason.to_owned(),
        })
    };
    if address.starts_with('@') {
        let what = "works for sockets of the job's own; those of the host are out of reach";
        return explain(Verdict::Depends, what, By::Sandbox, None);
    }
    let own = ip.is_some_and(|ip| ip.is_loopback()) || host(address) == "localhost";
    match (profile.network_mode, own) {
        (Network::None, _) => explain(
            Verdict::Denied,
            "fails: the job has a network of its own, in which nothing is up (a job that talks to \
             itself asks for --network loopback)",
            By::Profile,
            grounds("none: no interface is up"),
        ),
        (Network::Host, _) => explain(
            Verdict::Allowed,
            "reaches what the host reaches",
            By::Profile,
            grounds("host: the host's own network"),
        ),
        (Network::Loopback, true) => explain(
            Verdict::Allowed,
            "reaches processes of the same job",
            By::Profile,
            grounds("loopback: the job's own loopback is up"),
        ),
        (Network::Loopback, false) => explain(
            Verdict::Denied,
            "fails with ENETUNREACH: the job's network has nothing but its own loopback",
            By::Profile,
            grounds("loopback: the job's own loopback is up"),
        ),
    }
}

fn literal(address: &str) -> Option<IpAddr> {
    let whole = address.parse::<SocketAddr>().map(|address| address.ip());
    whole.ok().or_else(|| host(address).parse().ok())
}

/// The part before the port.
fn host(address: &str) -> &str {
    let inner = address.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (inner, address.rsplit_once(':')) {
        (Some((host, _)), _) => host,
        (None, Some((host, _))) if !host.contains(':') => host,
        _ => address,
    }
}
