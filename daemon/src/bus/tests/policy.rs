//! Profiles as clients see them.

use super::*;
use crate::engine::simulator::exited;
use fetchml_api::job::{FailureClass, JobId};
use fetchml_policies::{Answer, Difference, Document, Overview};
use serde_json::Value;

#[tokio::test]
async fn profiles_are_told_as_they_would_be_applied() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let lines: Vec<Overview> =
        serde_json::from_str(&manager.list_profiles().await.expect("listed")).expect("lines");
    let default: Vec<_> = lines.iter().filter(|l| l.default).map(|l| l.name.as_str()).collect();
    assert_eq!(default, ["default"]);
    let text = manager.get_profile("default").await.expect("told");
    let document: Document = serde_json::from_str(&text).expect("a document");
    let library = world.desk.engine.settings().library.clone();
    assert_eq!(document.profile, *library.profile("default").expect("it exists"));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["machine"]["layers"][0]["name"], "pretence");
    let (name, words) = refusal(manager.get_profile("defualt").await);
    assert_eq!(name, "NoSuchProfile");
    assert!(words.contains("did you mean default?"), "{words}");
}

/// Reads the policies again, with this one in them.
fn set_profile(world: &World, name: &str, text: &str) {
    let profiles = world.dir.path().join("policies/profiles");
    std::fs::create_dir_all(&profiles).expect("a directory");
    let text = format!("extends = \"default\"\ndescription = \"x\"\n{text}");
    std::fs::write(profiles.join(format!("{name}.toml")), text).expect("a file");
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.library = Arc::new(Library::load(&[world.dir.path().join("policies")]).expect("good"));
    world.desk.engine.set_settings(settings);
}

#[tokio::test]
async fn a_weaker_profile_needs_the_role_and_is_recorded() {
    if !rustix::process::geteuid().is_root() {
        // Profiles must belong to root.
        return;
    }
    let world = World::new(1).await;
    set_profile(&world, "raw", "allowed_caps = [\"CAP_NET_RAW\"]\n");
    let mut spec = command(&["true"]);
    spec.insert("profile", "raw".into());
    let member = world.manager(1000).await;
    let (name, words) = refusal(member.submit_job(spec, vec![]).await);
    assert_eq!(name, "PolicyDenied");
    assert!(words.contains("CAP_NET_RAW (allowed_caps)"), "{words}");
    assert_eq!(world.count(Event::PolicyDenied), 1);
    assert_eq!(world.count(Event::JobQueued), 0);
    let mut spec = command(&["true"]);
    spec.insert("profile", "raw".into());
    world.manager(0).await.submit_job(spec, vec![]).await.expect("root may");
    let log: String = world
        .desk
        .engine
        .ledger()
        .open_segments()
        .expect("segments")
        .into_iter()
        .map(|(_, segment)| read(segment))
        .collect();
    let queued = log.lines().find(|line| line.contains("job_queued")).expect("recorded");
    assert!(queued.contains("CAP_NET_RAW"), "{queued}");
}

#[tokio::test]
async fn what_a_profile_allows_is_explained() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let answer = manager.explain_profile("default", "call", "reboot").await.expect("told");
    let answer: Answer = serde_json::from_str(&answer).expect("an answer");
    assert_eq!(answer.explanation.verdict, fetchml_policies::explain::Verdict::Denied);
    assert!(answer.explanation.rule.is_some_and(|rule| !rule.reason.is_empty()));
    let (name, words) = refusal(manager.explain_profile("default", "call", "reboo").await);
    assert_eq!(name, "InvalidSpec");
    assert!(words.contains("did you mean reboot?"), "{words}");
    let (name, _) = refusal(manager.explain_profile("default", "delete", "/x").await);
    assert_eq!(name, "InvalidSpec");
    let same = manager.diff_profiles("default", "default").await.expect("told");
    assert_eq!(serde_json::from_str::<Vec<Difference>>(&same).expect("differences"), []);
}

#[tokio::test]
async fn a_profile_that_became_weaker_while_a_job_waited_is_not_taken_unasked() {
    if !rustix::process::geteuid().is_root() {
        // Profiles must belong to root.
        return;
    }
    let world = World::new(1).await;
    set_profile(&world, "lab", "");
    set_profile(&world, "raw", "allowed_caps = [\"CAP_NET_RAW\"]\n");
    let member = world.manager(1000).await;
    let first = submit(&member, &["sleep"]).await;
    let with = |profile: &'static str| {
        let mut spec = command(&["true"]);
        spec.insert("profile", profile.into());
        spec
    };
    let (waiting, _) = member.submit_job(with("lab"), vec![]).await.expect("accepted");
    let root = world.manager(0).await;
    let (granted, _) = root.submit_job(with("raw"), vec![]).await.expect("root may");
    set_profile(&world, "lab", "[calls.allow]\nmq_open = \"queues\"\n");
    // What was granted and what was not are told apart by another supervisor too.
    let library = world.desk.engine.settings().library.clone();
    let world = super::restart::restarted(world, 1).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.library = library;
    world.desk.engine.set_settings(settings);
    world.simulator.finish(JobId(first), exited(0));
    let member = world.manager(1000).await;
    let job = described(&member.wait_job(waiting).await.expect("over"));
    assert_eq!(job.report.expect("a report").failure, Some(FailureClass::PolicyDenied));
    assert!(job.reason.contains("allows mq_open (calls.allow)"), "{}", job.reason);
    let job = described(&world.manager(0).await.wait_job(granted).await.expect("over"));
    assert_eq!(job.report.expect("a report").failure, None, "{}", job.reason);
    assert_eq!(world.count(Event::PolicyDenied), 1);
    assert_eq!(world.simulator.started(), [JobId(first), JobId(granted)]);
}
