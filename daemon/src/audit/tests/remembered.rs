//! A log whose files were changed, with all that lies beside them, against what the
//! supervisor remembers of it elsewhere.

use super::*;
use fetchml_api::audit::{Chain, Head, Id128, Known, Origin};

impl Scene {
    fn end_file(&self) -> PathBuf {
        self.dir.with_extension("end")
    }

    fn remembering(&self) -> Options {
        Options { end_file: Some(self.end_file()), ..self.options() }
    }

    /// A log with some records, closed in order.
    fn write(&self, records: u64) -> OpenReport {
        let (audit, report) = Audit::open(&self.dir, &self.remembering()).unwrap();
        for n in 0..records {
            append(&audit, n).unwrap();
        }
        runtime().block_on(audit.close()).unwrap();
        report
    }

    fn damage(&self) -> String {
        Audit::open(&self.dir, &self.remembering()).unwrap_err().to_string()
    }

    /// What is remembered now, of a log that is not closed.
    fn as_a_power_cut_leaves_it(&self) -> String {
        fs::read_to_string(self.end_file()).unwrap().replace("closed", "open  ")
    }

    fn without_checkpoints(&self) {
        fs::remove_file(self.dir.join("000000000001.notes")).unwrap();
    }

    fn put_away(&self, name: &str) {
        fs::rename(&self.dir, self.dir.with_extension(name)).unwrap();
    }

    /// Puts other records with a chain that holds in place of the log, and a head that fits.
    fn forge(&self, log_id: Id128, records: u64) {
        let origin = Origin { log_id, host: "host".into(), boot_id: Id128([7; 16]) };
        let mut chain = Chain::begin(origin);
        let (mut bytes, mut head) = (Vec::new(), chain.head());
        let opened = NewRecord::new(Event::LogOpened, Actor::uid(0), "open", "audit");
        for record in std::iter::once(opened).chain((0..records).map(|n| record(n + 100))) {
            head = chain.append(&record, clock::stamp(), &mut bytes);
        }
        fs::write(self.segment(), bytes).unwrap();
        fs::write(self.dir.join("head"), head.to_stored()).unwrap();
    }
}

#[test]
fn a_log_that_was_written_anew_without_its_checkpoints_is_not_taken_up() {
    let scene = Scene::new();
    let report = scene.write(5);
    scene.forge(report.log_id, 5);
    scene.without_checkpoints();
    let words = scene.damage();
    assert!(words.contains("its checkpoints are missing"), "{words}");
    // Nor by one that remembers nothing.
    let words = scene.refusal().to_string();
    assert!(words.contains("its checkpoints are missing"), "{words}");
}

#[test]
fn a_verifier_without_a_key_calls_a_log_without_checkpoints_incomplete() {
    let scene = Scene::new();
    scene.write(5);
    let verify = || {
        let paths = [scene.dir.clone()];
        fetchml_audit_verify::verify_paths(&paths, Known::default(), None).unwrap().verdict
    };
    assert_eq!(verify(), Verdict::Intact);
    scene.without_checkpoints();
    assert_eq!(verify().exit_code(), 2, "{}", verify());
}

#[test]
fn an_older_copy_of_the_whole_directory_is_not_taken_up() {
    let scene = Scene::new();
    scene.write(3);
    let copy = scene.dir.with_extension("copy");
    assert!(Command::new("cp").arg("-a").args([&scene.dir, &copy]).status().unwrap().success());
    scene.write(3);
    scene.put_away("aside");
    fs::rename(&copy, &scene.dir).unwrap();
    let words = scene.damage();
    assert!(words.contains("missing"), "{words}");
}

#[test]
fn a_log_that_was_moved_away_is_named_by_the_next_one() {
    let scene = Scene::new();
    let first = scene.write(3);
    scene.put_away("aside");
    let second = scene.write(1);
    assert!(second.created && second.log_id != first.log_id);
    let bytes = scene.bytes();
    let opened = Record::parse(bytes.split(|b| *b == b'\n').next().unwrap()).unwrap();
    let detail = |name: &str| opened.details.get(&name.into()).map(ToString::to_string);
    assert_eq!(detail("replaces"), Some(first.log_id.to_string()));
    assert_eq!(detail("replaced_end"), Some("4".into()));
    scene.write(1);
    // Another one in its place is not taken up.
    scene.put_away("second");
    let other = Scene::new();
    other.write(2);
    fs::rename(&other.dir, &scene.dir).unwrap();
    let words = scene.damage();
    assert!(
        words.contains(&second.log_id.to_string()) && words.contains("put that one"),
        "{words}"
    );
}

