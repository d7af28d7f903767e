//! The tamper matrix, row by row: what is done to a log, what the verifier that
//! stands alone must say, and its exit status.

use super::machine::{Files, Machine, TIME};
use fetchml_api::audit::{Chain, Event, Kind, Known, Note, Origin, Role, SigningKey, Stamp};
use std::process::Command;

/// Three segments, two starts, closed.
fn honest() -> Machine {
    let mut machine = Machine::new(7);
    for _ in 0..2 {
        machine.work(5);
        machine.note(Kind::Interval);
        machine.work(5);
        machine.rotate();
    }
    machine.work(4);
    machine.stop();
    machine.reboot();
    machine.begin_again();
    machine.work(4);
    machine.note(Kind::Interval);
    machine.work(3);
    machine.stop();
    machine
}

/// Runs the program; what it said and its status.
fn program(files: &Files, arguments: &[String]) -> (String, i32) {
    let dir = tempfile::tempdir().unwrap();
    files.write_to(dir.path());
    let output = Command::new(env!("CARGO_BIN_EXE_fetchml-audit-verify"))
        .args(arguments)
        .arg(dir.path())
        .env_clear()
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code().unwrap())
}

struct Row {
    /// Its number, and what is done.
    what: &'static str,
    change: fn(&mut Machine),
    /// Exit status and words without an anchor.
    alone: (i32, &'static str),
    /// The same with an anchor from before the change.
    anchored: (i32, &'static str),
}

const fn row(
    what: &'static str,
    change: fn(&mut Machine),
    alone: (i32, &'static str),
    anchored: (i32, &'static str),
) -> Row {
    Row { what, change, alone, anchored }
}

fn edit(machine: &mut Machine, line: usize, from: &str, to: &str) {
    let text = String::from_utf8(machine.files.line(line)).unwrap();
    assert!(text.contains(from), "{text} has no {from}");
    machine.files.set_line(line, text.replacen(from, to, 1).as_bytes());
}

fn edit_notes(machine: &mut Machine, from: &str, to: &str) {
    let notes = &mut machine.files.notes.first_mut().unwrap().1;
    let text = String::from_utf8(notes.clone()).unwrap();
    assert!(text.contains(from), "{text} has no {from}");
    *notes = text.replacen(from, to, 1).into_bytes();
}

/// Rewrites everything from line `k` on with links that hold. Checkpoints stay.
fn rewrite(machine: &mut Machine, k: usize) {
    let lines = machine.files.lines();
    let before = machine.files.line(k - 1);
    let head = fetchml_api::audit::Head::of_line(&before[..before.len() - 1]).unwrap();
    let origin = Origin {
        log_id: machine.log_id,
        host: "node".into(),
        boot_id: machine.chain.origin().boot_id,
    };
    let mut chain = Chain::resume(origin, head);
    for n in k..lines.len() {
        let new = fetchml_api::audit::NewRecord::new(
            Event::JobStarted,
            fetchml_api::audit::Actor::uid(0),
            "start",
            "job/forged",
        );
        let mut line = Vec::new();
        let time_usec = TIME + n as u64;
        chain.append(&new, Stamp { time_usec, boottime_usec: 1_000_000 + n as u64 }, &mut line);
        machine.files.set_line(n, &line);
    }
}

/// Makes checkpoints anew for what is there, signed with the key of the last session
/// where it can be, as its thief would.
fn sign_again_from(machine: &mut Machine, segment: usize) {
    let stolen = &machine.session;
    let mut tree = fetchml_api::audit::merkle::Tree::new();
    let mut heads = vec![(tree.root(), machine.head())];
    for n in 0..machine.files.lines().len() {
        let line = machine.files.line(n);
        let head = fetchml_api::audit::Head::of_line(&line[..line.len() - 1]).unwrap();
        tree.push(head.hash);
        heads.push((tree.root(), head));
    }
    let mut link = None;
    for (place, (_, bytes)) in machine.files.notes.iter_mut().enumerate() {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let notes: Vec<Note> = fetchml_api::audit::split_notes(&text)
            .0
            .iter()
            .map(|n| Note::read(n).unwrap())
            .collect();
        let mut made = String::new();
        for note in notes {
            let by_session = note.signer() == Role::Session && note.is_by(&stolen.public());
            let again = if place >= segment && by_session {
                let mut checkpoint = note.checkpoint.clone();
                let (root, head) = heads[usize::try_from(checkpoint.size).unwrap()];
                (checkpoint.root, checkpoint.head) = (root, head.hash);
                if let Some(link) = link {
                    checkpoint.previous = link;
                }
                checkpoint.sign(stolen)
            } else {
                note
            };
            link = Some(again.hash());
            made.push_str(again.text());
        }
        *bytes = made.into_bytes();
    }
}

const TAMPERED: i32 = 1;
const INCOMPLETE: i32 = 2;

const ROWS: &[Row] = &[
    row(
        "1 a bit of the payload",
        |m| edit(m, 8, "job/9", "job/8"),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "2 a bit of the number",
        |m| edit(m, 8, "\"seq\":9", "\"seq\":8"),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "3 a bit of the link",
        |m| {
            let text = String::from_utf8(m.files.line(8)).unwrap();
            let at = text.find("\"prev\":\"").unwrap() + 8;
            let digit = text.as_bytes()[at] ^ 1;
            let mut line = text.into_bytes();
            line[at] = digit;
            m.files.set_line(8, &line);
        },
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "4 a bit of the stored hash",
        |m| {
            let head = m.files.all_notes()[1].checkpoint.head.to_string();
            let flipped = head.replacen(&head[..1], if &head[..1] == "0" { "1" } else { "0" }, 1);
            edit_notes(m, &head, &flipped);
        },
        (TAMPERED, "checkpoint 2 in 000000000001.notes"),
        (TAMPERED, "checkpoint 2"),
    ),
    row(
        "5 a record deleted",
        |m| m.files.set_line(8, b""),
        (TAMPERED, "record 9 is missing"),
        (TAMPERED, "record 9 is missing"),
    ),
    row(
        "6 a record twice",
        |m| {
            let line = m.files.line(8);
            m.files.set_line(8, &[line.clone(), line].concat());
        },
        (TAMPERED, "line 10 was inserted"),
        (TAMPERED, "line 10 was inserted"),
    ),
    row(
        "7 two swapped",
        |m| {
            let (one, other) = (m.files.line(8), m.files.line(9));
            m.files.set_line(8, &other);
            m.files.set_line(9, &one);
        },
        (TAMPERED, "re-ordered"),
        (TAMPERED, "re-ordered"),
    ),
    row(
        "8 one inserted",
        |m| {
            let line = m.files.line(3);
            let after = m.files.line(8);
            m.files.set_line(8, &[after, line].concat());
        },
        (TAMPERED, "line 10 was inserted"),
        (TAMPERED, "line 10 was inserted"),
    ),
    row(
        "9 rewritten from a record on, chain holds",
        |m| rewrite(m, 8),
        (TAMPERED, "rewritten"),
        (TAMPERED, "rewritten"),
    ),
    row(
        "10 the same, without checkpoints",
        |m| {
            rewrite(m, 8);
            m.files.notes.clear();
        },
        (INCOMPLETE, "there is no checkpoint"),
        (TAMPERED, "the anchor"),
    ),
    row(
        "11 the same in the last session, signed with its stolen key",
        |m| {
            let last = m.files.lines().len();
            rewrite(m, last - 4);
            sign_again_from(m, 0);
        },
        (0, "intact"),
        (TAMPERED, "the anchor"),
    ),
    row(
        "11 the same in an older segment",
        |m| {
            rewrite(m, 8);
            sign_again_from(m, 0);
        },
        (TAMPERED, "rewritten"),
        (TAMPERED, "rewritten"),
    ),
    row(
        "12 cut after the last checkpoint",
        |m| {
            m.work(6);
            let last = m.files.lines().len();
            m.files.set_line(last - 1, b"");
        },
        (INCOMPLETE, "no checkpoint covers them"),
        (INCOMPLETE, "no checkpoint covers them"),
    ),
    row(
        "12 cut before it, with the checkpoints",
        |m| {
            for _ in 0..3 {
                let last = m.files.lines().len();
                m.files.set_line(last - 1, b"");
            }
            let notes = m.files.notes.last_mut().unwrap();
            let text = String::from_utf8(notes.1.clone()).unwrap();
            let kept = fetchml_api::audit::split_notes(&text).0;
            notes.1 = kept[..kept.len() - 1].concat().into_bytes();
        },
        (INCOMPLETE, "incomplete"),
        (TAMPERED, "the log ends at record"),
    ),
    row(
        "12 cut before it, without them",
        |m| {
            for _ in 0..3 {
                let last = m.files.lines().len();
                m.files.set_line(last - 1, b"");
            }
        },
        (TAMPERED, "the log ends at record"),
        (TAMPERED, "the log ends at record"),
    ),
    row(
        "13 without the newest segment",
        |m| {
            m.files.segments.pop();
            m.files.notes.pop();
        },
        (INCOMPLETE, "the next one, which is missing"),
        (TAMPERED, "the log ends at record"),
    ),
    row(
        "13 without a middle one",
        |m| {
            m.files.segments.remove(1);
            m.files.notes.remove(1);
        },
        (TAMPERED, "are missing"),
        (TAMPERED, "are missing"),
    ),
    row(
        "13 without the oldest one",
        |m| {
            m.files.segments.remove(0);
        },
        (TAMPERED, "no record says that they were pruned"),
        (TAMPERED, "no record says"),
    ),
    row(
        "13 pruned",
        |m| {
            m.begin_again();
            m.prune(1);
            m.stop();
        },
        (0, "intact"),
        (0, "intact"),
    ),
    row(
        "14 a segment of another log",
        |m| {
            let other = other_log();
            m.files.segments[1] = other.files.segments[1].clone();
        },
        (TAMPERED, "another log"),
        (TAMPERED, "another log"),
    ),
    row(
        "14 all of another log, and its key unknown",
        |m| {
            m.files = other_log().files;
        },
        (TAMPERED, "nobody vouches for"),
        (TAMPERED, ""),
    ),
    row(
        "15 an older copy of everything",
        |m| {
            m.files = honest().files;
            // Closed in an orderly way, as it was then.
            let mut older = Machine::new(7);
            older.work(5);
            older.stop();
            m.files = older.files;
        },
        (0, "intact"),
        (TAMPERED, "the log ends at record"),
    ),
    row(
        "19 the clock set back by an hour",
        |m| {
            m.begin_again();
            m.time -= 3_600_000_000;
            m.work(2);
            m.stop();
        },
        (0, "the clock was set back by 3599 s"),
        (0, "the clock was set back"),
    ),
    row(
        "19 another boot in the middle of it",
        |m| {
            m.begin_again();
            m.reboot();
            m.work(2);
            m.stop();
        },
        (0, "booted anew without a start"),
        (0, "booted anew"),
    ),
    row(
        "21 a blank",
        |m| edit(m, 8, "{\"action\"", "{ \"action\""),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "21 another order",
        |m| edit(m, 8, "\"v\":1}", "\"v\":1,\"action\":\"start\"}"),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "21 an escape",
        |m| edit(m, 8, "\"start\"", "\"\\u0073tart\""),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "21 a key twice",
        |m| edit(m, 8, "\"v\":1}", "\"v\":1,\"v\":1}"),
        (TAMPERED, "record 9 "),
        (TAMPERED, "record 9 "),
    ),
    row(
        "22 a line without an end",
        |m| {
            let line = vec![b'x'; 40 << 20];
            m.files.segments[0].1.extend(line);
        },
        (TAMPERED, "longer than"),
        (TAMPERED, "longer than"),
    ),
    row(
        "23 the key swapped",
        |m| {
            let seed = m.dice.seed();
            let thief = SigningKey::from_seed(Role::Log, &seed);
            let honest = std::mem::replace(&mut m.key, thief);
            m.begin_again();
            m.stop();
            m.key = honest;
        },
        (TAMPERED, "nobody vouches for"),
        (TAMPERED, "nobody vouches for"),
    ),
    row(
        "23 a checkpoint by another key",
        |m| {
            let seed = m.dice.seed();
            let thief = SigningKey::from_seed(Role::Session, &seed);
            m.begin_again();
            m.session = thief;
            m.stop();
        },
        (TAMPERED, "nobody vouches for"),
        (TAMPERED, "nobody vouches for"),
    ),
    row(
        "23 another algorithm",
        |m| edit_notes(m, "next fetchml-audit-session+", "next fetchml-audit-ecdsa+"),
        (TAMPERED, "checkpoint 1 in 000000000001.notes"),
        (TAMPERED, "checkpoint 1"),
    ),
    row(
        "a checkpoint left out",
        |m| {
            let text = String::from_utf8(m.files.notes[0].1.clone()).unwrap();
            let notes = fetchml_api::audit::split_notes(&text).0;
            m.files.notes[0].1 = [&notes[..1], &notes[2..]].concat().concat().into_bytes();
        },
        (TAMPERED, "does not follow the checkpoint before it"),
        (TAMPERED, "does not follow"),
    ),
    row("nothing", |_| {}, (0, "intact"), (0, "intact")),
];

fn other_log() -> Machine {
    let mut other = Machine::new(8);
    for _ in 0..2 {
        other.work(10);
        other.rotate();
    }
    other.stop();
    other
}

#[test]
fn each_row_has_its_verdict_and_exit_status() {
    for row in ROWS {
        let mut machine = honest();
        let anchor = machine.note(Kind::Demand);
        let key = machine.public();
        // As it was before the anchor was asked for: closed.
        machine = honest();
        (row.change)(&mut machine);
        let mut arguments = vec!["--key".to_owned(), key.to_string()];
        let (said, status) = program(&machine.files, &arguments);
        assert!(
            status == row.alone.0 && said.contains(row.alone.1),
            "{}: {status} {said}",
            row.what
        );
        arguments.extend(["--anchor".to_owned(), anchor.to_string()]);
        let (said, status) = program(&machine.files, &arguments);
        let (expected, words) = row.anchored;
        assert!(
            status == expected && said.contains(words),
            "{} with anchor: {status} {said}",
            row.what
        );
    }
}

#[test]
fn links_pipes_and_absent_files_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = |path: &std::path::Path| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_fetchml-audit-verify")).arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let pipe = dir.path().join("000000000001.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(run(dir.path()).contains("is no plain file"));
    std::fs::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &pipe).unwrap();
    assert!(run(dir.path()).contains("cannot read"));
    std::fs::remove_file(&pipe).unwrap();
    assert!(run(dir.path()).contains("there is no audit log"));
    assert!(run(&dir.path().join("nothing")).contains("No such file"));
    std::fs::write(&pipe, "not a log\n").unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_fetchml-audit-verify")).arg(&pipe).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn an_anchor_of_another_log_is_said() {
    let machine = honest();
    let mut other = other_log();
    let anchor = other.note(Kind::Demand);
    let known = Known { anchors: vec![anchor], ..machine.known() };
    let report = machine.files.judge(known);
    assert_eq!(report.verdict.exit_code(), 1, "{}", report.verdict);
}
