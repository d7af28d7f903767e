//! The log against real files, killed writers and full disks.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod disk;
mod journal;
mod remembered;
mod segments;

use super::*;
use fetchml_api::audit::{Actor, Anchor, Event, Record, Verdict, Verifier};
use fetchml_api::job::JobId;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const SEGMENT: &str = "000000000001.log";

struct Scene {
    _root: tempfile::TempDir,
    dir: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("audit");
        Self { _root: root, dir }
    }

    fn options(&self) -> Options {
        Options::with_key_file(self.dir.with_extension("key"))
    }

    fn with_journal(&self) -> Options {
        Options { journald: true, ..self.options() }
    }

    fn open(&self) -> (Audit, OpenReport) {
        Audit::open(&self.dir, &self.options()).unwrap()
    }

    fn refusal(&self) -> AuditError {
        Audit::open(&self.dir, &self.options()).unwrap_err()
    }

    fn segment(&self) -> PathBuf {
        self.dir.join(SEGMENT)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.segment()).unwrap()
    }

    fn events(&self) -> Vec<String> {
        self.bytes()
            .split_inclusive(|b| *b == b'\n')
            .map(|line| Record::parse(line.strip_suffix(b"\n").unwrap()).unwrap().event.to_string())
            .collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn record(n: u64) -> NewRecord {
    NewRecord::new(Event::JobStarted, Actor::uid(1000), "start", &format!("job/{n}"))
        .job(JobId(n))
        .detail("profile", "default")
}

fn append(audit: &Audit, n: u64) -> Result<Receipt, AuditError> {
    runtime().block_on(audit.append(record(n)))
}

/// Reads the log through the descriptors that clients get.
fn verdict(audit: &Audit) -> Verdict {
    let mut verifier = Verifier::new(Anchor::Exactly(audit.head()));
    for (_, fd) in audit.open_segments().unwrap() {
        let mut bytes = Vec::new();
        fs::File::from(fd).read_to_end(&mut bytes).unwrap();
        verifier.feed(&bytes);
    }
    verifier.finish().verdict
}

#[test]
fn a_log_goes_on_over_restarts() {
    let scene = Scene::new();
    let mut expected = 1;
    let mut log_id = None;
    for round in 0..4u64 {
        let (audit, report) = scene.open();
        assert_eq!((report.created, report.head.seq, report.torn), (round == 0, expected, None));
        assert_eq!(*log_id.get_or_insert(report.log_id), report.log_id);
        for n in 0..round {
            let receipt = append(&audit, n).unwrap();
            expected += 1;
            assert_eq!((receipt.seq, receipt.hash), (expected, audit.head().hash));
        }
        assert_eq!(verdict(&audit), Verdict::Intact);
    }
    let modes =
        [(scene.dir.clone(), 0o700), (scene.segment(), 0o600), (scene.dir.join("head"), 0o600)];
    for (path, mode) in modes {
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode,
            "{}",
            path.display()
        );
    }
    assert_eq!(scene.events()[0], "log_opened");
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let scene = Scene::new();
    let (first, _) = scene.open();
    assert!(matches!(scene.refusal(), AuditError::Busy { .. }));
    drop(first);
    scene.open();
}

/// What is left of a supervisor that was killed may have it for a moment longer.
#[test]
fn a_log_that_is_let_go_of_soon_is_waited_for() {
    let scene = Scene::new();
    drop(scene.open());
    let held = fs::File::open(scene.dir.join("lock")).unwrap();
    held.lock().unwrap();
    let lets_go = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    assert!(!scene.open().1.created);
    lets_go.join().unwrap();
}

#[test]
fn a_torn_end_is_set_aside_and_said() {
    let scene = Scene::new();
    for round in 0..2 {
        let (audit, _) = scene.open();
        append(&audit, round).unwrap();
        drop(audit);
        let torn = b"{\"action\":\"start\",\"actor\":{\"uid\":0},";
        OpenOptions::new().append(true).open(scene.segment()).unwrap().write_all(torn).unwrap();
        let (audit, report) = scene.open();
        let end = report.torn.unwrap();
        assert_eq!(end.bytes, torn.len() as u64);
        assert_eq!(fs::read(scene.dir.join(&end.file)).unwrap(), torn);
        assert_eq!(verdict(&audit), Verdict::Intact);
        assert_eq!(scene.events().last().map(String::as_str), Some("log_repaired"));
    }
}

