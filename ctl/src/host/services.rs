//! What is asked of services over the system bus: systemd, polkit. Asking
//! starts nothing.

use crate::connect::Target;
use fetchml_api::host::{Finding, Group};
use std::path::Path;
use std::time::Duration;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Proxy};

/// A bus that accepts and says nothing is given up after this.
const LIMIT: Duration = Duration::from_secs(3);
const SYSTEMD: &str = "org.freedesktop.systemd1";
const POLKIT: &str = "org.freedesktop.PolicyKit1";
const ACTIONS: &str = "/usr/share/polkit-1/actions/org.fetchml.policy";
/// The oldest one that the units were tried with.
const OLDEST_SYSTEMD: u32 = 252;
const UNITS: [&str; 3] = ["fetchmld.service", "fetchmld.socket", "fetchml-jobs.service"];

/// Everything the bus can tell; a private supervisor needs none of it.
pub(super) async fn findings(target: &Target) -> Vec<Finding> {
    let private = matches!(target, Target::Private(_));
    let bus = match tokio::time::timeout(LIMIT, Connection::system()).await {
        Ok(Ok(bus)) => bus,
        _ => return vec![no_bus(private)],
    };
    let mut findings = vec![Finding::ok(Group::System, "system-bus", "answers")];
    let asked = tokio::time::timeout(LIMIT, async {
        let names = names(&bus).await;
        let version = if names.iter().any(|n| n == SYSTEMD) { version(&bus).await } else { None };
        let mut units = Vec::new();
        if version.is_some() {
            for unit in UNITS {
                units.push((unit, unit_state(&bus, unit).await));
            }
        }
        (names, version, units)
    });
    let Ok((names, version, units)) = asked.await else {
        findings.push(Finding::unknown(Group::System, "systemd", "does not answer on the bus"));
        return findings;
    };
    findings.push(systemd(version.as_deref(), private));
    findings.extend(units.iter().map(|(unit, state)| unit_finding(unit, state, private)));
    findings.push(polkit(names.iter().any(|n| n == POLKIT), Path::new(ACTIONS).exists(), private));
    findings
}

fn no_bus(private: bool) -> Finding {
    let finding = Finding::missing(Group::System, "system-bus", "no answer on the system bus");
    if private {
        return Finding { state: fetchml_api::host::FindingState::Absent, ..finding };
    }
    finding
        .so("the system service is reached only by its own socket, and nobody can be asked for a password")
        .fix("start dbus, or use fetchmlctl --private as root")
}

/// Names that are owned or could be.
async fn names(bus: &Connection) -> Vec<String> {
    let Ok(proxy) = zbus::fdo::DBusProxy::new(bus).await else { return Vec::new() };
    let mut names = Vec::new();
    if let Ok(owned) = proxy.list_names().await {
        names.extend(owned.iter().map(ToString::to_string));
    }
    if let Ok(activatable) = proxy.list_activatable_names().await {
        names.extend(activatable.iter().map(ToString::to_string));
    }
    names
}

async fn manager(bus: &Connection) -> zbus::Result<Proxy<'_>> {
    systemd_object(bus, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager").await
}

async fn systemd_object<'c>(
    bus: &'c Connection,
    path: &str,
    interface: &'static str,
) -> zbus::Result<Proxy<'c>> {
    zbus::proxy::Builder::new(bus)
        .destination(SYSTEMD)
        .path(path.to_owned())
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn version(bus: &Connection) -> Option<String> {
    manager(bus).await.ok()?.get_property("Version").await.ok()
}

/// `LoadState` and `ActiveState` of a unit.
async fn unit_state(bus: &Connection, unit: &str) -> Option<(String, String)> {
    let path: OwnedObjectPath = manager(bus).await.ok()?.call("LoadUnit", &(unit,)).await.ok()?;
    let unit = systemd_object(bus, path.as_str(), "org.freedesktop.systemd1.Unit").await.ok()?;
    Some((unit.get_property("LoadState").await.ok()?, unit.get_property("ActiveState").await.ok()?))
}

