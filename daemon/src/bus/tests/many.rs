//! Arrays and changes to many jobs, over the bus.

use super::*;
use fetchml_api::job::{JobId, JobState};
use fetchml_api::names::MAX_IDS;
use serde_json::Value;

fn array_of(words: &[&str], array: &str) -> HashMap<&'static str, Variant<'static>> {
    let mut spec = command(words);
    spec.insert("array", array.to_owned().into());
    spec
}

fn sweep(given: &[(&str, &[&str])]) -> Variant<'static> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let given: Vec<(String, Vec<String>)> =
        given.iter().map(|&(name, values)| (name.to_owned(), owned(values))).collect();
    given.into()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn an_array_is_submitted_described_and_cancelled_as_one() {
    let world = World::new(2).await;
    let manager = world.manager(1000).await;
    submit(&manager, &["true"]).await;
    let spec = array_of(&["sleep", "{index}", "{{index}"], "1-9:2%3");
    let (array, count) = manager.submit_array(spec, vec![]).await.expect("accepted");
    assert_eq!((array, count), (2, 5));
    let job = described(&manager.describe_job(array + 1).await.expect("there"));
    assert_eq!(job.spec.command, ["sleep", "3", "{index}"]);
    assert_eq!(job.spec.name, "sleep[3]");
    let place = job.spec.queueing.array.expect("a place");
    assert_eq!((place.array.0, place.index, place.count, place.at_once), (2, 3, 5, 3));

    until("two run", || world.simulator.started().len() == 3).await;
    let told = json(&manager.describe_array(array).await.expect("there"));
    assert_eq!(told["states"], serde_json::json!({"queued": 3, "running": 2}));
    assert_eq!((&told["count"], &told["at_once"]), (&5.into(), &3.into()));

    let stranger = world.manager(1001).await;
    assert_eq!(refusal(stranger.describe_array(array).await).0, "NoSuchJob");
    assert_eq!(refusal(stranger.cancel_array(array).await).0, "NoSuchJob");
    assert_eq!(manager.cancel_array(array).await.expect("asked"), 5);
    for id in array..array + count {
        let job = described(&manager.wait_job(id).await.expect("over"));
        assert_eq!(job.state, JobState::Cancelled, "{id}");
    }
    assert_eq!(manager.cancel_array(array).await.expect("asked"), 0);
    let (name, words) = refusal(manager.cancel_array(1).await);
    assert_eq!((name.as_str(), words.contains("job 1 is no array")), ("InvalidSpec", true));
    let words = refusal(manager.cancel_array(3).await).1;
    assert!(words.contains("job 3 is one of array 2"), "{words}");
}

#[tokio::test]
async fn an_array_says_why_its_jobs_wait_when_one_thing_keeps_them() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let (array, _) = manager.submit_array(array_of(&["sleep"], "1-3"), vec![]).await.expect("ok");
    until("the first runs", || world.simulator.started() == [JobId(array)]).await;
    let reason =
        async || json(&manager.describe_array(array).await.expect("there"))["reason"].clone();
    assert_eq!(reason().await, "waits for a slot, 1 of 1 run; no job before it");
    manager.hold_jobs(&[array + 2]).await.expect("told");
    assert_eq!(reason().await, Value::Null, "one waits, one is held");
    manager.hold_jobs(&[array + 1]).await.expect("told");
    assert_eq!(reason().await, "held: release it to let it start");
    manager.cancel_array(array).await.expect("asked");
    for id in array..array + 3 {
        manager.wait_job(id).await.expect("over");
    }
    assert_eq!(reason().await, Value::Null, "none waits");
}

#[tokio::test]
async fn a_sweep_gives_each_job_its_values() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut spec = array_of(&["train", "--lr={lr}"], "%1");
    spec.insert("sweep", sweep(&[("lr", &["0.1", "0.01"]), ("seed", &["1", "2"])]));
    spec.insert("name", "night".into());
    let (array, count) = manager.submit_array(spec, vec![]).await.expect("accepted");
    assert_eq!(count, 4);
    let job = described(&manager.describe_job(array + 2).await.expect("there")).spec;
    assert_eq!((job.name.as_str(), job.command[1].as_str()), ("night[3]", "--lr=0.01"));
    assert_eq!((job.env["lr"].as_str(), job.env["seed"].as_str()), ("0.01", "1"));
}