#[test]
fn a_crash_while_the_log_began_leaves_nothing_in_the_way() {
    for (segment, expected) in [(None, 1), (Some(""), 1), (Some("{\"act"), 2)] {
        let scene = Scene::new();
        drop(scene.open());
        fs::remove_file(scene.segment()).unwrap();
        fs::remove_file(scene.dir.join("000000000001.notes")).unwrap();
        let empty = format!("{:020} {}\n", 0, "0".repeat(64));
        fs::write(scene.dir.join("head"), empty).unwrap();
        if let Some(bytes) = segment {
            fs::write(scene.segment(), bytes).unwrap();
        }
        let (audit, report) = scene.open();
        assert!(report.created);
        assert_eq!((report.head.seq, verdict(&audit)), (expected, Verdict::Intact));
    }
}

#[test]
fn damage_keeps_the_log_closed_and_is_named() {
    type Harm = fn(&Scene);
    let harms: [(Harm, &str); 8] = [
        (
            |s| {
                fs::write(
                    s.segment(),
                    String::from_utf8(s.bytes()).unwrap().replace("job/2", "job/9"),
                )
                .unwrap()
            },
            "record 4 (line 4) was changed",
        ),
        (|s| fs::write(s.segment(), &s.bytes()[..s.bytes().len() - 1]).unwrap(), "was cut"),
        (
            |s| fs::write(s.segment(), "").unwrap(),
            "the log ends at record 0, but record 6 was written",
        ),
        (
            |s| fs::remove_file(s.segment()).unwrap(),
            "the log ends at record 0, but record 6 was written",
        ),
        (|s| fs::remove_file(s.dir.join("head")).unwrap(), "head is missing"),
        (|s| fs::write(s.dir.join("head"), "6 abc\n").unwrap(), "head does not hold"),
        (
            |s| fs::write(s.dir.join("000000000002.log"), "x\n").unwrap(),
            "000000000001.log was never sealed, but another follows",
        ),
        (
            |s| fs::write(s.segment(), [s.bytes(), b"\n".to_vec()].concat()).unwrap(),
            "record 7 (line 7) was changed",
        ),
    ];
    for (harm, words) in harms {
        let scene = Scene::new();
        let (audit, _) = scene.open();
        for n in 0..5 {
            append(&audit, n).unwrap();
        }
        drop(audit);
        harm(&scene);
        let before = fs::read(scene.segment()).ok();
        let error = scene.refusal();
        assert!(
            matches!(&error, AuditError::Damaged { what, .. } if what.contains(words)),
            "{error}"
        );
        assert!(error.to_string().contains("keep it as evidence"), "{error}");
        assert_eq!(fs::read(scene.segment()).ok(), before, "evidence is not touched");
    }
}

#[test]
fn links_pipes_and_open_directories_are_refused() {
    let scene = Scene::new();
    drop(scene.open());
    let elsewhere = scene.dir.join("elsewhere");
    fs::rename(scene.segment(), &elsewhere).unwrap();
    symlink(&elsewhere, scene.segment()).unwrap();
    assert!(matches!(scene.refusal(), AuditError::Io { .. }));
    fs::remove_file(scene.segment()).unwrap();
    fs::hard_link(&elsewhere, scene.segment()).unwrap();
    assert!(matches!(scene.refusal(), AuditError::NotAFile { .. }));
    fs::remove_file(scene.segment()).unwrap();
    assert!(Command::new("mkfifo").arg(scene.segment()).status().unwrap().success());
    assert!(matches!(scene.refusal(), AuditError::NotAFile { .. }));
    fs::remove_file(scene.segment()).unwrap();
    fs::rename(elsewhere, scene.segment()).unwrap();
    fs::set_permissions(&scene.dir, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(scene.refusal(), AuditError::Unsafe { .. }));
    fs::set_permissions(&scene.dir, fs::Permissions::from_mode(0o750)).unwrap();
    scene.open();
}

