//! The audit log through the bus: who reads it stands in it, and what was read proves
//! itself.

use super::*;
use fetchml_api::audit::{Checkpoints, Event, Known, Note, Verdict};
use fetchml_api::proxy::AuditProxy;

async fn audit(world: &World, uid: u32) -> AuditProxy<'static> {
    AuditProxy::new(&world.client(uid).await).await.expect("proxy")
}

/// All files, as a client asks for them.
async fn files(audit: &AuditProxy<'_>) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    loop {
        let last = files.last().map_or("", |(name, _)| name).to_owned();
        let more = audit.open_files(&last).await.expect("files");
        if more.is_empty() {
            return files;
        }
        files.extend(more.into_iter().map(|(name, fd)| (name, read(fd.into()))));
    }
}

#[tokio::test]
async fn root_reads_a_log_that_proves_itself_and_says_who_read_it() {
    let world = World::new(1).await;
    let audit = audit(&world, 0).await;
    // By then it is in the log who was let in, for which nobody waited.
    audit.checkpoint().await.expect("a checkpoint");
    let head = audit.head().await.expect("head");
    let note = audit.checkpoint().await.expect("a checkpoint");
    assert_eq!(Note::read(&note).expect("a note").checkpoint.size, head.0);
    let keys = audit.public_keys().await.expect("keys");
    let keys: Vec<_> = keys.iter().map(|key| key.parse().expect("a key")).collect();
    let mut checkpoints = Checkpoints::new(Known { keys, live: true, ..Known::default() });
    let files = files(&audit).await;
    assert_eq!(files.len(), 2, "a segment and its checkpoints");
    let (mut records, mut readers) = (String::new(), 0);
    for (name, text) in files {
        match name.ends_with(".notes") {
            true => checkpoints.read(&name, text.as_bytes()),
            false => records += &text,
        }
        readers += text.matches("\"event\":\"audit_read\"").count();
    }
    assert_eq!(readers, 1, "in it before it was read, and once");
    let mut examination = checkpoints.examine(records.as_bytes());
    examination.feed(records.as_bytes());
    assert_eq!(examination.finish().verdict, Verdict::Intact);
    audit.report_verification(0, "every record is there").await.expect("recorded");
    assert_eq!(world.count(Event::AuditVerified), 1);
    let nonsense = refusal(audit.report_verification(9, "x").await);
    assert_eq!(nonsense.0, "InvalidSpec", "{nonsense:?}");
}

#[tokio::test]
async fn others_have_the_public_key_alone() {
    let world = World::new(1).await;
    let audit = audit(&world, 1000).await;
    assert_eq!(audit.public_keys().await.expect("public").len(), 1);
    let before = world.count(Event::PolicyDenied);
    assert_eq!(refusal(audit.open_files("").await).0, "PolicyDenied");
    assert_eq!(refusal(audit.checkpoint().await).0, "PolicyDenied");
    assert_eq!(refusal(audit.report_verification(0, "x").await).0, "PolicyDenied");
    assert!(world.count(Event::PolicyDenied) > before);
    assert_eq!(world.count(Event::AuditRead) + world.count(Event::AuditVerified), 0);
}

#[tokio::test]
async fn what_operators_do_to_the_queue_is_recorded() {
    let world = World::new(1).await;
    let root = world.manager(0).await;
    root.drain(true).await.expect("drained");
    let waiting = submit(&world.manager(1000).await, &["true"]).await;
    assert!(root.hold_jobs(&[waiting]).await.expect("held").is_empty());
    assert!(root.set_priority(&[waiting], 5).await.expect("moved").is_empty());
    root.drain(false).await.expect("ended");
    root.shutdown(false).await.expect("stops");
    let counts = [Event::QueueDrained, Event::JobChanged, Event::DaemonStopped];
    assert_eq!(counts.map(|event| world.count(event)), [2, 2, 1]);
}

#[tokio::test]
async fn a_secret_that_is_given_in_two_ways_is_recorded_once() {
    let world = World::new(1).await;
    let holders = ["user:daemon".to_owned()];
    for (name, value) in [("hf-token", b"s3cret-1"), ("api-key", b"s3cret-2")] {
        let value = zeroize::Zeroizing::new(value.to_vec());
        world.desk.engine.vault().add(name, &holders, &value, 1).expect("it is new");
    }
    let manager = world.manager(1).await;
    let mut spec = command(&["true"]);
    let words = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    spec.insert("secrets", words(&["hf-token", "api-key"]).into());
    let variables = HashMap::from([("HF_TOKEN".to_owned(), "hf-token".to_owned())]);
    spec.insert("secret-env", variables.into());
    let (id, _) = manager.submit_job(spec, vec![]).await.expect("accepted");
    manager.wait_job(id).await.expect("over");
    let segments = world.desk.engine.ledger().open_segments().expect("segments");
    let log: String = segments.into_iter().map(|(_, segment)| read(segment)).collect();
    assert!(log.contains("\"secrets\":\"api-key,hf-token\""), "{log}");
}
