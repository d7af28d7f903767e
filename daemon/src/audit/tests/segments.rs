//! Segments, their seals, checkpoints and pruning, on real files.

use super::*;
use fetchml_api::audit::{AnchorLine, Checkpoints, Kind, Known, Note, Report, split_notes};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

impl Scene {
    /// Small segments, so that a few records fill one.
    fn small(&self) -> Options {
        Options { segment_bytes: 4 << 10, checkpoint_records: 7, ..self.options() }
    }

    fn open_small(&self) -> (Audit, OpenReport) {
        Audit::open(&self.dir, &self.small()).unwrap()
    }

    fn files(&self, suffix: &str) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.to_str().unwrap().ends_with(suffix))
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
            })
            .collect()
    }

    /// The judgement of somebody who has the files and the public key.
    fn judge(&self, anchors: Vec<AnchorLine>) -> Report {
        let keys = fs::read_to_string(self.dir.join("keys")).unwrap();
        let keys = keys.lines().map(|line| line.parse().unwrap()).collect();
        let mut checkpoints = Checkpoints::new(Known { keys, anchors, ..Known::default() });
        for (name, bytes) in self.files(".notes") {
            checkpoints.read(&name, &bytes);
        }
        let records = self.files(".log").into_values().collect::<Vec<_>>().concat();
        let mut examination = checkpoints.examine(&records);
        examination.feed(&records);
        examination.finish()
    }

    fn notes(&self) -> Vec<Note> {
        let text =
            String::from_utf8(self.files(".notes").into_values().collect::<Vec<_>>().concat());
        let text = text.unwrap();
        split_notes(&text).0.into_iter().map(|note| Note::read(note).unwrap()).collect()
    }
}

fn work(audit: &Audit, n: u64) {
    for n in 0..n {
        append(audit, n).unwrap();
    }
}

#[test]
fn full_segments_are_sealed_and_the_chain_goes_on() {
    let scene = Scene::new();
    let (audit, _) = scene.open_small();
    work(&audit, 60);
    let note = runtime().block_on(audit.checkpoint()).unwrap();
    let anchor = AnchorLine::of(&Note::read(&note).unwrap().checkpoint);
    assert_eq!(anchor.size, audit.head().seq, "asked for, it tells of everything");
    drop(audit);
    let segments = scene.files(".log");
    assert!(segments.len() > 3, "{:?}", segments.keys());
    let report = scene.judge(vec![anchor]);
    assert_eq!((&report.verdict, report.first), (&Verdict::Intact, 1));
    // The same over restarts, which read no more than they must.
    let before = report.end.unwrap().seq;
    let (audit, opened) = scene.open_small();
    assert_eq!(opened.head.seq, before);
    assert!(opened.verified < 30, "{opened:?}");
    work(&audit, 20);
    drop(audit);
    assert_eq!(scene.judge(vec![anchor]).verdict, Verdict::Intact);
    let kinds: Vec<_> = scene.notes().iter().map(|note| note.checkpoint.kind).collect();
    assert_eq!(kinds.first(), Some(&Kind::Start));
    assert_eq!(kinds.last(), Some(&Kind::Stop));
    assert!(kinds.contains(&Kind::Interval) && kinds.contains(&Kind::Seal), "{kinds:?}");
}