#[test]
fn a_file_that_others_wrote_to_is_not_written_on() {
    let scene = Scene::new();
    let (audit, _) = scene.open();
    OpenOptions::new().append(true).open(scene.segment()).unwrap().write_all(b"forged\n").unwrap();
    let before = scene.bytes();
    assert!(matches!(append(&audit, 1), Err(AuditError::Damaged { .. })));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(append(&audit, 2).is_err() && audit.state().is_err());
    assert_eq!(scene.bytes(), before);
    drop(audit);

    let scene = Scene::new();
    let (audit, _) = scene.open();
    fs::remove_file(scene.segment()).unwrap();
    assert!(
        matches!(append(&audit, 1), Err(AuditError::Damaged { what, .. }) if what.contains("was removed"))
    );
}

#[test]
fn many_callers_share_the_disk() {
    let scene = Scene::new();
    let (audit, _) = scene.open();
    let (tasks, each) = (16u64, 500u64);
    let start = Instant::now();
    let mut receipts: Vec<_> = runtime().block_on(async {
        let work = (0..tasks).map(|task| {
            let audit = &audit;
            async move {
                let mut receipts = Vec::new();
                for n in 0..each {
                    receipts.push(audit.append(record(task * each + n)).await.unwrap());
                }
                receipts
            }
        });
        futures_util::future::join_all(work).await.concat()
    });
    let rate = u128::from(tasks * each) * 1000 / start.elapsed().as_millis().max(1);
    eprintln!("{tasks} callers: {rate} durable records/s");
    receipts.sort_by_key(|receipt| receipt.seq);
    assert!(
        receipts.iter().map(|receipt| receipt.seq).eq(2..=tasks * each + 1),
        "each has a number of its own"
    );
    assert_eq!(verdict(&audit), Verdict::Intact);
    let one = Instant::now();
    for n in 0..200 {
        append(&audit, n).unwrap();
    }
    eprintln!("one caller: {} us a durable record", one.elapsed().as_micros() / 200);
}

const CRASH_DIR: &str = "FETCHML_TEST_AUDIT_CRASH_DIR";

/// The body of a child process of the next test; nothing by itself.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CRASH_DIR).map(PathBuf::from) else { return };
    let (audit, _) = Audit::open(&dir, &Options::with_key_file(dir.with_extension("key"))).unwrap();
    let acknowledged =
        OpenOptions::new().append(true).create(true).open(dir.with_extension("acks")).unwrap();
    // The last acknowledgement of the one before may have been torn by its end.
    (&acknowledged).write_all(b"\n").unwrap();
    runtime().block_on(async {
        let work = (0..8u64).map(|task| {
            let (audit, mut acknowledged) = (&audit, &acknowledged);
            async move {
                for n in 0.. {
                    let receipt = audit.append(record(task * 1_000_000 + n)).await.unwrap();
                    acknowledged
                        .write_all(format!("{} {}\n", receipt.seq, receipt.hash).as_bytes())
                        .unwrap();
                }
            }
        });
        futures_util::future::join_all(work).await;
    });
}

#[test]
fn a_killed_writer_loses_no_acknowledged_record() {
    let scene = Scene::new();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::child_that_is_killed", "--nocapture"])
            .env(CRASH_DIR, &scene.dir)
            .spawn()
            .unwrap();
        let acks = scene.dir.with_extension("acks");
        let before = fs::metadata(&acks).map_or(0, |file| file.len());
        while fs::metadata(&acks).map_or(0, |file| file.len()) < before + 500 + round * 7919 {
            assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
            std::thread::sleep(Duration::from_micros(300 + round * 37));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let (audit, report) = scene.open();
        assert_eq!(verdict(&audit), Verdict::Intact);
        let stored: Vec<_> = scene
            .bytes()
            .split_inclusive(|b| *b == b'\n')
            .map(|line| {
                fetchml_api::audit::Head::of_line(line.strip_suffix(b"\n").unwrap()).unwrap()
            })
            .collect();
        let text = fs::read_to_string(&acks).unwrap();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let Some((seq, hash)) = line.split_once(' ').filter(|(_, hash)| hash.len() == 64)
            else {
                continue;
            };
            let at = seq.parse::<usize>().unwrap() - 1;
            assert_eq!(
                stored[at].hash.to_string(),
                hash,
                "record {seq}, killed in round {round}, {:?}",
                report.torn
            );
        }
    }
}
