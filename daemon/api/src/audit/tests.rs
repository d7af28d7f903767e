//! Tamperings of honest logs: each must be named, at each position.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use super::*;
use crate::job::JobId;
use proptest::prelude::*;

const LOG: Id128 = Id128([7; 16]);

fn origin(log_id: Id128) -> Origin {
    Origin { log_id, host: "node".into(), boot_id: Id128([9; 16]) }
}

fn new_record(n: u64) -> NewRecord {
    let event = Event::ALL[usize::try_from(n).unwrap() % Event::ALL.len()];
    NewRecord::new(event, Actor::uid(1000).named("alice"), "start", &format!("job/{n}"))
        .source(Source::process("bus", 1000, Some(4711)))
        .job(JobId(n))
        .detail("profile", "default")
        .detail("text", "a \"quoted\" line\nand \u{1b}[31m an ünprintable one")
}

/// The lines of an honest log of `n` records, with newlines, and its heads.
fn honest_of(log_id: Id128, n: u64) -> (Vec<Vec<u8>>, Vec<Head>) {
    let mut chain = Chain::begin(origin(log_id));
    (1..=n)
        .map(|i| {
            let mut line = Vec::new();
            let stamp =
                Stamp { time_usec: 1_763_000_000_000_000 + i, boottime_usec: 5_000_000 + i };
            let head = chain.append(&new_record(i), stamp, &mut line);
            (line, head)
        })
        .unzip()
}

fn honest(n: u64) -> (Vec<Vec<u8>>, Vec<Head>) {
    honest_of(LOG, n)
}

fn verify_bytes(bytes: &[u8], anchor: Anchor) -> Report {
    let mut verifier = Verifier::new(anchor);
    for piece in bytes.chunks(61) {
        verifier.feed(piece);
    }
    let report = verifier.finish();
    let mut whole = Verifier::new(anchor);
    whole.feed(bytes);
    assert_eq!(report, whole.finish(), "the result must not depend on how the bytes arrive");
    report
}

fn verify(lines: &[Vec<u8>], anchor: Anchor) -> Report {
    verify_bytes(&lines.concat(), anchor)
}

fn finding(lines: &[Vec<u8>], anchor: Anchor) -> Finding {
    match verify(lines, anchor).verdict {
        Verdict::Tampered(finding) => finding,
        other => panic!("not seen as tampered: {other:?}"),
    }
}

