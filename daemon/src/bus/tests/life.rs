//! The life of a job as its owner sees it.

use super::*;
use crate::engine::simulator::exited;
use fetchml_api::job::{FailureClass, JobId, JobState};
use fetchml_api::proxy::JobProxy;
use futures_util::StreamExt;

#[tokio::test]
async fn a_job_runs_and_its_end_is_told() {
    let world = World::new(2).await;
    let manager = world.manager(1000).await;
    let id = submit(&manager, &["/usr/bin/true"]).await;
    until("it runs", || world.simulator.started() == [JobId(id)]).await;
    world.simulator.finish(JobId(id), exited(3));
    let job = described(&manager.wait_job(id).await.expect("over"));
    assert_eq!((job.state, job.uid, job.attempt), (JobState::Failed, 1000, 1));
    assert_eq!(job.reason, "exit code 3");
    assert_eq!(job.report.expect("a report").status, 3);
    assert_eq!(job.spec.name, "true");
    assert_eq!(job.host_uid, None, "host ids of jobs that are over are others' by now");
    let again = described(&manager.wait_job(id).await.expect("still over"));
    assert_eq!(again.state, JobState::Failed);
}

#[tokio::test]
async fn every_step_is_in_the_audit_log_before_it_happens() {
    let world = World::new(2).await;
    let manager = world.manager(1000).await;
    let ledger = world.desk.engine.ledger().clone();
    let (seen, mut starts) = tokio::sync::mpsc::unbounded_channel();
    world.simulator.watch_starts(move |job| {
        let log: String =
            ledger.open_segments().expect("segments").into_iter().map(|(_, s)| read(s)).collect();
        let recorded = log.lines().any(|line| {
            let record = Record::parse(line.as_bytes()).expect("a record");
            record.kind() == Some(Event::JobStarted) && record.job == Some(job.0)
        });
        let _ = seen.send(recorded);
    });
    let id = submit(&manager, &["true"]).await;
    assert_eq!(world.count(Event::JobQueued), 1, "accepted before it was recorded");
    manager.wait_job(id).await.expect("over");
    assert_eq!(starts.recv().await, Some(true), "executed before it was recorded");
    let of_job: Vec<_> =
        world.events().into_iter().filter(|(_, job)| *job == Some(id)).map(|(e, _)| e).collect();
    assert_eq!(of_job, [Event::JobQueued, Event::JobStarted, Event::JobCompleted]);
}

#[tokio::test]
async fn what_is_told_is_in_the_store() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut events = world.desk.engine.subscribe();
    let looker = Store::open(world.dir.path()).expect("a second look at the store");
    let id = submit(&manager, &["false"]).await;
    let mut told = Vec::new();
    while let Ok(event) = events.recv().await {
        let stored = looker.job(JobId(id)).await.expect("read").expect("there").state;
        let at_least = match event.what {
            crate::engine::Change::New => JobState::Queued,
            crate::engine::Change::State(state) | crate::engine::Change::Removed(state) => state,
        };
        let age = |state| JobState::ALL.iter().position(|s| *s == state);
        assert!(age(stored) >= age(at_least), "told {at_least}, stored {stored}");
        told.push(at_least);
        if matches!(event.what, crate::engine::Change::Removed(_)) {
            break;
        }
    }
    use JobState::{Failed, Queued, Running, Starting};
    assert_eq!(told, [Queued, Starting, Running, Failed, Failed]);
}

#[tokio::test]
async fn a_job_that_waits_says_why_and_starts_when_a_slot_is_free() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let first = submit(&manager, &["sleep"]).await;
    let second = submit(&manager, &["sleep"]).await;
    let third = submit(&manager, &["sleep"]).await;
    let waiting = described(&manager.describe_job(third).await.expect("there"));
    assert_eq!(waiting.state, JobState::Queued);
    assert_eq!(waiting.reason, "waits for a slot, 1 of 1 run; 1 job before it");
    assert_eq!(manager.jobs_running().await.expect("property"), 1);
    assert_eq!(manager.jobs_queued().await.expect("property"), 2);
    until("it runs", || world.simulator.started() == [JobId(first)]).await;
    world.simulator.finish(JobId(first), exited(0));
    until("the next one runs", || world.simulator.started().contains(&JobId(second))).await;
    assert!(!world.simulator.started().contains(&JobId(third)));
}

#[tokio::test]
async fn cancelling_ends_a_waiting_and_a_running_job() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["sleep"]).await;
    let waiting = submit(&manager, &["sleep"]).await;
    manager.cancel_job(waiting).await.expect("asked");
    let job = described(&manager.wait_job(waiting).await.expect("over"));
    assert_eq!((job.state, job.attempt), (JobState::Cancelled, 0));
    assert_eq!(job.report.expect("a report").status, 130);
    until("it runs", || !world.simulator.started().is_empty()).await;
    manager.cancel_job(running).await.expect("asked");
    let job = described(&manager.wait_job(running).await.expect("over"));
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(job.report.expect("a report").signal, Some(15));
    manager.cancel_job(running).await.expect("a job that is over stays as it is");
    assert_eq!(world.count(Event::JobCancelled), 2);
    assert_eq!(world.simulator.started(), [JobId(running)], "a cancelled job was started");
}

#[tokio::test]
async fn a_cancellation_at_any_moment_of_the_start_is_kept() {
    let world = World::new(4).await;
    let manager = world.manager(1000).await;
    for _ in 0..25 {
        let (id, _) = manager.submit_job(command(&["sleep"]), vec![]).await.expect("accepted");
        manager.cancel_job(id).await.expect("asked");
        let job = described(&manager.wait_job(id).await.expect("over"));
        assert_eq!(job.state, JobState::Cancelled);
    }
    assert_eq!(world.desk.engine.counts(), (0, 0), "slots leak");
}