#[test]
fn a_start_looks_back_no_further_than_the_log_s_own_key() {
    type Harm = fn(&str) -> String;
    let interval = |text: &str| text.replacen("kind interval", "kind demand", 1);
    let of_the_seal = |text: &str| {
        let (before, seal) = text.rsplit_once("kind seal").unwrap();
        format!("{before}kind seal{}", seal.replacen("time 1", "time 2", 1))
    };
    let without_seal = |text: &str| {
        let notes = split_notes(text).0;
        notes[..notes.len() - 1].concat()
    };
    let harms: [(u64, Harm, Option<&str>); 6] = [
        // It is vouched for, and for the verifier to look at.
        (1, interval, None),
        (1, of_the_seal, None),
        (1, without_seal, Some("000000000001.notes does not end with a seal")),
        // The next one names it.
        (2, of_the_seal, Some("checkpoint 1 in 000000000003.notes")),
        (2, interval, None),
        (3, interval, Some("in 000000000003.notes")),
    ];
    for (number, harm, refused) in harms {
        let scene = Scene::new();
        let count = |scene: &Scene| scene.files(".notes").len();
        let (audit, _) = scene.open_small();
        let fill = |audit: &Audit, files: usize| {
            while count(&scene) < files {
                append(audit, 0).unwrap();
            }
            work(audit, 8);
        };
        fill(&audit, 3);
        drop(audit);
        // The key signs in the third; another follows.
        let (audit, _) = scene.open_small();
        fill(&audit, 4);
        drop(audit);
        let path = scene.dir.join(notes_name(number));
        let text = fs::read_to_string(&path).unwrap();
        assert_ne!(harm(&text), text, "{number}");
        fs::write(&path, harm(&text)).unwrap();
        let opened = Audit::open(&scene.dir, &scene.small());
        match (opened, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert!(error.to_string().contains(words), "{number}: {error}");
            }
            (opened, _) => panic!("{number} {refused:?}: {opened:?}"),
        }
        assert_eq!(scene.judge(Vec::new()).verdict.exit_code(), 1, "{number}");
    }
}

#[test]
fn a_seal_that_was_made_older_lets_nothing_be_deleted() {
    let scene = Scene::new();
    let (audit, _) = scene.open_small();
    while scene.files(".notes").len() < 6 {
        append(&audit, 0).unwrap();
    }
    drop(audit);
    // The log's own key signs in the last file: the seals before are taken at their word.
    drop(scene.open_small());
    for number in 1..=4 {
        let path = scene.dir.join(notes_name(number));
        let text = fs::read_to_string(&path).unwrap();
        let (before, seal) = text.rsplit_once("kind seal").unwrap();
        let (line, rest) = seal.split_once("\ntime ").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        fs::write(&path, format!("{before}kind seal{line}\ntime 1\n{rest}")).unwrap();
    }
    let segments = scene.files(".log");
    let (audit, _) = scene.open_small();
    let keep = Duration::from_secs(2192 * 24 * 3600);
    let refused = runtime().block_on(audit.prune(keep)).expect_err("nothing is six years old");
    assert!(refused.to_string().contains("signature does not hold"), "{refused}");
    drop(audit);
    assert_eq!(scene.files(".log").keys().collect::<Vec<_>>(), segments.keys().collect::<Vec<_>>());
}

#[test]
fn a_sealed_segment_that_was_changed_is_found_by_the_start_or_the_verifier() {
    type Harm = fn(&Scene);
    let harms: [(Harm, &str); 5] = [
        (
            |s| fs::remove_file(s.dir.join("000000000002.log")).unwrap(),
            "000000000002.log is missing",
        ),
        (
            |s| fs::write(s.segment(), &s.bytes()[..s.bytes().len() - 1]).unwrap(),
            "is not what was sealed",
        ),
        (
            |s| {
                let end = s.bytes().len() as u64 - 9;
                let file = OpenOptions::new().write(true).open(s.segment()).unwrap();
                file.write_at(b"x", end).unwrap();
            },
            "is not what was sealed",
        ),
        (
            |s| fs::remove_file(s.dir.join("000000000001.notes")).unwrap(),
            "checkpoint 1 in 000000000002.notes",
        ),
        (
            |s| {
                let path = s.dir.join("000000000002.notes");
                fs::write(&path, fs::read_to_string(&path).unwrap().replacen("kind ", "kind  ", 1))
                    .unwrap();
            },
            "checkpoint 1 in 000000000002.notes",
        ),
    ];
    for (harm, words) in harms {
        let scene = Scene::new();
        let (audit, _) = scene.open_small();
        work(&audit, 40);
        drop(audit);
        harm(&scene);
        let error = scene.refusal();
        assert!(
            matches!(&error, AuditError::Damaged { what, .. } if what.contains(words)),
            "{error}"
        );
        assert_eq!(scene.judge(Vec::new()).verdict.exit_code(), 1, "{words}");
    }
    // A bit in the middle of an old segment is not for the start to find.
    let scene = Scene::new();
    let (audit, _) = scene.open_small();
    work(&audit, 40);
    drop(audit);
    let text = String::from_utf8(scene.bytes()).unwrap().replacen("job/2", "job/3", 1);
    fs::write(scene.segment(), text).unwrap();
    drop(scene.open_small());
    let report = scene.judge(Vec::new());
    assert!(
        matches!(&report.verdict, Verdict::Tampered(found) if found.seq == 4),
        "{:?}",
        report.verdict
    );
}

