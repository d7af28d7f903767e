//! The journal's copy of the audit log, with a journald that runs: what it lost, what
//! it forgot, what others wrote into it, and what it knows better than the log.

use crate::support::in_project;
use fetchml_tests::{Container, Output};
use serde_json::Value;

const VERIFY: &str = "fetchmlctl audit verify --journal --json";
/// A copy is missed only after some seconds.
const SETTLED: &str = "sleep 6";

/// Lets the log grow by so many records.
fn grow(c: &Container, records: u32) {
    let script = format!("for n in $(seq {records}); do fetchmlctl audit show -n 0; done");
    c.sh("root", &script).ok();
}

fn verify(c: &Container, status: i32) -> Value {
    let output = c.sh("root", &format!("{SETTLED}; {VERIFY}"));
    output.expect(status);
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output}"))
}

fn remarks(judged: &Value) -> String {
    let list = judged["remarks"].as_array().expect("remarks");
    list.iter().filter_map(|one| one["words"].as_str()).collect::<Vec<_>>().join("\n")
}

fn missing(judged: &Value) -> u64 {
    let runs = judged["journal"]["missing"].as_array().expect("missing");
    let length = |run: &Value| run["last"].as_u64().zip(run["first"].as_u64()).expect("numbers");
    runs.iter().map(length).map(|(last, first)| last - first + 1).sum()
}

fn sent_again(c: &Container) -> usize {
    let output = c.sh(
        "root",
        "journalctl --sync; journalctl -o cat --output-fields=FETCHML_REPLAYED FETCHML_REPLAYED=1 | wc -l",
    );
    output.ok().parse().expect("a number")
}

pub(crate) fn imitations_are_told_apart_and_change_no_verdict(c: &Container) {
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    let judged = verify(c, 0);
    assert_eq!((missing(&judged), &judged["journal"]["imitations"]), (0, &0.into()), "{judged}");

    // A whole record with all its fields, of a number that there is not yet.
    let forged = r#"journalctl -o json _SYSTEMD_UNIT=fetchmld.service FETCHML_EVENT=job_completed -n 1 |
        python3 -c 'import json, sys
for name, value in json.load(sys.stdin).items():
    if not name.startswith("_"): print(f"{name}={value}")' > /var/tmp/forged; chmod 644 /var/tmp/forged; test -s /var/tmp/forged"#;
    c.sh("root", forged).ok();
    let words = "job_completed: complete job/1 by root (uid 0): success";
    for user in ["mallory", "root"] {
        c.sh(user, "logger --journald < /var/tmp/forged").ok();
        c.sh(user, "sed s/FETCHML_SEQ=.*/FETCHML_SEQ=999999/ /var/tmp/forged | logger --journald")
            .ok();
        c.sh(user, &format!("logger -t fetchmld '{words}'")).ok();
        c.sh(user, &format!("echo '{words}' | systemd-cat -t fetchmld")).ok();
    }
    let judged = verify(c, 0);
    // What root repeats word for word is a copy when its writer was gone before journald
    // looked at it, which is chance.
    let repeated = 8 - judged["journal"]["imitations"].as_u64().expect("a number");
    assert!(repeated <= 1, "{judged:#}");
    let told = remarks(&judged);
    assert!(told.contains("_UID=2003") && told.contains("_UID=0"), "{told}");
    assert!(told.contains("only looks like a record"), "{told}");

    // Who may not read the journal of the system is not told that all is well.
    let blind = c.sh("alice", &VERIFY.replace("--journal", "--journal /var/log/fetchml/audit"));
    blind.expect(3);

    c.sh("root", "systemctl restart fetchmld").ok();
    let record = c.sh("root", "fetchmlctl audit show --json --event audit_verified -n 1");
    let record: Value = serde_json::from_str(record.ok()).expect("a record");
    assert_eq!(record["action"], "compare-journal", "{record}");
    // At a start those of root alone.
    let imitations = (4 - repeated).to_string();
    assert_eq!(record["details"]["imitations"], *imitations, "{record}");
}

/// The limit grows with the free space of the disk, by a factor of six at most.
const LIMIT: &str = "[Journal]\nRateLimitIntervalSec=5s\nRateLimitBurst=5\n";

pub(crate) fn what_a_rate_limit_dropped_is_named_and_sent_again_once(c: &Container) {
    c.write("/etc/systemd/journald.conf.d/limit.conf", LIMIT.as_bytes());
    c.sh("root", "systemctl restart systemd-journald && sleep 6").ok();
    grow(c, 120);
    c.sh("root", SETTLED).ok();
    grow(c, 1);
    let judged = verify(c, 2);
    let lost = missing(&judged);
    assert!(lost > 60, "{judged:#}");
    let told = remarks(&judged);
    assert!(told.contains("rate limit dropped them"), "{told}");
    assert_eq!(judged["verdict"], "incomplete");

    c.sh("root", "rm /etc/systemd/journald.conf.d/limit.conf").ok();
    c.sh("root", "systemctl restart systemd-journald fetchmld").ok();
    let judged = verify(c, 0);
    assert_eq!(missing(&judged), 0, "{judged:#}");
    let again = sent_again(c);
    assert!(again as u64 >= lost, "{again} of {lost}");
    assert!(judged["journal"]["replayed"].as_u64() >= Some(lost), "{judged:#}");
    c.sh("root", "systemctl restart fetchmld").ok();
    let _ = verify(c, 0);
    assert_eq!(sent_again(c), again, "once is enough");
}

