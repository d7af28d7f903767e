//! The journal copy against a socket that stands in for journald.

use super::*;
use fetchml_api::audit::Outcome;
use std::os::unix::net::UnixDatagram;

const JOURNAL_SCENE: &str = "FETCHML_TEST_AUDIT_JOURNAL";

/// Runs one of the `child_with_…` tests where `/run` is its own, so that it can
/// be the journal of that world.
fn in_a_world_with_its_own_journal(test: &str) {
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && exec \"$@\"";
    let run = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("audit::tests::journal::{test}"), "--nocapture"])
        .env(JOURNAL_SCENE, "1")
        .output();
    match run {
        Ok(output) if output.status.success() => {}
        Ok(output) if !rustix::process::geteuid().is_root() => {
            eprintln!("skipped: needs root: {}", output.status)
        }
        Ok(output) => {
            panic!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        }
        Err(error) => eprintln!("skipped: cannot run unshare: {error}"),
    }
}

fn journal_socket() -> Option<UnixDatagram> {
    std::env::var_os(JOURNAL_SCENE)?;
    Some(UnixDatagram::bind("/run/systemd/journal/socket").unwrap())
}

/// Name and value of each field of a message in the journal's native protocol.
fn fields(mut message: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some(end) = message.iter().position(|b| matches!(b, b'=' | b'\n')) {
        let name = String::from_utf8(message[..end].to_vec()).unwrap();
        let (value, rest) = if message[end] == b'=' {
            let stop = message.iter().position(|b| *b == b'\n').unwrap();
            (&message[end + 1..stop], &message[stop + 1..])
        } else {
            let (length, rest) = message[end + 1..].split_first_chunk::<8>().unwrap();
            let (value, rest) =
                rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            (value, &rest[1..])
        };
        fields.push((name, String::from_utf8(value.to_vec()).unwrap()));
        message = rest;
    }
    fields
}

fn receive(socket: &UnixDatagram) -> Vec<(String, String)> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        if length > 0 {
            return fields(&buffer[..length]);
        }
    }
}

fn value<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[test]
fn child_with_a_journal() {
    let Some(socket) = journal_socket() else { return };
    let scene = Scene::new();
    let (audit, report) = Audit::open(&scene.dir, &scene.with_journal()).unwrap();
    assert_eq!(report.journal, JournalCopy::Connected { dropped: 0 });
    assert_eq!(value(&receive(&socket), "FETCHML_EVENT"), Some("log_opened"));
    let new = record(12).result(Outcome::Denied).detail("text", "a\nb");
    let receipt = runtime().block_on(audit.append(new)).unwrap();
    let got = receive(&socket);
    let line = scene
        .bytes()
        .split(|b| *b == b'\n')
        .nth(1)
        .map(|line| String::from_utf8(line.to_vec()).unwrap());
    let expected = [
        ("MESSAGE", "job_started: start job/12 by (uid 1000): denied"),
        ("MESSAGE_ID", Event::JobStarted.message_id()),
        ("FETCHML_SEQ", "2"),
        ("FETCHML_HASH", &receipt.hash.to_string()),
        ("FETCHML_EVENT", "job_started"),
        ("FETCHML_ACTOR_UID", "1000"),
        ("FETCHML_JOB", "12"),
        ("FETCHML_RESULT", "denied"),
        ("FETCHML_RECORD", &line.unwrap()),
        ("SYSLOG_FACILITY", "10"),
        ("SYSLOG_IDENTIFIER", "fetchmld"),
        ("PRIORITY", "4"),
    ];
    for (name, expected) in expected {
        assert_eq!(value(&got, name), Some(expected), "{name}");
    }
    assert_eq!(value(&got, "FETCHML_DROPPED"), None);
}

#[test]
fn child_with_a_stuck_journal() {
    let Some(socket) = journal_socket() else { return };
    let scene = Scene::new();
    let (audit, _) = Audit::open(&scene.dir, &scene.with_journal()).unwrap();
    // More than the socket and our own queue hold: none of these may wait.
    let appended = 2_000;
    let work = (0..appended).map(|n| audit.append(record(n)));
    runtime().block_on(futures_util::future::try_join_all(work)).unwrap();
    let JournalCopy::Connected { dropped } = audit.journal() else {
        panic!("{:?}", audit.journal())
    };
    assert!(dropped > 0);
    let reader = std::thread::spawn(move || {
        let mut told = 0;
        loop {
            let got = receive(&socket);
            told += value(&got, "FETCHML_DROPPED").map_or(0, |n| n.parse::<u64>().unwrap());
            if value(&got, "FETCHML_EVENT") == Some("daemon_stopped") {
                return told;
            }
        }
    });
    let patience = Instant::now() + Duration::from_secs(20);
    // The queue empties while it is read, so that the last word fits again.
    while !reader.is_finished() && Instant::now() < patience {
        let last = NewRecord::new(Event::DaemonStopped, Actor::uid(0), "stop", "daemon");
        runtime().block_on(audit.append(last)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(reader.join().unwrap() >= dropped, "a later copy says how many are missing");
    assert_eq!(verdict(&audit), Verdict::Intact);
}

#[test]
fn the_journal_gets_a_copy_of_each_record() {
    in_a_world_with_its_own_journal("child_with_a_journal");
}

#[test]
fn a_stuck_journal_delays_nothing_and_what_it_missed_is_counted() {
    in_a_world_with_its_own_journal("child_with_a_stuck_journal");
}

#[test]
fn child_without_a_journal() {
    if std::env::var_os(JOURNAL_SCENE).is_none() {
        return;
    }
    let scene = Scene::new();
    let (audit, report) = Audit::open(&scene.dir, &scene.with_journal()).unwrap();
    assert!(matches!(report.journal, JournalCopy::Absent(_)), "{:?}", report.journal);
    append(&audit, 1).unwrap();
}

#[test]
fn an_absent_journal_is_said_and_does_no_harm() {
    in_a_world_with_its_own_journal("child_without_a_journal");
}