#[tokio::test]
async fn arrays_that_cannot_be_are_refused_and_nothing_is_made() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let env = HashMap::from([("lr".to_owned(), "1".to_owned())]);
    let long: String = "x".repeat(2000);
    let cases: Vec<(Vec<(&str, Variant<'static>)>, &str)> = vec![
        (vec![], "the array has no jobs"),
        (vec![("array", "1-1000000".into())], "has 1000000 jobs, the most is 100000"),
        (vec![("array", 5u32.into())], "array has the type u: it must be s"),
        (vec![("array", "3,3".into())], "the index 3 twice"),
        (vec![("sweep", "lr".into())], "sweep has the type s: it must be a(sas)"),
        (vec![("sweep", sweep(&[("lr", &[])]))], "gives lr no value"),
        (vec![("sweep", sweep(&[("lr", &["1"])])), ("env", env.into())], "both set lr"),
        (vec![("array", "1-2".into()), ("priority", 1i32.into())], "priority 1 is above 0"),
        (vec![("array", "1-2".into()), ("comand", 1i32.into())], "unknown key \"comand\""),
        (vec![("array", "1-99999".into()), ("name", long.into())], "name has 2000 characters"),
        (
            vec![
                ("array", "1-99999".into()),
                ("command", vec!["echo".to_owned(), "x".repeat(1000)].into()),
            ],
            "more than 67108864 bytes together",
        ),
        (
            vec![
                ("sweep", sweep(&[("v", &["x".repeat(1000).as_str()])])),
                ("command", vec!["echo".to_owned(), "{v}".repeat(132)].into()),
            ],
            "argument 1 of command has 132000 bytes",
        ),
    ];
    for (keys, part) in cases {
        let mut spec = command(&["true"]);
        spec.extend(keys);
        let (_, words) = refusal(manager.submit_array(spec, vec![]).await);
        assert!(words.contains(part), "{words:?} should say {part:?}");
    }
    assert!(manager.list_jobs(HashMap::new()).await.expect("list").is_empty());
}

#[tokio::test]
async fn of_many_changes_each_is_told_of() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["sleep"]).await;
    until("it runs", || world.simulator.started() == [JobId(running)]).await;
    let waiting = submit(&manager, &["sleep"]).await;
    let foreign = submit(&world.manager(1001).await, &["sleep"]).await;

    let failures = manager.hold_jobs(&[running, waiting, foreign, 99]).await.expect("told");
    assert_eq!(failures.len(), 3, "{failures:?}");
    let named = |id| failures.get(&id).map(|(name, _)| name.as_str()).unwrap_or_default();
    assert_eq!(named(running), "org.fetchml.FetchML1.InvalidSpec");
    assert_eq!(named(99), "org.fetchml.FetchML1.NoSuchJob");
    assert_eq!(failures.get(&foreign).map(|(_, words)| words.as_str()), Some("there is no job 3"));
    assert_eq!(named(foreign), named(99), "a foreign job is no job");
    assert!(described(&manager.describe_job(waiting).await.expect("there")).held);

    assert!(manager.set_priority(&[waiting], -7).await.expect("told").is_empty());
    assert!(manager.release_jobs(&[waiting]).await.expect("told").is_empty());
    let job = described(&manager.describe_job(waiting).await.expect("there"));
    assert_eq!((job.held, job.spec.queueing.priority), (false, -7));
    assert_eq!(refusal(manager.set_priority(&[waiting], 1).await).0, "PolicyDenied");
    assert_eq!(refusal(manager.set_priority(&[waiting], 1001).await).0, "InvalidSpec");
    let root = world.manager(0).await;
    assert!(root.set_priority(&[waiting, foreign], 1000).await.expect("told").is_empty());
    let many: Vec<u64> = (0..=MAX_IDS as u64).collect();
    let (name, words) = refusal(manager.hold_jobs(&many).await);
    assert_eq!(name, "InvalidSpec");
    assert!(words.contains("1001 jobs in one call"), "{words}");

    let analyst = ManagerProxy::new(&world.member(5000, ANALYSTS).await).await.expect("proxy");
    let failures = analyst.hold_jobs(&[waiting]).await.expect("told");
    assert_eq!(failures[&waiting].0, "org.fetchml.FetchML1.PolicyDenied");
    assert!(!described(&manager.describe_job(waiting).await.expect("there")).held);
}

