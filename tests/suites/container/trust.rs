//! Who may what, and what is on record about it.

use crate::support::{audit_records, in_project, submit};
use fetchml_tests::Container;
use serde_json::Value;

const MALLORY: u32 = 2003;

pub(crate) fn others_may_not_submit(c: &Container) {
    let refused = in_project(c, "mallory", "fetchmlctl run -- sh -c 'echo it ran'");
    refused.expect(125);
    assert!(!refused.says("it ran"), "{refused}");
    assert!(refused.stderr.contains("fetchml"), "does not say what to do: {refused}");
    let denied: Vec<Value> = audit_records(c)
        .into_iter()
        .filter(|r| r["actor"]["uid"] == MALLORY && r["result"] == "denied")
        .collect();
    assert_eq!(denied.len(), 1, "{denied:#?}");
    let events: Vec<Value> = audit_records(c).into_iter().map(|r| r["event"].clone()).collect();
    assert!(!events.contains(&"job_queued".into()), "{events:?}");
}

pub(crate) fn users_see_only_their_own_jobs(c: &Container) {
    let job = submit(c, "bob", "--name hidden-name", "echo hidden-text");
    c.sh("bob", &format!("timeout 60 fetchmlctl wait {job}")).ok();
    assert_eq!(c.sh("bob", &format!("fetchmlctl logs {job}")).ok(), "hidden-text");

    for verb in ["logs", "status", "wait", "cancel", "outputs"] {
        let foreign = c.sh("alice", &format!("fetchmlctl {verb} {job}"));
        let absent = c.sh("alice", &format!("fetchmlctl {verb} {}", job + 1000));
        assert_ne!(foreign.status, 0, "{foreign}");
        assert!(!foreign.says("hidden"), "{foreign}");
        // Nothing tells another's job from one that is not there.
        assert_eq!(foreign.status, absent.status, "{foreign}\n{absent}");
        let said = |text: &str, number: u64| text.replace(&number.to_string(), "N");
        assert_eq!(said(&foreign.stderr, job), said(&absent.stderr, job + 1000));
    }
    for method in
        ["DescribeJob", "GetJob", "OpenLog", "OpenOutputs", "OpenWork", "CancelJob", "WaitJob"]
    {
        let called = c.sh("alice", &format!(
            "busctl --system call org.fetchml.FetchML1 /org/fetchml/FetchML1 org.fetchml.FetchML1.Manager {method} t {job}"
        ));
        assert_ne!(called.status, 0, "{called}");
        assert!(!called.says("hidden"), "{called}");
    }
    assert!(!c.sh("alice", "fetchmlctl list --json").ok().contains("hidden-name"));
    assert!(c.sh("root", "fetchmlctl list --all-users --json").ok().contains("hidden-name"));
    assert_ne!(c.sh("alice", "fetchmlctl --no-ask-password audit show").status, 0);
    // Files and processes are as closed as the bus.
    assert_ne!(c.sh("alice", "ls /var/lib/fetchml /var/log/fetchml").status, 0);
}

pub(crate) fn the_journal_has_each_record_and_explains_it(c: &Container) {
    in_project(c, "alice", "fetchmlctl run -- true").ok();
    let records = audit_records(c);
    let last = records.last().expect("there are records")["seq"].as_u64().expect("a number");
    // The copy follows the file; wait for it to arrive.
    let _ = c.eventually(
        "root",
        &format!("journalctl _SYSTEMD_UNIT=fetchmld.service FETCHML_SEQ={last} | grep -q ."),
    );
    let journal = c.sh(
        "root",
        "journalctl --output=json _SYSTEMD_UNIT=fetchmld.service _UID=0 | grep FETCHML_SEQ",
    );
    let entries: Vec<Value> = journal
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).expect("journalctl writes JSON"))
        .collect();
    assert_eq!(entries.len(), records.len());
    for (entry, record) in entries.iter().zip(&records) {
        assert_eq!(entry["FETCHML_SEQ"].as_str(), Some(record["seq"].to_string().as_str()));
        assert_eq!(entry["FETCHML_EVENT"], record["event"]);
        assert!(entry["FETCHML_HASH"].as_str().is_some_and(|hash| hash.len() == 64), "{entry}");
        let copy = entry["FETCHML_RECORD"].as_str().expect("the record itself");
        assert_eq!(&serde_json::from_str::<Value>(copy).expect("a record is JSON"), record);
    }
    let explained = c.sh("root", "journalctl -x --no-pager _SYSTEMD_UNIT=fetchmld.service");
    assert!(explained.ok().contains("Subject: Job 1 was accepted"), "{explained}");
    assert!(explained.says("fetchmlctl status"), "{explained}");
}
