//! The private socket speaks plain D-Bus: to busctl, to Python, to a flood.

use crate::private;
use fetchml_tests::Output;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

const ROOT: &str = "/org/fetchml/FetchML1";

fn tool(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    Output::of(format!("{program} {arguments:?}"), &output)
}

#[test]
fn busctl_introspects_and_calls() {
    let private = private!();
    private.shell("true").ok();
    let address = format!("--address=unix:path={}", private.socket().display());
    let (name, path) = ("org.fetchml.FetchML1", ROOT);
    let seen = tool("busctl", &[&address, "introspect", name, path]);
    for member in [
        ".SubmitJob",
        ".ListJobs",
        ".CancelJob",
        ".WaitJob",
        ".JobRemoved",
        ".Version",
        ".OpenSegments",
    ] {
        assert!(seen.ok().contains(member), "{member}: {seen}");
    }
    let manager = "org.fetchml.FetchML1.Manager";
    let described =
        tool("busctl", &[&address, "call", name, path, manager, "DescribeJob", "t", "1"]);
    assert!(described.ok().contains("succeeded"), "{described}");
    let missing =
        tool("busctl", &[&address, "call", name, path, manager, "DescribeJob", "t", "99"]);
    assert_ne!(missing.status, 0);
    assert!(missing.says("99"), "{missing}");
}

#[test]
fn busctl_works_while_jobs_come_and_go() {
    let private = private!();
    private.ctl(["submit", "--", "sleep", "1000"]).ok();
    while !private.ctl(["list"]).says("running") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let address = format!("--address=unix:path={}", private.socket().display());
    for _ in 0..20 {
        // Its announcement must not reach a client before the answer to Hello.
        private.ctl(["submit", "--", "true"]).ok();
        let job = format!("{ROOT}/job/1");
        let seen = tool("busctl", &[&address, "introspect", "org.fetchml.FetchML1", &job]);
        assert!(seen.ok().contains("\"running\""), "{seen}");
    }
    private.ctl(["cancel", "1"]).expect(0);
}

#[test]
fn a_python_client_submits_and_waits() {
    let private = private!();
    private.shell("true").ok();
    let script = format!(
        "import dbus, dbus.connection, os, json\n\
         bus = dbus.connection.Connection('unix:path={}')\n\
         manager = dbus.Interface(bus.get_object(None, '/org/fetchml/FetchML1'), 'org.fetchml.FetchML1.Manager')\n\
         manager.DescribeHost()\n\
         fd = os.open('{}', os.O_RDONLY | os.O_DIRECTORY)\n\
         number, path = manager.SubmitJob({{'command': dbus.Array(['sh', '-c', 'exit 8'], signature='s')}}, \
         dbus.Array([('/work', 'project', 'here', dbus.types.UnixFd(fd))], signature='(sssh)'))\n\
         print(json.loads(manager.WaitJob(number))['report']['status'])\n\
         try: manager.SubmitJob({{'comand': 'x'}}, dbus.Array([], signature='(sssh)'))\n\
         except dbus.DBusException as e: print(e.get_dbus_name(), e.get_dbus_message())",
        private.socket().display(),
        private.project().display(),
    );
    let output = tool("/usr/bin/python3", &["-c", &script]);
    let mut lines = output.ok().lines();
    assert_eq!(lines.next(), Some("8"), "{output}");
    let refusal = lines.next().unwrap();
    assert!(refusal.contains("InvalidSpec") && refusal.contains("comand"), "{output}");
}

#[test]
fn half_open_handshakes_do_not_keep_others_out() {
    let private = private!();
    private.shell("true").ok();
    let silent: Vec<_> =
        (0..300).filter_map(|_| UnixStream::connect(private.socket()).ok()).collect();
    assert!(silent.len() >= 250, "{}", silent.len());
    // The supervisor drops what it does not allow at once, and the rest after its
    // time limit; an honest client gets through in the meantime or soon after.
    let honest = (0..100).any(|_| {
        let output = private.ctl(["list"]);
        if output.status != 0 {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        output.status == 0
    });
    assert!(honest);
    let mut closed = silent.last().unwrap();
    let _ = closed.write_all(b"\0");
    let mut rest = Vec::new();
    assert!(closed.read_to_end(&mut rest).is_ok() || rest.is_empty());
}

#[test]
fn a_strangers_claim_to_be_root_is_not_believed() {
    let private = private!();
    private.shell("true").ok();
    // The directory keeps others out already; give the socket away to see that
    // the kernel's word about the peer is what counts.
    for path in [private.dir(), private.dir().join("run"), private.dir().parent().unwrap().into()] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    std::fs::set_permissions(private.socket(), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .unwrap();
    let script = format!(
        "import os, socket\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
         s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('{}')\n\
         try:\n  s.sendall(b'\\0AUTH EXTERNAL 30\\r\\n'); print(s.recv(100))\nexcept OSError as e: print('closed', e)",
        private.socket().display()
    );
    let output = tool("/usr/bin/python3", &["-c", &script]);
    assert!(!output.ok().contains("OK "), "{output}");
    // The stranger is turned away before that is on the disk.
    let recorded = |_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        private.audit_lines().iter().any(|l| l.contains("\"denied\"") && l.contains("65534"))
    };
    assert!((0..500).any(recorded), "the attempt is on record");
}