#[tokio::test]
async fn the_dead_are_listed_put_back_and_dropped() {
    let world = World::new(2).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.retry.first_pause = Duration::from_millis(2);
    world.desk.engine.set_settings(settings);
    let manager = world.manager(1000).await;
    let mut spec = command(&["false"]);
    spec.insert("retry", HashMap::from([("user-error", 1u32)]).into());
    let (id, _) = manager.submit_job(spec, vec![]).await.expect("accepted");
    manager.wait_job(id).await.expect("over");
    let dead = json(&manager.list_dead(HashMap::new()).await.expect("list"));
    assert_eq!((dead.as_array().map(Vec::len), &dead[0]["id"]), (Some(1), &id.into()));
    let attempts = json(&manager.list_attempts(id).await.expect("attempts"));
    assert_eq!(attempts.as_array().map(Vec::len), Some(2));
    assert_eq!(attempts[1]["report"]["failure"], "user-error");

    let stranger = world.manager(1001).await;
    assert_eq!(stranger.list_dead(HashMap::new()).await.expect("list"), "[]");
    assert_eq!(refusal(stranger.list_attempts(id).await).0, "NoSuchJob");
    assert_eq!(stranger.drop_dead(&[id]).await.expect("told").len(), 1);

    assert!(manager.requeue_dead(&[id]).await.expect("told").is_empty());
    let job = described(&manager.wait_job(id).await.expect("over"));
    assert_eq!((job.attempt, job.dead), (4, true));
    assert!(manager.drop_dead(&[id]).await.expect("told").is_empty());
    assert_eq!(manager.list_dead(HashMap::new()).await.expect("list"), "[]");
    assert_eq!(manager.requeue_dead(&[id]).await.expect("told").len(), 1, "it is gone");
}

#[tokio::test]
async fn the_dead_are_not_put_back_beyond_what_may_wait() {
    let world = World::new(1).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.jobs.max_queued_per_user = 1;
    settings.config.retry.first_pause = Duration::from_millis(2);
    world.desk.engine.set_settings(settings);
    let manager = world.manager(1000).await;
    let mut spec = command(&["false"]);
    spec.insert("retry", HashMap::from([("user-error", 1u32)]).into());
    let (dead, _) = manager.submit_job(spec, vec![]).await.expect("accepted");
    manager.wait_job(dead).await.expect("over");
    let mut held = command(&["true"]);
    held.insert("hold", Variant::from(true));
    let (waiting, _) = manager.submit_job(held, vec![]).await.expect("accepted");
    let failures = manager.requeue_dead(&[dead]).await.expect("told");
    let (name, words) = &failures[&dead];
    assert_eq!(name, "org.fetchml.FetchML1.PolicyDenied");
    assert!(words.contains("you have 1 jobs waiting"), "{words}");
    assert_eq!(json(&manager.list_dead(HashMap::new()).await.expect("list"))[0]["id"], dead);
    manager.cancel_job(waiting).await.expect("cancelled");
    assert!(manager.requeue_dead(&[dead]).await.expect("told").is_empty());
}

#[tokio::test]
async fn the_queue_shows_what_is_taken_and_only_users_in_sight() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    submit(&manager, &["sleep"]).await;
    submit(&world.manager(1001).await, &["sleep"]).await;
    let queue = json(&manager.describe_queue().await.expect("told"));
    assert_eq!((&queue["running"], &queue["queued"]), (&1.into(), &1.into()));
    assert_eq!(queue["users"].as_array().map(Vec::len), Some(1), "{queue}");
    assert_eq!(queue["users"][0]["uid"], 1000);
    let analyst = ManagerProxy::new(&world.member(5000, ANALYSTS).await).await.expect("proxy");
    let queue = json(&analyst.describe_queue().await.expect("told"));
    assert_eq!(queue["users"].as_array().map(Vec::len), Some(2), "{queue}");
}

#[tokio::test]
async fn operators_hold_every_start_and_end_the_supervisor() {
    let world = World::new(2).await;
    let (member, root) = (world.manager(1000).await, world.manager(0).await);
    assert_eq!(refusal(member.drain(true).await).0, "PolicyDenied");
    assert_eq!(refusal(member.shutdown(true).await).0, "PolicyDenied");
    let running = submit(&member, &["sleep"]).await;
    until("it runs", || world.simulator.started() == [JobId(running)]).await;
    root.drain(true).await.expect("drained");
    let waiting = submit(&member, &["true"]).await;
    assert_eq!(json(&member.describe_queue().await.expect("told"))["draining"], true);
    root.drain(false).await.expect("ended");
    member.wait_job(waiting).await.expect("it started");

    root.shutdown(true).await.expect("ends");
    let job = described(&member.describe_job(running).await.expect("there"));
    assert_eq!(job.state, JobState::Cancelled, "it was over before the answer");
    world.desk.end.notified().await;
}
