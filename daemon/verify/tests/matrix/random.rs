//! Many logs, many changes: each is found; and no honest log is accused.

use super::machine::{Dice, Files, Machine};
use fetchml_api::audit::{AnchorLine, Kind, Known, Note, Report, Role, SigningKey, Verdict};

/// So many of each.
const ROUNDS: u64 = 10_000;

fn history(seed: u64) -> Machine {
    let mut machine = Machine::new(seed);
    let steps = 4 + machine.dice.below(14);
    machine.live(steps);
    machine
}

#[test]
fn no_honest_history_is_accused() {
    for seed in 0..ROUNDS {
        let mut machine = history(seed);
        let crashed = machine.crash();
        let left = crashed.judge(machine.known());
        assert!(!is_damaged(&left), "seed {seed}, after a crash: {}", left.verdict);
        machine.recover();
        let anchor = machine.note(Kind::Demand);
        machine.work(2);
        machine.stop();
        let known = Known { anchors: vec![anchor], ..machine.known() };
        let report = machine.files.judge(known);
        assert_eq!(report.verdict, Verdict::Intact, "seed {seed}");
        assert_eq!(report.signed, Some(machine.head().seq), "seed {seed}");
        let without_key = Known { heads: vec![machine.head()], ..Known::default() };
        let report = machine.files.judge(without_key);
        assert_eq!(report.verdict, Verdict::Intact, "seed {seed}, by chain and head");
    }
}

fn is_damaged(report: &Report) -> bool {
    matches!(report.verdict, Verdict::Tampered(_) | Verdict::Unreadable(_))
}

/// Something of which the bytes are others afterwards; how it is called.
fn tamper(machine: &mut Machine, dice: &mut Dice, spare: &Files) -> &'static str {
    let files = &mut machine.files;
    let lines = files.lines().len();
    let some = |dice: &mut Dice| dice.below(lines);
    match dice.below(12) {
        0 | 1 => {
            let (segments, notes) = (files.segments.len(), files.notes.len());
            let of_notes = dice.below(3) == 0;
            let bytes = if of_notes {
                &mut files.notes[dice.below(notes)].1
            } else {
                &mut files.segments[dice.below(segments)].1
            };
            if bytes.is_empty() {
                bytes.push(b'x');
                return "a byte where none was";
            }
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
            "a bit"
        }
        2 => {
            let n = some(dice);
            files.set_line(n, b"");
            "a deletion"
        }
        3 => {
            let (n, other) = (some(dice), some(dice));
            let (line, at) = (files.line(other), files.line(n));
            files.set_line(n, &[at, line].concat());
            "an insertion of one of the log"
        }
        4 => {
            let n = some(dice);
            let others = spare.lines().len();
            let line = spare.line(dice.below(others));
            let at = files.line(n);
            files.set_line(n, &[line, at].concat());
            "an insertion of one of another log"
        }
        5 if lines > 1 => {
            let n = dice.below(lines - 1);
            let (one, other) = (files.line(n), files.line(n + 1));
            files.set_line(n, &other);
            files.set_line(n + 1, &one);
            "a swap"
        }
        6 => {
            let n = some(dice);
            for at in (n..lines).rev() {
                files.set_line(at, b"");
            }
            "a truncation"
        }
        7 => {
            let n = some(dice);
            let others = spare.lines().len();
            for (step, at) in (n..lines).enumerate() {
                files.set_line(at, &spare.line((n + step) % others));
            }
            "a splice"
        }
        8 | 9 => forge(machine, dice),
        10 => {
            let place = dice.below(files.notes.len());
            let text = String::from_utf8(files.notes[place].1.clone()).unwrap();
            let notes = fetchml_api::audit::split_notes(&text).0;
            if notes.is_empty() {
                files.notes[place].1.extend(b"x");
                return "a byte where none was";
            }
            let gone = dice.below(notes.len());
            files.notes[place].1 =
                [&notes[..gone], &notes[gone + 1..]].concat().concat().into_bytes();
            "a checkpoint deleted"
        }
        _ => {
            let n = some(dice);
            let mut line = files.line(n);
            let at = dice.below(line.len());
            line.truncate(at);
            files.set_line(n, &line);
            "the end of a line"
        }
    }
}

/// A checkpoint of another content or by another key.
fn forge(machine: &mut Machine, dice: &mut Dice) -> &'static str {
    let place = dice.below(machine.files.notes.len());
    let text = String::from_utf8(machine.files.notes[place].1.clone()).unwrap();
    let mut notes: Vec<String> =
        fetchml_api::audit::split_notes(&text).0.into_iter().map(str::to_owned).collect();
    if notes.is_empty() {
        machine.files.notes[place].1.extend(b"x");
        return "a byte where none was";
    }
    let which = dice.below(notes.len());
    let mut checkpoint = Note::read(&notes[which]).unwrap().checkpoint;
    match dice.below(4) {
        0 => checkpoint.root.0[3] ^= 1,
        1 => checkpoint.head.0[3] ^= 1,
        2 => checkpoint.size += 1,
        _ => checkpoint.time_usec += 1,
    }
    let seed = dice.seed();
    let role = if checkpoint.next.is_some() && checkpoint.sealed.is_none() {
        Role::Log
    } else {
        Role::Session
    };
    notes[which] = checkpoint.sign(&SigningKey::from_seed(role, &seed)).text().to_owned();
    machine.files.notes[place].1 = notes.concat().into_bytes();
    "a forged checkpoint"
}

#[test]
fn every_change_is_found_and_named() {
    let spare = {
        let mut spare = Machine::new(1 << 40);
        spare.live(40);
        spare.files
    };
    let mut named = std::collections::BTreeMap::<_, usize>::new();
    for seed in 0..ROUNDS {
        let mut machine = history(seed);
        machine.work(1);
        let anchor: AnchorLine = machine.note(Kind::Demand);
        machine.stop();
        // What was written at all, pruned records included.
        let whole = machine.files.clone();
        let end = machine.head().seq;
        let mut dice = Dice::new(seed ^ 0x5eed);
        let how = tamper(&mut machine, &mut dice, &spare);
        if machine.files == whole {
            continue;
        }
        let report = machine.files.judge(Known { anchors: vec![anchor], ..machine.known() });
        match &report.verdict {
            Verdict::Tampered(finding) => {
                assert!((1..=end + 2).contains(&finding.seq), "seed {seed}, {how}: {finding:?}");
                assert!(!finding.words.is_empty());
            }
            // Of the closing checkpoint alone: then the log is not closed, and says so.
            Verdict::Incomplete(_) => {
                let records = machine.files.segments == whole.segments;
                let last = &whole.notes.last().unwrap().1;
                let now = &machine.files.notes.last().unwrap().1;
                let only_the_end = records && now.len() < last.len() && last.starts_with(now);
                assert!(
                    only_the_end || unseen(&machine.files, &whole, anchor.size),
                    "seed {seed}, {how}: {}",
                    report.verdict
                );
            }
            other => panic!("seed {seed}, {how}: {other}"),
        }
        *named.entry(how).or_default() += 1;
    }
    assert!(named.values().all(|count| *count > 50), "{named:?}");
}

/// Only bytes after the last newline of the log, which is what a crash leaves.
fn unseen(now: &Files, before: &Files, covered: u64) -> bool {
    let _ = covered;
    now.segments[..now.segments.len() - 1] == before.segments[..before.segments.len() - 1]
        && now.segments.last().unwrap().1.starts_with(&before.segments.last().unwrap().1)
        && !now.segments.last().unwrap().1.ends_with(b"\n")
}
