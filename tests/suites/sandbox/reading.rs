//! The audit log as it is read: filters, forms, following, and many files.

use crate::private;
use fetchml_tests::{Output, Private};
use fetchmld::audit::{Audit, Options};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn show(private: &Private, words: &[&str]) -> Vec<Value> {
    let output = private.ctl([&["audit", "show", "--json"], words].concat());
    let lines = output.ok().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["event"].as_str().unwrap()).collect()
}

#[test]
fn records_are_chosen_by_time_actor_event_job_and_result() {
    let private = private!();
    private.shell("true").ok();
    private.shell("exit 3").expect(3);
    let all = show(&private, &[]);
    assert_eq!(
        events(&show(&private, &["--job", "2"])),
        ["job_queued", "job_started", "job_completed"]
    );
    let ended = show(&private, &["--event", "job_completed"]);
    assert_eq!(events(&ended), ["job_completed", "job_completed"]);
    let failed = show(&private, &["--event", "job_completed", "--result", "failure"]);
    assert_eq!((failed.len(), &failed[0]["job"]), (1, &2.into()));
    for root in ["root", "0"] {
        assert!(show(&private, &["--actor", root]).len() >= all.len(), "{root}");
    }
    assert!(show(&private, &["--actor", "nobody"]).is_empty());
    // Exactly from one record's time to another's.
    let time = |record: &Value| {
        let output = Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ", "-d"])
            .arg(format!("@{:.6}", record["time_usec"].as_f64().unwrap() / 1e6))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (from, to) = (&ended[0], &ended[1]);
    let between = show(&private, &["--since", &time(from), "--until", &time(to)]);
    let seqs: Vec<_> = between.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().copied().eq(from["seq"].as_u64().unwrap()..=to["seq"].as_u64().unwrap()));
    assert_eq!(show(&private, &["-n", "2"]).len(), 2);
    let unknown = private.ctl(["audit", "show", "--event", "job_quued"]);
    assert!(unknown.status == 2 && unknown.says("job_queued"), "{unknown}");
}

/// Reads it as a spreadsheet would.
const READ_CSV: &str = "import csv, sys, json; print(json.dumps(list(csv.reader(sys.stdin))))";

#[test]
fn comma_separated_values_are_one_row_a_record_and_no_formula() {
    let private = private!();
    let name = "=1+1,\"quoted\"";
    let named = private.ctl(["run", "--name", name, "--", "true"]);
    // Where names like that are refused, the refusal is what stands in the log.
    assert!(named.status == 0 || named.says("name"), "{named}");
    private.ctl(["run", "--experiment", "a-b", "--", "true"]).ok();
    let csv = private.ctl(["audit", "show", "--csv"]).ok().to_owned() + "\n";
    let file = private.put("log.csv", &csv);
    let rows = Command::new("/usr/bin/python3")
        .args(["-c", READ_CSV])
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let rows: Vec<Vec<String>> = serde_json::from_slice(&rows.stdout).unwrap();
    let header = &rows[0];
    assert_eq!(header[..5], ["seq", "time", "event", "action", "result"]);
    for (place, row) in rows[1..].iter().enumerate() {
        assert_eq!((row.len(), &row[0]), (header.len(), &(place + 1).to_string()), "{row:?}");
        for field in row {
            assert!(!field.starts_with(['=', '+', '-', '@', '\t', '\r']), "{row:?}");
        }
    }
}

#[test]
fn new_records_are_followed_until_told_to_stop() {
    let private = private!();
    private.shell("true").ok();
    let mut follower = private
        .command(["audit", "show", "--json", "--follow", "--tail", "1", "--job", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    while !private.audit_lines().iter().any(|line| line.contains("audit_read")) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    private.shell("true").ok();
    let followed: Vec<Value> =
        lines.take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(events(&followed), ["job_queued", "job_started", "job_completed"]);
    let pid = rustix::process::Pid::from_child(&follower);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(follower.wait().unwrap().success());
}

#[test]
fn who_reads_stands_in_the_log_before_they_read() {
    let private = private!();
    private.shell("true").ok();
    let reads =
        |records: &[Value]| records.iter().filter(|record| record["event"] == "audit_read").count();
    let first = show(&private, &[]);
    assert_eq!(reads(&first), 1, "one's own reading is in what one reads");
    private.ctl(["audit", "verify"]).ok();
    private.ctl(["audit", "export", "all.audit"]).ok();
    let after = show(&private, &[]);
    assert_eq!(reads(&after), 4, "each once: {:?}", events(&after));
    assert_eq!(after.last().unwrap()["actor"]["uid"], 0);
}

/// Twice as many files, more than a process may usually have open.
const SEGMENTS: u64 = 1_100;

fn with_few_files(private: &Private, words: &[&str]) -> Output {
    let ctl = private.command(words);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -Sn 64; exec \"$@\"", "sh"]).arg(ctl.get_program());
    limited.args(ctl.get_args()).current_dir(private.project());
    limited.envs(ctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Output::of(format!("{words:?}"), &limited.output().unwrap())
}

#[test]
fn thousands_of_segments_are_shown_verified_and_exported() {
    let private = private!();
    let dir = private.dir();
    std::fs::create_dir_all(dir.join("state")).unwrap();
    std::fs::create_dir_all(dir.join("log")).unwrap();
    // Every record fills a segment.
    let options =
        Options { segment_bytes: 1, ..Options::with_key_file(dir.join("state/audit.key")) };
    let (audit, _) = Audit::open(&dir.join("log/audit"), &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while std::fs::metadata(dir.join(format!("log/audit/{SEGMENTS:012}.log"))).is_err() {
        let actor = fetchml_api::audit::Actor::uid(0);
        let event = fetchml_api::audit::Event::JobQueued;
        let record = fetchml_api::audit::NewRecord::new(event, actor, "submit", "job/1");
        runtime.block_on(audit.append(record)).unwrap();
    }
    let last = audit.head().seq;
    drop(audit);
    let shown = with_few_files(&private, &["audit", "show", "--json"]);
    assert!(shown.ok().lines().count() as u64 > last, "{}", shown.stderr);
    let judged = with_few_files(&private, &["audit", "verify", "--json"]);
    let judged: Value = serde_json::from_str(judged.ok()).unwrap();
    assert!(judged["records"].as_u64() > Some(last), "{judged}");
    with_few_files(&private, &["audit", "export", "--from", "7", "--to", "1400", "some.audit"])
        .ok();
    let keys = private.put("keys", private.ctl(["audit", "key"]).ok());
    let keys = keys.to_str().unwrap();
    private.ctl(["audit", "verify", "some.audit", "--key", keys]).ok();
}