fn edited(line: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap();
    assert!(text.contains(from), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

const N: u64 = 9;

fn positions() -> impl Iterator<Item = usize> {
    0..usize::try_from(N).unwrap()
}

/// What a verifier may know about the end of the log of `heads`.
fn anchors(heads: &[Head]) -> [Anchor; 3] {
    let last = *heads.last().unwrap();
    [Anchor::None, Anchor::AtLeast(last), Anchor::Exactly(last)]
}

fn number(at: usize) -> u64 {
    u64::try_from(at).unwrap() + 1
}

#[test]
fn an_honest_log_holds_and_says_how_much_it_proves() {
    for n in 1..=N {
        let (lines, heads) = honest(n);
        let [none, at_least, exactly] = anchors(&heads);
        let report = verify(&lines, exactly);
        assert_eq!(report.verdict, Verdict::Intact);
        assert_eq!(
            (report.records, report.end, report.log_id),
            (n, heads.last().copied(), Some(LOG))
        );
        assert_eq!(verify(&lines, at_least).verdict, Verdict::Intact);
        assert_eq!(verify(&lines, none).verdict, Verdict::Incomplete(Gap::Unanchored));
        assert_eq!(
            verify(&lines, Anchor::AtLeast(heads[0])).verdict,
            Verdict::Intact,
            "a lagging head is no damage"
        );
    }
    let empty = Chain::begin(origin(LOG)).head();
    assert_eq!(verify(&[], Anchor::Exactly(empty)).verdict, Verdict::Intact);
    assert_eq!(verify(&[], Anchor::None).verdict.exit_code(), 2);
}

#[test]
fn a_changed_record_is_named_whichever_field_was_changed() {
    let (lines, heads) = honest(N);
    for k in positions() {
        let record = Record::parse(lines[k].strip_suffix(b"\n").unwrap()).unwrap();
        let other_prev = Hash([3; 32]).to_string();
        let edits = [
            (format!("job/{}", number(k)), "job/777".to_owned()),
            (format!("\"seq\":{}", number(k)), "\"seq\":4000".to_owned()),
            (format!("\"seq\":{}", number(k)), format!("\"seq\":{}", number(k) + 1)),
            (record.prev.to_string(), other_prev),
            (LOG.to_string(), Id128([8; 16]).to_string()),
            ("\"result\":\"success\"".to_owned(), "\"result\":\"denied\"".to_owned()),
        ];
        for (from, to) in edits {
            let mut bad = lines.clone();
            bad[k] = edited(&lines[k], &from, &to);
            for anchor in anchors(&heads) {
                if anchor == Anchor::None && k + 1 == lines.len() {
                    continue; // nothing witnesses the last record
                }
                let found = finding(&bad, anchor);
                assert_eq!(
                    (found.damage, found.seq),
                    (Damage::Changed, number(k)),
                    "{from} to {to}: {found}"
                );
                assert_eq!(found.line, number(k), "{found}");
            }
        }
    }
}

#[test]
fn other_spellings_of_the_same_content_are_named() {
    let (lines, heads) = honest(N);
    for k in positions() {
        let spellings = [
            edited(&lines[k], "{\"action\"", "{ \"action\""),
            edited(&lines[k], "\"start\"", "\"\\u0073tart\""),
            edited(&lines[k], "\"v\":1}", "\"v\":1} "),
            edited(&lines[k], "\"v\":1}", "\"v\":1,\"v\":1}"),
            edited(&lines[k], "\"v\":1}", "\"v\":1.0}"),
            edited(&lines[k], "\"v\":1}", "\"v\":1,\"x\":1}"),
            edited(&lines[k], "\"v\":1}", "\"v\":2}"),
            edited(&lines[k], "\"action\":\"start\",\"actor\":{", "\"actor\":{"),
            edited(&lines[k], "\n", " "),
            b"\n".to_vec(),
            vec![0xff, 0xfe, b'\n'],
            [vec![b'x'; MAX_LINE_BYTES * 3], b"\n".to_vec()].concat(),
        ];
        for spelling in spellings {
            let mut bad = lines.clone();
            bad[k] = spelling;
            for anchor in anchors(&heads) {
                if !bad[k].ends_with(b"\n") && k + 1 == lines.len() {
                    continue; // the log ends inside a line: another test
                }
                let found = finding(&bad, anchor);
                assert_eq!((found.damage, found.seq), (Damage::NotCanonical, number(k)), "{found}");
            }
        }
    }
}

#[test]
fn removed_records_are_named() {
    let (lines, heads) = honest(N);
    for k in positions() {
        for m in k + 1..=lines.len() {
            let mut bad = lines.clone();
            bad.drain(k..m);
            for anchor in anchors(&heads) {
                let at_the_end = m == lines.len();
                if anchor == Anchor::None && at_the_end {
                    assert_eq!(verify(&bad, anchor).verdict, Verdict::Incomplete(Gap::Unanchored));
                    continue;
                }
                let found = finding(&bad, anchor);
                let expected = if at_the_end { Damage::Truncated } else { Damage::Removed };
                assert_eq!((found.damage, found.seq), (expected, number(k)), "{k}..{m}: {found}");
            }
        }
    }
}

#[test]
fn inserted_lines_are_named() {
    let (lines, heads) = honest(N);
    let (foreign, _) = honest_of(Id128([8; 16]), N);
    for at in 0..=lines.len() {
        // A forgery that fits: right number, right link.
        let mut chain = match at {
            0 => Chain::begin(origin(LOG)),
            _ => Chain::resume(origin(LOG), heads[at - 1]),
        };
        let mut forged = Vec::new();
        chain.append(&new_record(500), Stamp { time_usec: 1, boottime_usec: 1 }, &mut forged);
        let mut candidates = vec![
            forged,
            b"garbage\n".to_vec(),
            foreign[foreign.len() - 1].clone(),
            foreign[0].clone(),
        ];
        candidates.extend(positions().map(|k| lines[k].clone()));
        for (which, extra) in candidates.into_iter().enumerate() {
            let mut bad = lines.clone();
            bad.insert(at, extra);
            for anchor in anchors(&heads) {
                let at_the_end = at == lines.len();
                // What stands after the last known record cannot be told from a new record.
                if at_the_end && !matches!(anchor, Anchor::Exactly(_)) && which < 4 {
                    continue;
                }
                let found = finding(&bad, anchor);
                assert_eq!(
                    found.damage,
                    Damage::Inserted,
                    "candidate {which} at {at}, {anchor:?}: {found}"
                );
                // A copy beside its original is one of two equal lines.
                let beside = at.checked_sub(1).is_some_and(|before| bad[before] == bad[at])
                    || bad.get(at + 1) == Some(&bad[at]);
                if !beside {
                    assert_eq!(
                        found.line,
                        number(at),
                        "candidate {which} at {at}, {anchor:?}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn re_ordered_records_are_named() {
    let (lines, heads) = honest(N);
    for a in positions() {
        for b in a + 1..lines.len() {
            for anchor in anchors(&heads) {
                let mut swapped = lines.clone();
                swapped.swap(a, b);
                let mut moved_up = lines.clone();
                moved_up[a..=b].rotate_right(1);
                let mut moved_down = lines.clone();
                moved_down[a..=b].rotate_left(1);
                for bad in [swapped, moved_up, moved_down] {
                    let found = finding(&bad, anchor);
                    assert_eq!(
                        (found.damage, found.seq, found.line),
                        (Damage::Reordered, number(a), number(a)),
                        "{a} and {b}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_replaced_or_rewritten_record_is_named() {
    let (lines, heads) = honest(N);
    let (foreign, _) = honest_of(Id128([8; 16]), N);
    for k in positions() {
        let mut other = lines.clone();
        other[k] = foreign[k].clone();
        for anchor in anchors(&heads) {
            let found = finding(&other, anchor);
            if k > 0 {
                assert_eq!((found.damage, found.seq), (Damage::Foreign, number(k)), "{found}");
            }
        }
        // Rewritten from k to the end, with links that hold: only the anchor tells.
        let mut chain = match k {
            0 => Chain::begin(origin(LOG)),
            _ => Chain::resume(origin(LOG), heads[k - 1]),
        };
        let mut rewritten = lines.clone();
        for line in &mut rewritten[k..] {
            line.clear();
            chain.append(&new_record(900), Stamp { time_usec: 1, boottime_usec: 1 }, line);
        }
        assert_eq!(verify(&rewritten, Anchor::None).verdict, Verdict::Incomplete(Gap::Unanchored));
        for anchor in &anchors(&heads)[1..] {
            assert_eq!(finding(&rewritten, *anchor).damage, Damage::Changed);
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_is_named() {
    let (lines, heads) = honest(3);
    let bytes = lines.concat();
    for cut in 0..bytes.len() {
        let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count();
        let inside = bytes[..cut].last().is_some_and(|b| *b != b'\n');
        for anchor in &anchors(&heads)[1..] {
            let Verdict::Tampered(found) = verify_bytes(&bytes[..cut], *anchor).verdict else {
                panic!("cut at {cut}")
            };
            let expected = if inside { Damage::Cut } else { Damage::Truncated };
            assert_eq!((found.damage, found.seq), (expected, number(whole)), "{found}");
        }
        if whole > 0 {
            let known = Anchor::AtLeast(heads[whole - 1]);
            let report = verify_bytes(&bytes[..cut], known);
            let torn =
                Verdict::Incomplete(Gap::TornTail { seq: number(whole), bytes: report.torn_bytes });
            assert_eq!(report.verdict, if inside { torn } else { Verdict::Intact });
        }
    }
}

#[test]
fn a_stranger_s_file_is_unreadable_and_other_versions_are_said() {
    assert_eq!(verify_bytes(b"#!/bin/sh\necho hello\n", Anchor::None).verdict.exit_code(), 3);
    let (lines, _) = honest(1);
    let newer = edited(&lines[0], "\"v\":1}", "\"v\":2}");
    assert_eq!(
        verify_bytes(&newer, Anchor::None).verdict,
        Verdict::Unreadable(RecordError::Version(2))
    );
}

#[test]
fn whatever_is_recorded_fits_in_a_line_and_is_cut_visibly() {
    let long = "\u{1}".repeat(100_000);
    let mut new =
        NewRecord::new(Event::JobStarted, Actor::uid(1).named(&long).with_key(&long), &long, &long);
    for n in 0..100 {
        new = new.detail(&format!("{n} {long}"), &long);
    }
    let mut line = Vec::new();
    let host = long;
    let head = Chain::begin(Origin { host, ..origin(LOG) }).append(
        &new,
        Stamp { time_usec: u64::MAX, boottime_usec: 0 },
        &mut line,
    );
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
    let record = Record::parse(&line).unwrap();
    assert_eq!((record.seq, record.resource.chars().last()), (head.seq, Some('…')));
    assert_eq!(
        record.details.get(&Text::from("details_left_out")).map(|t| t.to_string()),
        Some("76".into())
    );
}

#[test]
fn a_head_is_stored_in_one_spelling() {
    let head = Head { seq: 57, hash: Hash([0xab; 32]) };
    let stored = head.to_stored();
    assert_eq!(stored.len(), Head::STORED_BYTES);
    assert_eq!(Head::from_stored(stored.as_bytes()), Some(head));
    for bad in [
        "",
        "57 abab\n",
        &stored[1..],
        &stored[..stored.len() - 1],
        &stored.replace("00057", "   57"),
    ] {
        assert_eq!(Head::from_stored(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn speed_of_verification() {
    let n = 20_000;
    let (lines, heads) = honest(n);
    let bytes = lines.concat();
    let start = std::time::Instant::now();
    let mut verifier = Verifier::new(anchors(&heads)[2]);
    verifier.feed(&bytes);
    assert_eq!(verifier.finish().verdict, Verdict::Intact);
    let seconds = start.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let (rate, mib) = (n as f64 / seconds, bytes.len() as f64 / seconds / f64::from(1 << 20));
    eprintln!(
        "verified {rate:.0} records/s, {mib:.0} MiB/s, {} bytes a record",
        bytes.len() as u64 / n
    );
}

proptest! {
    #[test]
    fn any_changed_byte_is_found_in_its_record(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (lines, heads) = honest(5);
        let mut bytes = lines.concat();
        let at = at.index(bytes.len());
        let hit = number(bytes[..at].iter().filter(|b| **b == b'\n').count());
        bytes[at] ^= flip;
        match verify_bytes(&bytes, Anchor::Exactly(heads[4])).verdict {
            Verdict::Tampered(found) => prop_assert_eq!(found.seq, hit, "{}", found),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert_ne!(verify_bytes(&bytes, Anchor::None).verdict, Verdict::Intact);
    }

    #[test]
    fn any_mix_of_real_lines_is_judged(order in prop::collection::vec(0usize..6, 0..12), known in 0usize..6) {
        let (lines, heads) = honest(6);
        let mixed: Vec<_> = order.iter().map(|i| lines[*i].clone()).collect();
        let honest_order = order.iter().copied().eq(0..order.len());
        let verdict = verify(&mixed, Anchor::AtLeast(heads[known])).verdict;
        prop_assert_eq!(verdict == Verdict::Intact, honest_order && order.len() > known);
    }

    #[test]
    fn a_record_says_what_was_recorded(
        resource in ".{0,200}", value in ".{0,200}", uid in any::<u32>(), pid in any::<Option<u32>>(),
    ) {
        let new = NewRecord::new(Event::FileRead, Actor::uid(uid), "read", &resource)
            .source(Source::process("peer", uid, pid))
            .result(Outcome::Denied)
            .detail("value", &value);
        let mut line = Vec::new();
        Chain::begin(origin(LOG)).append(&new, Stamp { time_usec: 1, boottime_usec: 2 }, &mut line);
        line.pop();
        prop_assert!(!line.contains(&b'\n'));
        let record = Record::parse(&line).unwrap();
        prop_assert_eq!(&*record.resource, resource.as_str());
        prop_assert_eq!(&*record.details[&Text::from("value")], value.as_str());
        prop_assert_eq!((record.actor.uid, record.source.pid, record.result), (uid, pid, Outcome::Denied));
        prop_assert_eq!(record.kind(), Some(Event::FileRead));
    }
}