#[tokio::test]
async fn a_start_that_fails_ends_the_job_and_frees_its_slot() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut once = command(&["broken"]);
    once.insert("retry", Variant::from(HashMap::from([("infrastructure", 0_u32)])));
    let (broken, _) = manager.submit_job(once, vec![]).await.expect("accepted");
    let job = described(&manager.wait_job(broken).await.expect("over"));
    let report = job.report.expect("a report");
    assert_eq!(report.failure, Some(FailureClass::Infrastructure));
    assert_eq!(report.status, 125);
    let good = submit(&manager, &["true"]).await;
    let job = described(&manager.wait_job(good).await.expect("over"));
    assert_eq!(job.state, JobState::Succeeded);
}

#[tokio::test]
async fn what_a_job_did_to_audited_data_is_recorded_before_its_end() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let id = submit(&manager, &["read"]).await;
    manager.wait_job(id).await.expect("over");
    let events: Vec<_> = world.events().into_iter().filter(|(_, job)| *job == Some(id)).collect();
    let kinds: Vec<_> = events.iter().map(|(kind, _)| *kind).collect();
    let expected = [
        Event::JobQueued,
        Event::JobStarted,
        Event::FileRead,
        Event::FileRead,
        Event::JobCompleted,
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn jobs_are_listed_and_described_newest_last() {
    let world = World::new(4).await;
    let manager = world.manager(1000).await;
    let over = submit(&manager, &["true"]).await;
    manager.wait_job(over).await.expect("over");
    let live = submit(&manager, &["sleep"]).await;
    let rows = manager.list_jobs(HashMap::new()).await.expect("listed");
    let ids: Vec<_> = rows.iter().map(|row| (row.0, row.7.as_str().to_owned())).collect();
    let path = format!("/org/fetchml/FetchML1/job/{live}");
    assert_eq!(ids, [(over, "/".to_owned()), (live, path)]);
    let filter = HashMap::from([("state", Variant::from("succeeded")), ("limit", 1u32.into())]);
    let rows = manager.list_jobs(filter).await.expect("listed");
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [over]);
    let json = manager.describe_jobs(HashMap::new()).await.expect("described");
    let all: Vec<JobDescription> = serde_json::from_str(&json).expect("descriptions");
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn a_live_job_is_an_object_and_signals_follow_it() {
    let world = World::new(1).await;
    let client = world.client(1000).await;
    let manager = ManagerProxy::new(&client).await.expect("proxy");
    let mut states = manager.receive_job_state_changed().await.expect("stream");
    let mut removed = manager.receive_job_removed().await.expect("stream");
    let (id, path) = manager.submit_job(command(&["sleep"]), vec![]).await.expect("accepted");
    assert_eq!(manager.get_job(id).await.expect("there"), path);
    let job = JobProxy::builder(&client)
        .path(path.clone())
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .expect("proxy");
    assert_eq!(job.id().await.expect("property"), id);
    assert_eq!(job.name().await.expect("property"), "sleep");
    assert_eq!(job.uid().await.expect("property"), 1000);
    for expected in ["starting", "running"] {
        let signal = states.next().await.expect("signal");
        assert_eq!(*signal.args().expect("args").state(), expected);
    }
    assert_eq!(job.state().await.expect("property"), "running");
    assert_eq!(described(&job.describe().await.expect("json")).id.0, id);
    assert_eq!(read(job.open_log().await.expect("log").into()), format!("Log of job {id}"));
    job.cancel().await.expect("asked");
    let signal = removed.next().await.expect("signal");
    let args = signal.args().expect("args");
    assert_eq!((*args.id(), args.job().as_str(), *args.result()), (id, path.as_str(), "cancelled"));
    until("the object is gone", || true).await;
    assert_eq!(refusal(manager.get_job(id).await).0, "NoSuchJob");
    assert!(job.state().await.is_err());
}

#[tokio::test]
async fn parts_of_a_job_come_as_descriptors() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let id = submit(&manager, &["true"]).await;
    manager.wait_job(id).await.expect("over");
    let log = manager.open_log(id).await.expect("log");
    assert_eq!(read(log.into()), format!("Log of job {id}"));
    let first = manager.open_attempt_log(id, 1).await.expect("log");
    assert_eq!(read(first.into()), format!("AttemptLog(1) of job {id}"));
    for none in [0, 2] {
        let error = manager.open_attempt_log(id, none).await.expect_err("there is one");
        assert!(error.to_string().contains("so far it has attempt 1"), "{error}");
    }
    let outputs = manager.open_outputs(id).await.expect("outputs");
    assert_eq!(read(outputs.into()), format!("Outputs of job {id}"));
    let work = manager.open_work(id).await.expect("work");
    assert_eq!(read(work.into()), format!("Work of job {id}"));
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_jobs_alone() {
    let world = World::new(1).await;
    let client = world.client(1000).await;
    let manager = ManagerProxy::new(&client).await.expect("proxy");
    let id = submit(&manager, &["sleep"]).await;
    drop(manager);
    client.close().await.expect("closed");
    until("it runs", || world.simulator.started() == [JobId(id)]).await;
    world.simulator.finish(JobId(id), exited(0));
    let job = described(&world.manager(1000).await.wait_job(id).await.expect("over"));
    assert_eq!(job.state, JobState::Succeeded);
}
