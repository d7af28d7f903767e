//! Exports: some records in one file, which the public key alone proves.

use super::machine::Machine;
use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{AnchorLine, Excerpt, Head, Kind};
use std::process::Command;

fn export(machine: &Machine, range: (u64, u64), anchors: &[AnchorLine]) -> Vec<u8> {
    let notes = machine.files.all_notes();
    let mut excerpt = Excerpt::new(range, &notes, Tree::new(), anchors).unwrap();
    let mut records = Vec::new();
    for n in 0..machine.files.lines().len() {
        let line = machine.files.line(n);
        let head = Head::of_line(&line[..line.len() - 1]).unwrap();
        if excerpt.see(head.seq, head.hash) {
            records.extend(line);
        }
    }
    [excerpt.header().unwrap().into_bytes(), records].concat()
}

fn verify(bytes: &[u8], arguments: &[String]) -> (String, i32) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export.audit");
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fetchml-audit-verify"))
        .args(arguments)
        .arg(&path)
        .env_clear()
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.code().unwrap())
}

fn machine() -> (Machine, AnchorLine) {
    let mut machine = Machine::new(3);
    machine.work(11);
    let early = machine.note(Kind::Demand);
    machine.rotate();
    machine.work(9);
    machine.stop();
    machine.reboot();
    machine.begin_again();
    machine.work(13);
    machine.rotate();
    machine.work(5);
    machine.note(Kind::Demand);
    (machine, early)
}

#[test]
fn any_range_proves_itself_with_the_public_key() {
    let (machine, _) = machine();
    let key = vec!["--key".to_owned(), machine.public().to_string()];
    let end = machine.head().seq;
    for range in [(1, end), (1, 1), (end, end), (7, 7), (5, 20), (13, 14), (2, end - 1), (8, 33)] {
        let bytes = export(&machine, range, &[]);
        let (said, status) = verify(&bytes, &key);
        assert!(status == 0 && said.contains("intact"), "{range:?}: {status} {said}");
        let (said, status) = verify(&bytes, &[]);
        assert_eq!(status, 2, "without a key nobody vouches: {said}");
        let other = Machine::new(99).public();
        let (said, status) = verify(&bytes, &["--key".to_owned(), other.to_string()]);
        assert!(status == 1 && said.contains("nobody vouches"), "{said}");
    }
}

#[test]
fn an_export_that_was_changed_is_found() {
    let (machine, _) = machine();
    let key = vec!["--key".to_owned(), machine.public().to_string()];
    let bytes = export(&machine, (7, 20), &[]);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let records = text.find("\nrecords\n").unwrap() + 9;
    let mut changes: Vec<Vec<u8>> = vec![
        text.replacen("job/20", "job/21", 1).into_bytes(),
        text.replacen("job/7\"", "job/1\"", 1).into_bytes(),
        text.replacen("first 7\n", "first 6\n", 1).into_bytes(),
        text.replacen("last 20\n", "last 19\n", 1).into_bytes(),
        bytes[..bytes.len() - 1].to_vec(),
        [&bytes[..], b"x\n"].concat(),
    ];
    let lines: Vec<_> = text[records..].split_inclusive('\n').collect();
    changes.push([&text[..records], &lines[1..].concat()].concat().into_bytes());
    changes.push([&text[..records], &lines[..lines.len() - 1].concat()].concat().into_bytes());
    // A bit in each of many places.
    for at in (0..bytes.len()).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        changes.push(flipped);
    }
    for (which, change) in changes.iter().enumerate() {
        let (said, status) = verify(change, &key);
        assert!(matches!(status, 1 | 3), "change {which}: {status} {said}");
    }
}

#[test]
fn an_anchor_outside_an_export_needs_its_proof() {
    let (machine, early) = machine();
    let arguments = [
        "--key".to_owned(),
        machine.public().to_string(),
        "--anchor".to_owned(),
        early.to_string(),
    ];
    let (said, status) = verify(&export(&machine, (20, 25), &[early]), &arguments);
    assert_eq!(status, 0, "{said}");
    let (said, status) = verify(&export(&machine, (20, 25), &[]), &arguments);
    assert!(status == 2 && said.contains("export with --anchor"), "{said}");
    let (said, status) = verify(&export(&machine, (5, 25), &[]), &arguments);
    assert_eq!(status, 0, "an anchor inside is compared with the records: {said}");
    let mut false_one = early;
    false_one.root.0[0] ^= 1;
    for range in [(20, 25), (5, 25)] {
        let mut arguments = arguments.clone();
        arguments[3] = false_one.to_string();
        let (said, status) = verify(&export(&machine, range, &[early]), &arguments);
        assert!(status == 1 && said.contains("rewritten"), "{range:?}: {status} {said}");
    }
}
