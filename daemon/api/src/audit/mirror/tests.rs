#![allow(clippy::unwrap_used)]

use super::super::{Actor, Chain, NewRecord, Origin, Stamp, Verifier};
use super::*;
use crate::audit::{Anchor, Event};
use std::io::Cursor;

const BOOT: Id128 = Id128([7; 16]);
const SECOND: u64 = 1_000_000;
const NOW: u64 = 1_000 * SECOND;

/// A log of records that were written a second apart, from second 1 on.
fn log(log_id: u8, records: u64) -> Vec<Vec<u8>> {
    let origin = Origin { log_id: Id128([log_id; 16]), host: "here".into(), boot_id: BOOT };
    let mut chain = Chain::begin(origin);
    let line = |n: u64| {
        let new = NewRecord::new(Event::JobStarted, Actor::uid(1000), "start", &format!("job/{n}"));
        let stamp = Stamp { time_usec: n * SECOND, boottime_usec: n * SECOND };
        let mut line = Vec::new();
        chain.append(&new, stamp, &mut line);
        line.pop();
        line
    };
    (1..=records).map(line).collect()
}

type Fields = Vec<(&'static str, Vec<u8>)>;

/// What the supervisor sends, and journald adds.
fn copy(line: &[u8]) -> Fields {
    let (record, head) = (Record::parse(line).unwrap(), Head::of_line(line).unwrap());
    vec![
        ("__REALTIME_TIMESTAMP", record.time_usec.to_string().into_bytes()),
        ("_BOOT_ID", BOOT.to_string().into_bytes()),
        ("_TRANSPORT", b"journal".to_vec()),
        ("_UID", b"0".to_vec()),
        ("_PID", b"77".to_vec()),
        ("_SYSTEMD_UNIT", UNIT.into()),
        ("_EXE", b"/usr/sbin/fetchmld".to_vec()),
        ("_COMM", b"fetchmld".to_vec()),
        ("MESSAGE_ID", record.kind().unwrap().message_id().into()),
        ("FETCHML_SEQ", head.seq.to_string().into_bytes()),
        ("FETCHML_HASH", head.hash.to_string().into_bytes()),
        ("FETCHML_EVENT", record.event.as_bytes().to_vec()),
        ("FETCHML_RECORD", line.to_vec()),
    ]
}

fn with(mut fields: Fields, name: &'static str, value: &str) -> Fields {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value.into()));
    fields
}

fn without(mut fields: Fields, names: &[&str]) -> Fields {
    fields.retain(|(name, _)| !names.contains(name));
    fields
}

/// As `journalctl --output=export` writes it: every other field with its length.
fn export(entries: &[Fields]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fields in entries {
        for (place, (name, value)) in fields.iter().enumerate() {
            bytes.extend_from_slice(name.as_bytes());
            if place % 2 == 0 {
                bytes.push(b'=');
            } else {
                bytes.push(b'\n');
                bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            }
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
    }
    bytes
}

fn compare_from(begin_usec: u64, journal: &[Fields], log: &[Vec<u8>]) -> Comparison {
    let mut mirror = Mirror::new(begin_usec, NOW);
    let mut stream = Cursor::new(export(journal));
    while let Some(entry) = Entry::read(&mut stream).unwrap() {
        mirror.take(&entry);
    }
    let whole: Vec<u8> = log.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
    for piece in whole.chunks(97) {
        mirror.feed(piece);
    }
    mirror.finish()
}

fn compare(journal: &[Fields], log: &[Vec<u8>]) -> Comparison {
    compare_from(0, journal, log)
}

fn copies(log: &[Vec<u8>]) -> Vec<Fields> {
    log.iter().rev().map(|line| copy(line)).collect()
}

fn damage(comparison: &Comparison) -> Option<(Damage, u64)> {
    comparison.finding.as_ref().map(|finding| (finding.damage, finding.seq))
}

#[test]
fn an_honest_copy_agrees() {
    let log = log(1, 20);
    let found = compare(&copies(&log), &log);
    assert_eq!((found.copied, found.missing_records(), found.imitations), (20, 0, 0));
    assert_eq!(found.finding, None);
}

#[test]
fn what_is_missing_is_named_with_why() {
    let log = log(1, 20);
    let mut journal: Vec<Fields> = copies(&log);
    // Newest first: entry 0 is record 20. Records 3, 8 to 10 and 15 are missing.
    journal.retain(|fields| {
        let line = &fields.iter().find(|(name, _)| *name == "FETCHML_RECORD").unwrap().1;
        !matches!(Record::parse(line).unwrap().seq, 3 | 8..=10 | 15)
    });
    let after_the_second_gap = journal.len() - 7;
    let next = &mut journal[after_the_second_gap];
    assert_eq!(next[9].1, b"11");
    next.push(("FETCHML_DROPPED", b"3".to_vec()));
    journal.push(vec![
        ("__REALTIME_TIMESTAMP", (16 * SECOND - 1).to_string().into_bytes()),
        ("_TRANSPORT", b"driver".to_vec()),
        ("MESSAGE_ID", b"a596d6fe7bfa4994828e72309e95d61e".to_vec()),
        ("MESSAGE", b"Suppressed 1 messages from fetchmld.service".to_vec()),
        ("N_DROPPED", b"1".to_vec()),
    ]);
    let found = compare(&journal, &log);
    let told: Vec<_> = found.missing.iter().map(|run| (run.first, run.last, run.why)).collect();
    let expected = [(3, 3, Lost::Unexplained), (8, 10, Lost::NotTaken), (15, 15, Lost::RateLimit)];
    assert_eq!(told, expected);
    assert_eq!((found.copied, found.finding), (15, None));
}

#[test]
fn a_forged_notice_of_a_rate_limit_explains_nothing() {
    let log = log(1, 5);
    let mut journal = copies(&log[..3]);
    journal.push(vec![
        ("__REALTIME_TIMESTAMP", (4 * SECOND).to_string().into_bytes()),
        ("_TRANSPORT", b"journal".to_vec()),
        ("MESSAGE_ID", b"a596d6fe7bfa4994828e72309e95d61e".to_vec()),
        ("MESSAGE", b"Suppressed 2 messages from fetchmld.service".to_vec()),
    ]);
    assert_eq!(compare(&journal, &log).missing[0].why, Lost::Unexplained);
    let last = journal.len() - 1;
    journal[last][1].1 = b"driver".to_vec();
    assert_eq!(compare(&journal, &log).missing[0].why, Lost::RateLimit);
}

#[test]
fn what_the_journal_forgot_and_what_is_on_its_way_is_not_missed() {
    let mut log = log(1, 10);
    let found = compare_from(5 * SECOND, &copies(&log[4..]), &log);
    assert_eq!((found.forgotten, found.missing_records(), found.copied), (4, 0, 6));
    // Written while the journal was read.
    let origin = Origin { log_id: Id128([1; 16]), host: "here".into(), boot_id: BOOT };
    let mut chain = Chain::resume(origin, Head::of_line(&log[9]).unwrap());
    let mut line = Vec::new();
    let new = NewRecord::new(Event::AuditRead, Actor::uid(0), "read", "audit");
    chain.append(&new, Stamp { time_usec: NOW - 1, boottime_usec: 1 }, &mut line);
    line.pop();
    let journal = copies(&log);
    log.push(line);
    assert_eq!(compare(&journal, &log).missing_records(), 0);
}

#[test]
fn what_the_log_lost_is_named() {
    let log = log(1, 20);
    let found = compare(&copies(&log), &log[..12]);
    assert_eq!(damage(&found), Some((Damage::Truncated, 13)));
    let words = found.finding.unwrap().words;
    assert!(words.contains("ends at record 12") && words.contains("record 20"), "{words}");
    // Everything: only the head is known.
    let mut mirror = Mirror::new(0, NOW);
    let mut stream = Cursor::new(export(&copies(&log)));
    while let Some(entry) = Entry::read(&mut stream).unwrap() {
        mirror.take(&entry);
    }
    mirror.expect(Id128([1; 16]), Head { seq: 0, hash: Hash([0; 32]) });
    assert_eq!(damage(&mirror.finish()), Some((Damage::Truncated, 1)));
}

#[test]
fn a_log_that_was_pruned_is_not_cut() {
    let log = log(1, 20);
    let found = compare(&copies(&log), &log[5..]);
    assert_eq!((damage(&found), found.copied), (None, 15));
}

#[test]
fn a_rewritten_log_does_not_agree() {
    let honest = log(1, 8);
    let origin = Origin { log_id: Id128([1; 16]), host: "here".into(), boot_id: BOOT };
    let mut chain = Chain::resume(origin, Head::of_line(&honest[4]).unwrap());
    let mut forged = honest[..5].to_vec();
    for n in 6..=8u64 {
        let new = NewRecord::new(Event::JobStarted, Actor::uid(0), "start", "job/other");
        let mut line = Vec::new();
        chain.append(&new, Stamp { time_usec: n * SECOND, boottime_usec: n * SECOND }, &mut line);
        line.pop();
        forged.push(line);
    }
    let found = compare(&copies(&honest), &forged);
    assert_eq!(damage(&found), Some((Damage::Rewritten, 6)));
}

#[test]
fn a_copy_that_was_changed_in_the_journal_is_named() {
    let log = log(1, 5);
    let harms: [fn(Fields) -> Fields; 4] = [
        |fields| with(fields, "FETCHML_HASH", &"0".repeat(64)),
        |fields| with(fields, "FETCHML_SEQ", "4"),
        |fields| without(fields, &["FETCHML_RECORD"]),
        |mut fields| {
            fields.push(("FETCHML_EVENT", b"log_opened".to_vec()));
            fields
        },
    ];
    for harm in harms {
        let mut journal = copies(&log);
        journal[2] = harm(journal[2].clone());
        let found = compare(&journal, &log);
        assert_eq!(damage(&found).map(|(damage, _)| damage), Some(Damage::Changed));
        assert_eq!((found.copied, found.missing_records()), (4, 1));
    }
}

#[test]
fn who_wrote_it_decides_and_not_what_it_says() {
    let log = log(1, 5);
    let strange: [(&'static str, &str); 5] = [
        ("_UID", "1000"),
        ("_TRANSPORT", "syslog"),
        ("_SYSTEMD_UNIT", "session-3.scope"),
        ("_EXE", "/usr/bin/logger"),
        ("_COMM", "python3"),
    ];
    for (name, value) in strange {
        let mut journal = copies(&log);
        // An exact imitation of what is there, and one of what is not.
        let imitation = with(copy(&log[4]), name, value);
        journal.push(imitation);
        let found = compare(&journal, &log);
        let words = found.imitators.first().map(|one| one.words.as_str()).unwrap_or_default();
        assert!(words.contains(&format!("{name}={value}")), "{name}: {words}");
        assert_eq!((found.copied, damage(&found)), (5, None));
        // What it imitates is missing all the same.
        let journal = [vec![with(copy(&log[4]), name, value)], copies(&log[..4])].concat();
        assert_eq!(compare(&journal, &log).missing_records(), 1, "{name}");
    }
    // Only the words, and by whom journald knows nothing of.
    for name in ["_UID", "_TRANSPORT"] {
        let journal = [vec![without(copy(&log[4]), &[name])], copies(&log)].concat();
        assert_eq!(compare(&journal, &log).imitations, 1, "{name}");
    }
    let told = vec![
        ("_UID", b"1000".to_vec()),
        ("_TRANSPORT", b"syslog".to_vec()),
        ("MESSAGE", b"job_completed: complete job/7 by root (uid 0): success".to_vec()),
    ];
    assert_eq!(compare(&[told], &log).imitations, 1);
}

#[test]
fn a_forged_record_beyond_the_end_is_no_truncation() {
    let long = log(1, 9);
    let mut journal = copies(&long[..5]);
    journal.push(with(copy(&long[8]), "_UID", "1000"));
    // By root, who was gone before journald looked: it may be anybody.
    journal.push(without(copy(&long[7]), &["_SYSTEMD_UNIT", "_EXE", "_COMM"]));
    // The supervisor writes no records of another boot.
    journal.push(with(copy(&long[6]), "_BOOT_ID", &"0".repeat(32)));
    let found = compare(&journal, &long[..5]);
    assert_eq!((damage(&found), found.imitations), (None, 3));
    let mut report = Verifier::new(Anchor::None).finish();
    report.verdict = Verdict::Intact;
    found.add_to(&mut report);
    assert_eq!(report.verdict, Verdict::Intact, "no user can make it look tampered with");
    assert_eq!(report.remarks.len(), 3);
}

#[test]
fn the_last_word_of_a_process_that_was_gone_counts_by_what_it_says() {
    let log = log(1, 5);
    let mut journal = copies(&log);
    journal[0] = without(journal[0].clone(), &["_SYSTEMD_UNIT", "_EXE", "_COMM"]);
    journal[1] = with(journal[1].clone(), "_BOOT_ID", &"0".repeat(32));
    let found = compare(&journal, &log);
    assert_eq!((found.copied, found.imitations), (5, 0));
}

#[test]
fn a_copy_that_was_sent_again_is_counted_as_one() {
    let log = log(1, 5);
    let mut again = with(copy(&log[2]), "_BOOT_ID", &"9".repeat(32));
    again.push(("FETCHML_REPLAYED", b"1".to_vec()));
    let journal = [vec![again], copies(&log[..2]), copies(&log[3..])].concat();
    let found = compare(&journal, &log);
    assert_eq!((found.copied, found.replayed, found.missing_records()), (5, 1, 0));
}

#[test]
fn copies_of_another_log_are_counted_apart() {
    let (ours, theirs) = (log(1, 5), log(2, 30));
    let found = compare(&[copies(&theirs), copies(&ours)].concat(), &ours);
    assert_eq!((found.copied, found.other_logs, damage(&found)), (5, 30, None));
}

#[test]
fn verdicts_follow_the_contract() {
    let log = log(1, 6);
    let verdict = |journal: &[Fields], log: &[Vec<u8>], before: Verdict| {
        let mut report = Verifier::new(Anchor::None).finish();
        report.verdict = before;
        compare(journal, log).add_to(&mut report);
        report.verdict.exit_code()
    };
    assert_eq!(verdict(&copies(&log), &log, Verdict::Intact), 0);
    assert_eq!(verdict(&copies(&log[..5]), &log, Verdict::Intact), 2);
    assert_eq!(verdict(&copies(&log), &log[..5], Verdict::Intact), 1);
    let unanchored = Verdict::Incomplete(Gap::Unanchored);
    assert_eq!(verdict(&copies(&log), &log[..5], unanchored), 1);
}

#[test]
fn foreign_bytes_are_read_within_bounds() {
    let name_only = b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\x7fshort".to_vec();
    assert!(Entry::read(&mut Cursor::new(name_only)).is_err());
    let endless = [b"FETCHML_RECORD=".to_vec(), vec![b'x'; 1 << 20], b"\n\n".to_vec()].concat();
    let entry = Entry::read(&mut Cursor::new(endless)).unwrap();
    assert!(entry.is_none_or(|entry| !entry.claims_a_record()));
    assert!(Entry::read(&mut Cursor::new(b"A\n\x01\0\0\0\0\0\0\0xy".to_vec())).is_err());
}
