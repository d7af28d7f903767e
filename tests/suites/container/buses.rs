//! Other programs than ours, on both kinds of address.

use crate::support::in_project;
use fetchml_tests::Container;

const SOCKET: &str = "--address=unix:path=/run/fetchml/bus.sock";
const OBJECT: &str = "org.fetchml.FetchML1 /org/fetchml/FetchML1";

pub(crate) fn the_bus_is_introspected_and_called_by_hand(c: &Container) {
    // No supervisor is there: the bus starts it.
    c.run("root", &["systemctl", "stop", "fetchmld.service"]).ok();
    check_with_busctl(c, "--system");
    let tree = c.sh("alice", "busctl --system --list tree org.fetchml.FetchML1");
    assert!(tree.ok().lines().any(|path| path == "/org/fetchml/FetchML1"), "{tree}");
    let unknown = c.sh(
        "alice",
        &format!("busctl --system call {OBJECT} org.fetchml.FetchML1.Manager DescribeJob t 4711"),
    );
    assert_ne!(unknown.status, 0);
    assert!(unknown.says("4711"), "{unknown}");
}

pub(crate) fn the_socket_serves_the_group_without_a_bus(c: &Container) {
    check_with_busctl(c, SOCKET);
    let refused = c.sh("mallory", &format!("busctl {SOCKET} introspect {OBJECT}"));
    assert_ne!(refused.status, 0, "{refused}");
    // The bus may go, as long as the supervisor does not have to start again.
    c.without_bus("root", "systemctl stop dbus.socket dbus.service").ok();
    let run = "mkdir -p project && cd project && fetchmlctl run -- echo without a bus";
    let ran = c.without_bus("alice", run);
    c.without_bus("root", "systemctl start dbus.socket").ok();
    assert_eq!(ran.ok(), "without a bus");
}

fn check_with_busctl(c: &Container, address: &str) {
    let introspected = c.sh("alice", &format!("busctl {address} introspect {OBJECT}"));
    for member in ["SubmitJob", "WaitJob", "OpenLog", "JobStateChanged", "Version", "Head"] {
        assert!(introspected.ok().contains(member), "{member} is missing: {introspected}");
    }
    let version = c.sh(
        "alice",
        &format!("busctl {address} get-property {OBJECT} org.fetchml.FetchML1.Manager Version"),
    );
    assert_eq!(version.ok(), format!("s \"{}\"", env!("CARGO_PKG_VERSION")));
    let submitted = c.sh("alice", &format!(
        "busctl {address} call {OBJECT} org.fetchml.FetchML1.Manager SubmitJob 'a{{sv}}a(sssh)' \
         2 command as 2 echo hello name s greeting 0"
    ));
    let job = submitted.ok().split(' ').nth(1).expect("a number").to_owned();
    let waited = c.sh("alice", &format!(
        "busctl {address} --timeout=60 call {OBJECT} org.fetchml.FetchML1.Manager WaitJob t {job}"
    ));
    assert!(waited.ok().contains("succeeded"), "{waited}");
    assert_eq!(c.sh("alice", &format!("fetchmlctl logs {job}")).ok(), "hello");
}

pub(crate) fn a_python_client_runs_a_job_on_the_bus(c: &Container) {
    let documentation = std::fs::read_to_string(fetchml_tests::repository().join("docs/dbus.md"))
        .expect("the documentation is there");
    // The example that people copy is the one that is tested.
    let example = documentation
        .split_once("```python\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("the documentation has an example in Python")
        .0;
    c.write("/usr/local/share/client.py", example.as_bytes());
    c.sh("alice", "mkdir -p ~/project && echo text > ~/project/marker").ok();
    let by_bus = in_project(c, "alice", "python3 /usr/local/share/client.py");
    assert!(by_bus.ok().contains("marker"), "{by_bus}");
    let by_socket =
        in_project(c, "alice", "python3 /usr/local/share/client.py /run/fetchml/bus.sock");
    assert!(by_socket.ok().contains("marker"), "{by_socket}");
}
