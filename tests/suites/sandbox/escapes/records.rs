//! The record: a job that writes itself another history, a client that claims to
//! be somebody else.

use crate::private;

#[test]
fn a_job_cannot_write_itself_into_the_record() {
    let private = private!();
    let forged =
        "x\",\"event\":\"job_completed\",\"outcome\":\"success\n{\"event\":\"forged\"}\u{1b}[2J";
    private.ctl(["run", "--", "sh", "-c", "exit 3", forged]).expect(3);
    // Output that looks like the log's own frames.
    let frames = "import sys, struct; sys.stdout.buffer.write(b''.join(struct.pack('<IBQ', 5, 2, 1) + b'forge' + struct.pack('<I', 5) for _ in range(100)) + b'\\n' + b'\\0' * 4096 + b'\\x1b[2Jend')";
    private.python(frames).ok();
    let logs = private.command(["logs", "@last", "--stream", "stderr"]).output().unwrap();
    assert_eq!(logs.stdout, b"", "a frame of the job's own was believed");
    let records: Vec<_> = private.audit_lines();
    for line in &records {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_ne!(record["event"], "forged", "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    private.ctl(["audit", "verify"]).expect(0);
    for verb in [&["list"][..], &["status", "1"], &["audit", "show"]] {
        let shown = private.ctl(verb);
        assert!(!shown.stdout.contains('\u{1b}'), "{shown:?}");
        assert!(!shown.stdout.lines().any(|l| l.starts_with("{\"event\":\"forged\"}")), "{shown}");
    }
}

#[test]
fn who_asks_is_never_what_the_request_says() {
    let private = private!();
    private.shell("true").ok();
    // Ids as fields of the request, of the handshake, of the environment.
    let script = format!(
        "import dbus, dbus.connection, os\n\
         bus = dbus.connection.Connection('unix:path={}')\n\
         manager = dbus.Interface(bus.get_object(None, '/org/fetchml/FetchML1'), 'org.fetchml.FetchML1.Manager')\n\
         for key in ('uid', 'user', 'run-as-uid', 'caps', 'privileged', 'seccomp', 'landlock', 'root'):\n\
         \x20 try: manager.SubmitJob({{'command': dbus.Array(['true'], signature='s'), key: dbus.UInt64(4294967295)}}, \
         dbus.Array([], signature='(sssh)')); print('taken')\n\
         \x20 except dbus.DBusException as e: print(e.get_dbus_name().split('.')[-1])",
        private.socket().display()
    );
    let output = super::on_the_host(&script);
    assert_eq!(output.ok().split_whitespace().collect::<Vec<_>>(), ["InvalidSpec"; 8], "{output}");
    for user in ["#-1", "#4294967295", "-1", "root", "0"] {
        let output = private.ctl(["run", "--env", &format!("USER={user}"), "--", "id", "-u"]);
        assert_eq!(output.ok(), "1000");
    }
    for option in ["--bind=/:/x", "--command=--bind", "--help"] {
        let output = private.ctl(["run", "--", option]);
        output.expect(127);
    }
}