fn systemd(version: Option<&str>, private: bool) -> Finding {
    const NAME: &str = "systemd";
    let Some(version) = version else {
        let finding = Finding::absent(Group::System, NAME, "not running");
        if private {
            return finding;
        }
        return finding.so("there is no system service").fix("use fetchmlctl --private as root");
    };
    let number = version.split(|c: char| !c.is_ascii_digit()).find(|w| !w.is_empty());
    if number.and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= OLDEST_SYSTEMD) {
        return Finding::ok(Group::System, NAME, format!("version {version}"));
    }
    Finding::partial(Group::System, NAME, format!("version {version}"))
        .so(format!("the units were tried with {OLDEST_SYSTEMD} and newer"))
        .fix("use Debian 12 or newer")
}

fn unit_finding(unit: &str, state: &Option<(String, String)>, private: bool) -> Finding {
    let Some((load, active)) = state else {
        return Finding::unknown(Group::System, unit, "systemd does not say");
    };
    let detail = if load == "loaded" { active.clone() } else { load.clone() };
    match (load.as_str(), active.as_str()) {
        ("loaded", "active") => Finding::ok(Group::System, unit, detail),
        _ if private => Finding::absent(Group::System, unit, detail),
        ("loaded", "failed") => Finding::missing(Group::System, unit, detail)
            .so("the system service is not whole")
            .fix(format!("journalctl -u {unit}, then systemctl restart {unit}")),
        ("loaded", _) => Finding::partial(Group::System, unit, detail)
            .so("it is started when it is needed, or not at all")
            .fix(format!("systemctl enable --now {unit}")),
        _ => Finding::absent(Group::System, unit, detail)
            .so("there is no system service")
            .fix("install the package fetchml, or use fetchmlctl --private as root"),
    }
}

fn polkit(there: bool, actions: bool, private: bool) -> Finding {
    const NAME: &str = "polkit";
    let finding = match (there, actions) {
        (true, true) => return Finding::ok(Group::System, NAME, "knows the actions of FetchML"),
        (true, false) => Finding::partial(Group::System, NAME, format!("there is no {ACTIONS}"))
            .fix("install the package fetchml"),
        (false, _) => Finding::missing(Group::System, NAME, "not on the bus")
            .fix("install the package polkitd"),
    };
    if private {
        return Finding { state: fetchml_api::host::FindingState::Absent, remedy: None, ..finding };
    }
    finding.so(
        "root and the group fetchml may use the service; nobody else can be asked for a password",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Missing, Ok as Fine, Partial, Unknown};

    fn state(load: &str, active: &str) -> Option<(String, String)> {
        Some((load.to_owned(), active.to_owned()))
    }

    #[test]
    fn units_are_judged_by_what_systemd_says() {
        let of = |load, active| unit_finding("x.service", &state(load, active), false);
        assert_eq!(of("loaded", "active").state, Fine);
        assert_eq!(of("not-found", "inactive").state, Absent);
        assert_eq!(of("loaded", "inactive").state, Partial);
        let failed = of("loaded", "failed");
        assert_eq!(failed.state, Missing);
        assert!(failed.remedy.is_some_and(|r| r.contains("journalctl -u x.service")));
        assert_eq!(unit_finding("x.service", &None, false).state, Unknown);
        assert_eq!(unit_finding("x.service", &state("loaded", "failed"), true).state, Absent);
    }

    #[test]
    fn services_that_a_private_supervisor_does_not_need_are_no_fault() {
        assert_eq!(no_bus(false).state, Missing);
        assert_eq!(no_bus(true).state, Absent);
        assert_eq!(polkit(false, false, true).state, Absent);
        assert_eq!(polkit(false, false, false).state, Missing);
        assert_eq!(polkit(true, true, false).state, Fine);
        assert_eq!(systemd(None, true).state, Absent);
        assert_eq!(systemd(Some("252.39-1~deb12u2"), false).state, Fine);
        assert_eq!(systemd(Some("247"), false).state, Partial);
    }
}