#[test]
fn a_crash_at_any_step_of_a_rotation_leaves_a_log_that_goes_on() {
    // Sealed, and nothing of the next one; the next one empty; made and not yet sealed.
    for step in 0..3 {
        let scene = Scene::new();
        let (audit, _) = scene.open_small();
        while scene.files(".log").len() < 2 {
            append(&audit, 1).unwrap();
        }
        drop(audit);
        let (log, notes) =
            (scene.dir.join("000000000002.log"), scene.dir.join("000000000002.notes"));
        let head = scene.notes().iter().find_map(|note| {
            let seal = note.checkpoint.sealed.is_some();
            seal.then_some(Head { seq: note.checkpoint.size, hash: note.checkpoint.head })
        });
        fs::write(scene.dir.join("head"), head.unwrap().to_stored()).unwrap();
        fs::write(&log, "").unwrap();
        fs::write(&notes, "").unwrap();
        if step == 0 {
            fs::remove_file(&log).unwrap();
            fs::remove_file(&notes).unwrap();
        }
        if step == 2 {
            let path = scene.dir.join("000000000001.notes");
            let text = fs::read_to_string(&path).unwrap();
            let kept = split_notes(&text).0;
            fs::write(&path, kept[..kept.len() - 1].concat()).unwrap();
        }
        let (audit, _) = scene.open_small();
        work(&audit, 5);
        drop(audit);
        assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact, "step {step}");
    }
}

#[test]
fn old_segments_are_deleted_with_a_record_and_the_rest_verifies() {
    let scene = Scene::new();
    let (audit, _) = scene.open_small();
    work(&audit, 60);
    let early = scene.notes()[1].checkpoint.clone();
    let pruned = |keep| runtime().block_on(audit.prune(keep)).unwrap();
    assert_eq!(pruned(Duration::from_secs(3600)), 0, "nothing is that old");
    std::thread::sleep(Duration::from_millis(2));
    let count = pruned(Duration::ZERO);
    assert!(count > 2, "{count}");
    assert_eq!(pruned(Duration::ZERO), 0);
    work(&audit, 3);
    drop(audit);
    let first = scene.files(".log").into_keys().next().unwrap();
    assert_eq!(first, format!("{:012}.log", count + 1));
    let report = scene.judge(vec![AnchorLine::of(&early)]);
    assert_eq!(report.verdict, Verdict::Intact, "an anchor in what was pruned still counts");
    assert!(report.first > 1);
    let mut false_one = AnchorLine::of(&early);
    false_one.root.0[0] ^= 1;
    assert_eq!(scene.judge(vec![false_one]).verdict.exit_code(), 1);
    let (audit, opened) = scene.open_small();
    work(&audit, 2);
    assert!(opened.verified > 0);
    drop(audit);
    assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact);
    // Without a record of it, it is a deletion.
    fs::remove_file(scene.dir.join(first)).unwrap();
    assert_eq!(scene.judge(Vec::new()).verdict.exit_code(), 1);
}

