//! Addresses on the network, and local sockets.

use super::call::words;
use super::{By, Explanation, Grounds, Verdict};
use crate::calls;
use crate::filter::Filter;
use crate::profile::{Network, Profile};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;

/// Whether a job reaches this address over TCP, or this local socket. A job may ask
/// for another network mode than the profile's; it is the profile's that is asked.
#[must_use]
pub fn address(profile: &Profile, filter: &Filter, text: &str, to: &Destination) -> Explanation {
    let explain = |verdict, outcome: &str, by, rule| Explanation {
        question: format!("connect {text}"),
        profile: profile.name.clone(),
        verdict,
        outcome: outcome.to_owned(),
        by,
        rule,
        cases: Vec::new(),
    };
    let family = match to {
        Destination::Path | Destination::Abstract => AF_UNIX,
        Destination::Ip(IpAddr::V6(_)) => AF_INET6,
        _ => AF_INET,
    };
    let socket = calls::number("socket").unwrap_or_default();
    let made = filter.outcome(socket, &[family, SOCK_STREAM, 0, 0, 0, 0]);
    if !made.lets_through() {
        let call = calls::words(socket, family);
        let outcome = format!("{call} {}", words(made));
        return explain(Verdict::Denied, &outcome, By::Profile, None);
    }
    let own_alone = match to {
        Destination::Path => Some("those of the host are not in its root"),
        Destination::Abstract => Some("those of the host are out of reach"),
        _ => None,
    };
    if let Some(others) = own_alone {
        let what = format!("works for sockets of the job's own; {others}");
        return explain(Verdict::Depends, &what, By::Sandbox, None);
    }
    let grounds = |reason: &str| {
        Some(Grounds {
            file: profile.name.clone(),
            key: "network_mode".to_owned(),
            reason: reason.to_owned(),
        })
    };
    match (profile.network_mode, to.is_own()) {
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

/// What a job connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A port of this address.
    Ip(IpAddr),
    /// A port of a host of this name.
    Name(String),
    /// A socket in the file system.
    Path,
    /// A socket of the abstract name space.
    Abstract,
}

/// Longest name of a socket, in bytes (unix(7): `sun_path` with its zero).
const LONGEST_SOCKET: usize = 107;

impl Destination {
    /// Reads `192.0.2.1:443`, `[::1]:29500`, `example.org:80`, `unix:/run/x.sock`,
    /// `unix:@name`; the last two also without `unix:`.
    ///
    /// # Errors
    /// What is wrong with it, and the form.
    pub fn read(text: &str) -> Result<Self, String> {
        const FORM: &str = "write HOST:PORT, [IPv6]:PORT, unix:/PATH or unix:@NAME";
        let local = text.strip_prefix("unix:").unwrap_or(text);
        let kind = match (local.chars().next(), local.len() == text.len()) {
            (Some('/'), _) => Some(Self::Path),
            (Some('@'), _) => Some(Self::Abstract),
            (_, false) => return Err(format!("a socket's name begins with / or @; {FORM}")),
            (_, true) => None,
        };
        match kind {
            Some(_) if local.len() > LONGEST_SOCKET => {
                Err(format!("no socket has a name of more than {LONGEST_SOCKET} bytes"))
            }
            Some(Self::Abstract) if local == "@" => Err(format!("the name is empty; {FORM}")),
            Some(kind) => Ok(kind),
            None => Self::read_ip(text).map_err(|what| format!("{what}; {FORM}")),
        }
    }

    fn read_ip(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("a URL is no address".to_owned());
        }
        let (host, port) = text.rsplit_once(':').ok_or("there is no port")?;
        if host.contains(':') && !host.starts_with('[') {
            return Err("an IPv6 address stands in brackets".to_owned());
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(1..) if digits => {}
            _ => return Err(format!("{port:?} is no port from 1 to 65535")),
        }
        if let Some(rest) = host.strip_prefix('[') {
            let inner = rest.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            let inner = inner.ok_or_else(|| format!("{host:?} is no IPv6 address in brackets"))?;
            return Ok(Self::Ip(inner.into()));
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        match is_host_name(host) {
            true => Ok(Self::Name(host.to_ascii_lowercase())),
            false => Err(format!("{host:?} is neither an address nor the name of a host")),
        }
    }

    fn is_own(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name == "localhost",
            Self::Path | Self::Abstract => true,
        }
    }
}

/// Letters, digits and hyphens between dots (RFC 1123), and not all of it numbers.
fn is_host_name(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        let edge = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !edge && label.bytes().all(plain)
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    let numeric = labels.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    labels.len() <= 253 && !numeric && labels.split('.').all(label)
}
