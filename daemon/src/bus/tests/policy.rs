//! Profiles as clients see them.

use super::*;
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

#[tokio::test]
async fn a_weaker_profile_needs_the_role_and_is_recorded() {
    if !rustix::process::geteuid().is_root() {
        // Profiles must belong to root.
        return;
    }
    let world = World::new(1).await;
    let profiles = world.dir.path().join("policies/profiles");
    std::fs::create_dir_all(&profiles).expect("a directory");
    let text = "extends = \"default\"\ndescription = \"pings\"\nallowed_caps = [\"CAP_NET_RAW\"]\n";
    std::fs::write(profiles.join("raw.toml"), text).expect("a file");
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.library = Arc::new(Library::load(&[world.dir.path().join("policies")]).expect("good"));
    world.desk.engine.set_settings(settings);
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