#[test]
fn a_start_that_was_killed_before_it_remembered_its_new_log_goes_on() {
    let scene = Scene::new();
    scene.write(3);
    let remembered = fs::read(scene.end_file()).unwrap();
    scene.put_away("aside");
    let report = scene.write(0);
    fs::write(scene.end_file(), remembered).unwrap();
    assert_eq!(scene.write(1).log_id, report.log_id);
}

#[test]
fn what_is_remembered_may_lag_behind_but_not_be_unreadable() {
    let scene = Scene::new();
    scene.write(3);
    let earlier = scene.as_a_power_cut_leaves_it();
    scene.write(3);
    fs::write(scene.end_file(), earlier).unwrap();
    let end = scene.write(1).head;
    let stored = fs::read_to_string(scene.end_file()).unwrap();
    let head = &stored.split_once('\n').unwrap().1.as_bytes()[..Head::STORED_BYTES];
    let head = Head::from_stored(head).unwrap();
    assert_eq!(head.seq, end.seq + 1);
    assert_eq!(fs::metadata(scene.end_file()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(scene.end_file(), "nothing").unwrap();
    let words = scene.damage();
    assert!(words.contains("audit.end") && words.contains("--anchor"), "{words}");
}

#[test]
fn what_was_added_to_a_log_that_was_closed_is_not_taken_up() {
    let scene = Scene::new();
    let report = scene.write(2);
    let end = fs::read(scene.dir.join("head")).unwrap();
    let end = Head::from_stored(&end).unwrap();
    let origin = Origin { log_id: report.log_id, host: "h".into(), boot_id: Id128([7; 16]) };
    let mut chain = Chain::resume(origin, end);
    let mut bytes = scene.bytes();
    let head = chain.append(&record(9), clock::stamp(), &mut bytes);
    fs::write(scene.segment(), bytes).unwrap();
    fs::write(scene.dir.join("head"), head.to_stored()).unwrap();
    let words = scene.damage();
    assert!(words.contains("was closed after record"), "{words}");
}

#[test]
fn a_record_of_an_earlier_segment_is_compared_as_well() {
    let scene = Scene::new();
    let options = Options { segment_bytes: 2048, ..scene.remembering() };
    let write = || {
        let (audit, _) = Audit::open(&scene.dir, &options).unwrap();
        for n in 0..3 {
            append(&audit, n).unwrap();
        }
    };
    write();
    let early = scene.as_a_power_cut_leaves_it();
    for _ in 0..4 {
        write();
    }
    assert!(scene.dir.join("000000000003.log").exists());
    // A power cut leaves it behind; that is no damage.
    fs::write(scene.end_file(), &early).unwrap();
    write();
    // Another record in that place is.
    let mut lines: Vec<String> = early.lines().map(str::to_owned).collect();
    let (number, hash) = lines[1].split_once(' ').unwrap();
    let digit = if hash.starts_with('a') { 'b' } else { 'a' };
    lines[1] = format!("{number} {digit}{}", &hash[1..]);
    fs::write(scene.end_file(), lines.join("\n") + "\n").unwrap();
    let words = scene.damage();
    assert!(words.contains("000000000001.log") || words.contains("rewritten"), "{words}");
}

#[test]
fn another_log_is_not_taken_up_for_what_it_says_of_itself() {
    let scene = Scene::new();
    let first = scene.write(3);
    scene.put_away("aside");
    // It claims to replace the one that was written, in a record that does not begin a log.
    let other = Scene::new();
    other.write(1);
    let (audit, _) = Audit::open(&other.dir, &other.remembering()).unwrap();
    let claim = NewRecord::new(Event::AuditVerified, Actor::uid(0), "verify", "audit")
        .detail("replaces", first.log_id);
    runtime().block_on(audit.append(claim)).unwrap();
    drop(audit);
    fs::rename(&other.dir, &scene.dir).unwrap();
    let words = scene.damage();
    assert!(words.contains(&first.log_id.to_string()), "{words}");
}

#[test]
fn a_log_that_goes_on_is_not_closed_any_more_whatever_happens_next() {
    let scene = Scene::new();
    scene.write(2);
    let stored = || fs::read_to_string(scene.end_file()).unwrap();
    assert!(stored().ends_with("closed\n"));
    // Its first record is of the opening itself: another key signs.
    fs::remove_file(scene.dir.with_extension("key")).unwrap();
    let (audit, report) = Audit::open(&scene.dir, &scene.remembering()).unwrap();
    assert!(stored().ends_with("open  \n"), "{}", stored());
    assert!(stored().contains(&format!("{:020}", report.head.seq)), "{}", stored());
    drop(audit);
    assert!(stored().ends_with("closed\n"));
}