#[test]
fn another_key_is_recorded_and_both_are_needed() {
    let scene = Scene::new();
    drop(scene.open_small());
    let one = fs::read_to_string(scene.dir.join("keys")).unwrap();
    fs::remove_file(scene.dir.with_extension("key")).unwrap();
    let (audit, _) = scene.open_small();
    drop(audit);
    let keys = fs::read_to_string(scene.dir.join("keys")).unwrap();
    assert_eq!((keys.lines().count(), keys.starts_with(&one)), (2, true));
    assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact);
    assert_eq!(scene.events().iter().filter(|event| *event == "key_created").count(), 1);
    fs::write(scene.dir.join("keys"), one).unwrap();
    assert_eq!(
        scene.judge(Vec::new()).verdict.exit_code(),
        1,
        "by the first key alone it is a forgery"
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let scene = Scene::new();
    drop(scene.open_small());
    let key = scene.dir.with_extension("key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = scene.refusal();
    assert!(matches!(&error, AuditError::Key { why, .. } if why.contains("0644")), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = fs::read_to_string(&key).unwrap();
    fs::write(&key, "PRIVATE+KEY+nonsense").unwrap();
    let error = scene.refusal().to_string();
    assert!(error.contains("not an audit key") && !error.contains("nonsense"), "{error}");
    fs::write(&key, secret).unwrap();
    drop(scene.open_small());
}

#[test]
fn a_torn_checkpoint_is_no_damage() {
    let scene = Scene::new();
    drop(scene.open_small());
    let path = scene.dir.join("000000000001.notes");
    for cut in [1, 3, 40, 200] {
        let mut text = fs::read(&path).unwrap();
        let first = String::from_utf8(text.clone()).unwrap();
        let first = split_notes(&first).0[0].to_owned();
        text.extend(&first.as_bytes()[..cut]);
        fs::write(&path, text).unwrap();
        assert_eq!(scene.judge(Vec::new()).verdict.exit_code(), 2, "not closed, not tampered");
        let (audit, _) = scene.open_small();
        work(&audit, 2);
        drop(audit);
        assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact, "{cut}");
    }
}

#[test]
fn when_nothing_happens_checkpoints_say_so() {
    let scene = Scene::new();
    let beat = Duration::from_millis(30);
    let quick = Options { checkpoint_pause: beat, heartbeat: beat, ..scene.options() };
    let (audit, _) = Audit::open(&scene.dir, &quick).unwrap();
    let head = append(&audit, 1).unwrap();
    let beats = || {
        let same = |note: &&Note| note.checkpoint.size == head.seq;
        let times: Vec<u64> =
            scene.notes().iter().filter(same).map(|note| note.checkpoint.time_usec).collect();
        times
    };
    let patience = Instant::now() + Duration::from_secs(20);
    while beats().len() < 4 {
        assert!(Instant::now() < patience, "{:?}", beats());
        std::thread::sleep(beat);
    }
    assert!(beats().is_sorted_by(|a, b| a < b), "{:?}", beats());
    assert_eq!(audit.head().seq, head.seq, "they are no records");
    runtime().block_on(audit.close()).unwrap();
    assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact);
}

#[test]
fn a_closed_log_proves_its_end_and_takes_nothing_more() {
    let scene = Scene::new();
    let (audit, _) = scene.open();
    work(&audit, 5);
    runtime().block_on(audit.close()).unwrap();
    // As it lies there, while the process that wrote it still lives.
    assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact);
    assert!(matches!(append(&audit, 6), Err(AuditError::Closed)));
    drop(audit);
    let (audit, report) = scene.open();
    assert_eq!((report.head.seq, append(&audit, 7).unwrap().seq), (6, 7));
}

#[test]
fn a_seal_that_was_torn_at_a_rotation_is_no_damage_to_starts_and_readers() {
    for cut in [1, 40, 200] {
        let scene = Scene::new();
        let (audit, _) = scene.open_small();
        work(&audit, 5);
        drop(audit);
        // As a power cut leaves it: the next files are there, the seal only begun.
        let last = scene.notes().pop().unwrap();
        let begun = last.text().replace("kind stop", "kind seal");
        let notes = scene.dir.join("000000000001.notes");
        let mut file = OpenOptions::new().append(true).open(notes).unwrap();
        file.write_all(&begun.as_bytes()[..cut]).unwrap();
        fs::write(scene.dir.join("000000000002.log"), "").unwrap();
        fs::write(scene.dir.join("000000000002.notes"), "").unwrap();
        let judged = scene.judge(Vec::new()).verdict;
        assert_eq!(judged.exit_code(), 2, "a reader sees that it was cut off: {judged}");
        let (audit, _) = scene.open_small();
        work(&audit, 30);
        runtime().block_on(audit.close()).unwrap();
        assert!(scene.files(".log").len() > 2, "it rotates again");
        assert_eq!(scene.judge(Vec::new()).verdict, Verdict::Intact, "cut at {cut}");
    }
}
