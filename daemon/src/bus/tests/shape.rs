//! What is served is what the contract says, to any D-Bus client.

use super::*;
use fetchml_api::names::{JOB_INTERFACE, ROOT_PATH};

/// Signatures as `proxy.rs` has them: a breaking change needs a new name.
const MANAGER: &[(&str, &str, &str)] = &[
    ("SubmitJob", "a{sv}a(sssh)", "to"),
    ("SubmitArray", "a{sv}a(sssh)", "tt"),
    ("CancelArray", "t", "t"),
    ("DescribeArray", "t", "s"),
    ("SetPriority", "ati", "a{t(ss)}"),
    ("HoldJobs", "at", "a{t(ss)}"),
    ("ReleaseJobs", "at", "a{t(ss)}"),
    ("ListDead", "a{sv}", "s"),
    ("RequeueDead", "at", "a{t(ss)}"),
    ("DropDead", "at", "a{t(ss)}"),
    ("ListAttempts", "t", "s"),
    ("DescribeQueue", "", "s"),
    ("BackUp", "", "h"),
    ("Drain", "b", ""),
    ("Shutdown", "b", ""),
    ("ListJobs", "a{sv}", "a(tussssto)"),
    ("DescribeJobs", "a{sv}", "s"),
    ("DescribeJob", "t", "s"),
    ("GetJob", "t", "o"),
    ("WaitJob", "t", "s"),
    ("CancelJob", "t", ""),
    ("OpenLog", "t", "h"),
    ("OpenAttemptLog", "tu", "h"),
    ("OpenOutputs", "t", "h"),
    ("OpenWork", "t", "h"),
    ("ListProfiles", "", "s"),
    ("GetProfile", "s", "s"),
    ("ExplainProfile", "sss", "s"),
    ("DiffProfiles", "ss", "s"),
    ("DescribeHost", "", "s"),
];
const JOB: &[(&str, &str, &str)] =
    &[("Describe", "", "s"), ("Cancel", "", ""), ("OpenLog", "", "h")];
const AUDIT: &[(&str, &str, &str)] = &[
    ("OpenSegments", "", "a(sh)"),
    ("OpenFiles", "s", "a(sh)"),
    ("Head", "", "ts"),
    ("Checkpoint", "", "s"),
    ("PublicKeys", "", "as"),
    ("ReportVerification", "ys", ""),
];

pub(super) async fn introspect(client: &Connection, path: &str) -> String {
    let reply = client
        .call_method(
            None::<&str>,
            path,
            Some("org.freedesktop.DBus.Introspectable"),
            "Introspect",
            &(),
        )
        .await
        .expect("introspection");
    reply.body().deserialize().expect("XML")
}

/// Argument types of a method in introspection XML, inward and outward.
fn signature(xml: &str, interface: &str, method: &str) -> Option<(String, String)> {
    let from = |text: &str, mark: &str| text.split_once(mark).map(|(_, rest)| rest.to_owned());
    let interface = from(xml, &format!("<interface name=\"{interface}\">"))?;
    let (interface, _) = interface.split_once("</interface>")?;
    let method = from(interface, &format!("<method name=\"{method}\">"))?;
    let (method, _) = method.split_once("</method>")?;
    let types = |direction: &str| {
        let arguments =
            method.split("<arg").filter(|arg| arg.contains(&format!("direction=\"{direction}\"")));
        arguments.filter_map(|arg| arg.split_once("type=\"")?.1.split('"').next()).collect()
    };
    Some((types("in"), types("out")))
}

fn check(xml: &str, interface: &str, methods: &[(&str, &str, &str)]) {
    for (method, inward, outward) in methods {
        let found = signature(xml, interface, method);
        let expected = ((*inward).to_owned(), (*outward).to_owned());
        assert_eq!(found, Some(expected), "{interface}.{method}");
    }
}

#[tokio::test]
async fn introspection_tells_the_contract() {
    let world = World::new(1).await;
    let client = world.client(1000).await;
    let manager = ManagerProxy::new(&client).await.expect("proxy");
    let (_, path) = manager.submit_job(command(&["sleep"]), vec![]).await.expect("accepted");
    let xml = introspect(&client, ROOT_PATH).await;
    check(&xml, "org.fetchml.FetchML1.Manager", MANAGER);
    check(&xml, "org.fetchml.FetchML1.Audit", AUDIT);
    for signal in ["JobNew", "JobStateChanged", "JobRemoved"] {
        assert!(xml.contains(&format!("<signal name=\"{signal}\">")), "{signal}");
    }
    check(&introspect(&client, path.as_str()).await, JOB_INTERFACE, JOB);
}

#[tokio::test]
async fn tools_that_expect_a_bus_daemon_are_satisfied() {
    let world = World::new(1).await;
    let client = world.client(1000).await;
    let bus = zbus::fdo::DBusProxy::new(&client).await.expect("proxy");
    assert!(bus.hello().await.expect("Hello").as_str().starts_with(':'));
    let name = "org.fetchml.FetchML1".try_into().expect("a name");
    assert_eq!(bus.get_name_owner(name).await.expect("owner").as_str(), ":1.0");
    let names = bus.list_names().await.expect("names");
    assert!(names.iter().any(|name| name.as_str() == "org.fetchml.FetchML1"));
}
