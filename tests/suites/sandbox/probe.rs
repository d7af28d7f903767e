//! The conformance probe (`tests/probe`) as a job under every profile that comes
//! with the product, and what the host sees of such a job.

use crate::private;
use crate::resources::Nodes;
use fetchml_tests::{Private, repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// A probe that ends early, or looks at a part only, has not passed.
const FEWEST_CHECKS: u64 = 2_500;
const FEWEST_OF_A_GROUP: u64 = 20;

#[test]
fn the_probe_finds_nothing_under_default() {
    passes(&private!(), "default", "none");
}

#[test]
fn the_probe_finds_nothing_under_default_with_a_loopback() {
    passes(&private!(), "default", "loopback");
}

#[test]
fn the_probe_finds_nothing_under_strict() {
    passes(&private!(), "strict", "none");
}

#[test]
fn the_probe_finds_nothing_under_gpu() {
    passes(&private!(), "gpu", "loopback");
}

/// CUDA must be able to write to /proc: nothing else is open for it.
#[test]
fn the_probe_finds_nothing_beside_a_card() {
    if crate::start().is_none() {
        return;
    }
    let nodes = Nodes::make(&["nvidia201", "nvidiactl"]);
    passes_with(&private!(), "gpu", "none", &["--gpus", "1"]);
    drop(nodes);
}

#[test]
fn the_probe_finds_nothing_under_notebook() {
    passes(&private!(), "notebook", "loopback");
}

#[test]
fn the_probe_finds_nothing_under_debug() {
    passes(&private!(), "debug", "none");
}

/// A profile that comes with the product and has no test above would go unproved.
#[test]
fn every_profile_is_probed() {
    let library = fetchml_policies::Library::load::<&Path>(&[]).expect("they are sound");
    let mut names: Vec<_> = library.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["debug", "default", "gpu", "notebook", "strict"]);
}

/// Runs the probe as a job and insists that every check holds.
fn passes(private: &Private, profile: &str, network: &str) {
    passes_with(private, profile, network, &[]);
}

fn passes_with(private: &Private, profile: &str, network: &str, options: &[&str]) {
    let host = Host::new(private);
    copy(&repository().join("tests/probe"), &private.project().join("tests/probe"));
    let before = tree(&private.project());
    let facts = format!("PROBE_HOST={}", host.facts);
    let output = private.ctl(
        ["run", "--profile", profile, "--network", network, "--env", &facts]
            .iter()
            .chain(options)
            .chain(&[
                "--",
                "/usr/bin/python3",
                "tests/probe/probe.py",
                "--profile",
                profile,
                "--network",
                network,
            ]),
    );
    let lines: Vec<Value> =
        output.stdout.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let failed: Vec<_> = lines.iter().filter(|l| l["ok"] == false).map(Value::to_string).collect();
    assert!(failed.is_empty(), "{profile}, {network}:\n{}", failed.join("\n"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let summary = lines.iter().find(|l| l["summary"] == true).expect("it came to its end");
    assert!(summary["total"].as_u64() >= Some(FEWEST_CHECKS), "{summary}");
    let groups = summary["groups"].as_object().expect("groups are counted");
    assert!(groups.len() >= 16, "{summary}");
    for (group, checks) in groups {
        assert!(checks.as_u64() >= Some(FEWEST_OF_A_GROUP), "{group}: {summary}");
    }
    assert_eq!(before, tree(&private.project()), "the project is as it was");
    host.is_as_it_was(private);
}

/// What the probe is told of the host, so that it can look for it, and what of
/// the host must be the same afterwards.
struct Host {
    facts: Value,
    devices: BTreeMap<&'static str, (u32, i64)>,
    // Held so that there is something to reach.
    _listener: TcpListener,
    _abstract: UnixListener,
    secret: PathBuf,
}

const SECRET: &str = "of the host alone";

impl Host {
    fn new(private: &Private) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the host");
        let own = private.project();
        let own = own.parent().and_then(Path::file_name).expect("it has a name");
        let name = own.to_str().expect("it is of our making").to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let abstract_socket = UnixListener::bind_addr(&address).expect("it can be bound");
        let secret = private.dir().with_file_name("secret");
        fs::write(&secret, SECRET).expect("it can be written");
        let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
        let namespaces: BTreeMap<_, _> = kinds
            .into_iter()
            .map(|k| (k, fs::read_link(format!("/proc/self/ns/{k}")).expect("it has a name")))
            .collect();
        let facts = json!({
            "namespaces": namespaces,
            "hostname": fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim(),
            "submitter": rustix::process::geteuid().as_raw(),
            "port": listener.local_addr().expect("it is bound").port(),
            "addresses": own_address(),
            "abstract": [name],
            "secrets": [secret, private.socket(), private.audit_segment()],
            "pids": [std::process::id()],
        });
        let devices = devices();
        Self { facts, devices, _listener: listener, _abstract: abstract_socket, secret }
    }

    fn is_as_it_was(&self, private: &Private) {
        assert_eq!(fs::read_to_string(&self.secret).expect("it is there"), SECRET);
        assert_eq!(self.devices, devices(), "modes and times of the host's devices");
        assert!(!Path::new("/tmp/probe-written").exists());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it can be read");
        let home = private.project();
        let home = home.parent().and_then(Path::to_str).expect("it has a name");
        assert!(!mounts.contains(home), "no mount of a job reaches the host: {mounts}");
        let outputs = private.dir().join("state/users");
        for (path, file) in walk(&outputs) {
            if path.components().any(|c| c.as_os_str() == "outputs") {
                assert_eq!(file.uid(), rustix::process::geteuid().as_raw(), "{}", path.display());
                assert_eq!(file.mode() & 0o6000, 0, "set-id bits: {}", path.display());
            }
        }
        let results: Vec<_> =
            walk(&outputs).into_iter().filter(|(p, _)| p.ends_with("probe.json")).collect();
        assert_eq!(results.len(), 1, "the probe's own result is among the outputs");
    }
}

/// An address of this machine that is not its loopback, if it has one.
fn own_address() -> Vec<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: the kernel chooses the address it would send from.
    let chosen = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    chosen.map(|a| a.ip().to_string()).into_iter().collect()
}

fn devices() -> BTreeMap<&'static str, (u32, i64)> {
    ["null", "zero", "full", "random", "urandom"]
        .into_iter()
        .map(|name| {
            let node = fs::metadata(format!("/dev/{name}")).expect("it is there");
            (name, (node.mode(), node.mtime()))
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for (path, file) in walk(from) {
        let target = to.join(path.strip_prefix(from).expect("it is below"));
        if file.is_dir() {
            fs::create_dir_all(target).expect("it can be made");
        } else {
            fs::copy(&path, target).expect("it can be copied");
        }
    }
}

/// Names and content of everything below a directory.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walk(root)
        .into_iter()
        .filter(|(_, file)| file.is_file())
        .map(|(path, _)| (path.clone(), fs::read(&path).expect("it can be read")))
        .collect()
}

/// Everything below a directory, directories before what is in them.
fn walk(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("it can be read").flatten() {
            let file = fs::symlink_metadata(entry.path()).expect("it is there");
            if file.is_dir() {
                open.push(entry.path());
            }
            found.push((entry.path(), file));
        }
    }
    found
}