pub(crate) fn a_journald_that_was_away_delays_nothing_and_gets_what_it_missed(c: &Container) {
    let units = "systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket";
    c.sh("root", &format!("systemctl stop {units} 2>&1; ! systemctl is-active systemd-journald"))
        .ok();
    let run: Output = in_project(c, "alice", "fetchmlctl run -- echo through");
    assert_eq!(run.ok(), "through");
    grow(c, 10);
    c.sh(
        "root",
        "systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald",
    )
    .ok();
    let judged = verify(c, 2);
    assert!(missing(&judged) >= 10, "{judged:#}");
    assert!(remarks(&judged).contains("nothing says why"), "{judged:#}");
    c.sh("root", "systemctl restart fetchmld").ok();
    assert_eq!(missing(&verify(c, 0)), 0);

    // What is older than the journal keeps is not missed.
    grow(c, 10);
    c.sh("root", "sleep 1; journalctl --rotate --vacuum-time=1s").ok();
    grow(c, 3);
    let judged = verify(c, 0);
    assert!(judged["journal"]["forgotten"].as_u64() > Some(10), "{judged:#}");
    assert!(remarks(&judged).contains("older than what the journal keeps"), "{judged:#}");

    // But a start says that nobody compared it.
    c.sh("root", "systemctl restart fetchmld").ok();
    let shown = c.sh("root", "fetchmlctl audit show --json --event audit_verified -n 3");
    let records = shown.ok().lines().map(|line| serde_json::from_str(line).expect("a record"));
    let mut records = records.filter(|one: &Value| one["action"] == "compare-journal");
    let record = records.next_back().unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(record["result"], "success", "{record}");
    let skipped = record["details"]["not_compared"].as_str().and_then(|n| n.parse::<u64>().ok());
    assert!(skipped >= Some(10), "{record}");
}

pub(crate) fn the_journal_knows_of_what_was_cut_from_the_log(c: &Container) {
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    // An old copy of everything, put back: intact in itself.
    let audit = "/var/log/fetchml/audit";
    let remembered = "/var/lib/fetchml/audit.end";
    c.sh("root", &format!("systemctl stop fetchmld.socket fetchmld && cp -a {audit} /var/tmp/old"))
        .ok();
    c.sh("root", &format!("cp -a {remembered} /var/tmp/old.end")).ok();
    c.sh("root", "systemctl start fetchmld.socket fetchmld").ok();
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    c.sh("root", "systemctl stop fetchmld.socket fetchmld").ok();
    c.sh("root", &format!("mv {audit} /var/tmp/new && cp -a /var/tmp/old {audit}")).ok();
    let keys = format!("--key {audit}/keys");
    c.sh("root", &format!("fetchmlctl audit verify {keys} {audit}")).ok();
    let judged = c.sh("root", &format!("fetchmlctl audit verify --json --journal {keys} {audit}"));
    judged.expect(1);
    let judged: Value = serde_json::from_str(&judged.stdout).expect("JSON");
    assert_eq!(judged["first_bad"]["damage"], "truncated", "{judged:#}");
    // The supervisor remembers more than that, and leaves the evidence as it is.
    c.sh("root", "! systemctl start fetchmld 2>&1").ok();
    let _ = c.eventually(
        "root",
        "journalctl -o cat -u fetchmld.service | grep 'audit log in .* is damaged: .* missing'",
    );
    // What it remembers can be put back as well; the journal knows better.
    c.sh("root", "systemctl stop fetchmld.socket fetchmld; systemctl reset-failed fetchmld").ok();
    c.sh(
        "root",
        &format!("mv {remembered} /var/tmp/new.end && cp -a /var/tmp/old.end {remembered}"),
    )
    .ok();
    c.sh("root", "! systemctl start fetchmld 2>&1").ok();
    let _ = c.eventually(
        "root",
        "journalctl -o cat -u fetchmld.service | grep 'the journal was given record'",
    );
    c.sh("root", "systemctl stop fetchmld.socket fetchmld").ok();
    c.sh("root", &format!("diff -r /var/tmp/old {audit}")).ok();
    // What was there all along is well.
    c.sh("root", &format!("rm -r {audit} && mv /var/tmp/new {audit}")).ok();
    c.sh("root", &format!("mv /var/tmp/new.end {remembered}")).ok();
    c.sh("root", "systemctl reset-failed fetchmld; systemctl start fetchmld.socket fetchmld").ok();
    let _ = verify(c, 0);
}
