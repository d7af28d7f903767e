//! Order, dependencies, further tries, arrays: the queue through the engine, with the
//! real store and the real audit log.

use super::*;
use crate::engine::launcher::Part;
use crate::engine::simulator::exited;
use crate::engine::{EngineError, MOST_SHOWN, Scope};
use fetchml_api::job::{FailureClass, JobId, JobSpec, JobState};
use fetchml_api::names::job_path;
use fetchml_api::proxy::JobProxy;
use fetchml_api::queueing::{ArrayPlace, Condition, Dependency, Queueing};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use zbus::ObjectPath;

fn caller(uid: u32) -> Arc<Caller> {
    Arc::new(Caller::for_test(uid, &[GROUP], Transport::Peer))
}

fn spec(word: &str, queueing: Queueing) -> JobSpec {
    JobSpec { queueing, ..JobSpec::plain(vec![word.to_owned()]) }
}

fn after(job: JobId, condition: Condition) -> Queueing {
    Queueing { after: vec![Dependency { job, condition }], ..Queueing::default() }
}

async fn submit(world: &World, spec: JobSpec) -> JobId {
    world.desk.engine.submit(caller(1000), spec, Vec::new(), Vec::new()).await.expect("accepted")
}

async fn over(world: &World, job: JobId) -> fetchml_api::job::JobDescription {
    world.desk.engine.wait(Scope::All, job).await.expect("over")
}

/// A world whose pauses are short, with this many further tries after a loss.
async fn impatient(tries: u32) -> World {
    let world = World::new(2).await;
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.retry.first_pause = Duration::from_millis(2);
    settings.config.retry.tries = BTreeMap::from([(FailureClass::Infrastructure, tries)]);
    world.desk.engine.set_settings(settings);
    world
}

#[tokio::test]
async fn what_is_not_the_jobs_doing_is_tried_again_and_then_goes_to_the_dead() {
    let world = impatient(2).await;
    let id = submit(&world, spec("broken", Queueing::default())).await;
    let job = over(&world, id).await;
    assert_eq!((job.state, job.attempt, job.dead), (JobState::Failed, 3, true));
    assert_eq!(world.count(Event::JobRetried), 2);
    let attempts = world.desk.engine.attempts(Scope::All, id).await.expect("attempts");
    let ends: Vec<_> = attempts.iter().map(|a| (a.number, a.state)).collect();
    assert_eq!(ends, [(1, JobState::Failed), (2, JobState::Failed), (3, JobState::Failed)]);
    assert_eq!(attempts[0].report.as_ref().expect("its own").summary, "did not run: clone: EAGAIN");

    world.desk.engine.requeue_dead(&caller(1000), id).await.expect("put back");
    let again = over(&world, id).await;
    assert_eq!((again.attempt, again.dead), (6, true), "it has all its tries again");
    world.desk.engine.drop_dead(&caller(1000), id).await.expect("dropped");
    assert!(!over(&world, id).await.dead);
    let twice = world.desk.engine.drop_dead(&caller(1000), id).await.expect_err("it is gone");
    assert_eq!(twice.to_string(), format!("job {id} is not in the dead-letter list"));
}

#[tokio::test]
async fn of_many_who_put_a_dead_job_back_at_once_one_does() {
    let world = impatient(0).await;
    let policy = BTreeMap::from([(FailureClass::Infrastructure, 1)]);
    let queueing = Queueing { retry: policy, ..Queueing::default() };
    let id = submit(&world, spec("broken", queueing)).await;
    assert!(over(&world, id).await.dead);
    let engine = &world.desk.engine;
    let asker = caller(1000);
    let mut calls: Vec<_> = (0..10).map(|_| engine.requeue_dead(&asker, id).boxed()).collect();
    calls.push(engine.drop_dead(&asker, id).boxed());
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let again = over(&world, id).await;
    assert_eq!((again.attempt, again.dead), (4, true), "two tries once, and two again");
    engine.drop_dead(&asker, id).await.expect("nobody has a claim any more");
}

#[tokio::test]
async fn a_program_that_fails_is_not_run_again_unless_its_user_says_so() {
    let world = impatient(2).await;
    let id = submit(&world, spec("false", Queueing::default())).await;
    let job = over(&world, id).await;
    assert_eq!((job.state, job.attempt, job.dead), (JobState::Failed, 1, false));
    let retry = BTreeMap::from([(FailureClass::UserError, 1)]);
    let id = submit(&world, spec("false", Queueing { retry, ..Queueing::default() })).await;
    let job = over(&world, id).await;
    assert_eq!((job.attempt, job.dead), (2, true));
}

#[tokio::test]
async fn a_job_between_two_tries_says_so_and_can_be_cancelled() {
    let world = World::new(2).await;
    let id = submit(&world, spec("broken", Queueing::default())).await;
    let engine = world.desk.engine.clone();
    until("it waits for its second try", || world.count(Event::JobRetried) == 1).await;
    until("it is in line again", || engine.counts() == (0, 1)).await;
    let job = engine.describe(Scope::All, id).await.expect("described");
    assert_eq!(job.state, JobState::Queued);
    assert_eq!(
        job.reason,
        "failed, and is tried again after a pause; it did not run: clone: EAGAIN"
    );
    assert!(job.not_before_usec.is_some());
    engine.cancel(&caller(1000), id).await.expect("cancelled");
    let job = over(&world, id).await;
    assert_eq!((job.state, job.attempt), (JobState::Cancelled, 1));
    let attempts = engine.attempts(Scope::All, id).await.expect("attempts");
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].state, JobState::Failed, "the attempt stays what it was");
}

#[tokio::test]
async fn jobs_behind_one_that_fails_fail_with_it_down_the_line() {
    let world = World::new(4).await;
    let first = submit(&world, spec("work", Queueing::default())).await;
    let second = submit(&world, spec("true", after(first, Condition::Ok))).await;
    let third = submit(&world, spec("true", after(second, Condition::Ok))).await;
    let anyway = submit(&world, spec("true", after(first, Condition::Any))).await;
    until("the first runs", || world.simulator.started() == [first]).await;
    world.simulator.finish(first, exited(3));
    assert_eq!(over(&world, anyway).await.state, JobState::Succeeded);
    for (job, behind) in [(second, first), (third, second)] {
        let job = over(&world, job).await;
        let report = job.report.expect("a report");
        assert_eq!(report.failure, Some(FailureClass::Dependency));
        let words = format!(
            "did not run: it was to start after success of job {behind}, which did not succeed"
        );
        assert_eq!(report.summary, words);
    }
    assert_eq!(world.simulator.started(), [first, anyway]);
}

#[tokio::test]
async fn dependencies_that_cannot_be_are_refused() {
    let world = World::new(4).await;
    let failed = submit(&world, spec("false", Queueing::default())).await;
    over(&world, failed).await;
    let engine = &world.desk.engine;
    let refused = engine
        .submit(caller(1000), spec("true", after(failed, Condition::Ok)), Vec::new(), Vec::new())
        .await
        .expect_err("it would never start");
    assert!(refused.to_string().starts_with("job 1 is over and failed"), "{refused}");
    let unknown = after(JobId(77), Condition::Any);
    let refused = engine.submit(caller(1000), spec("true", unknown), Vec::new(), Vec::new()).await;
    assert!(matches!(refused, Err(EngineError::NoSuchJob(JobId(77)))));
    let foreign = after(failed, Condition::Any);
    let refused = engine.submit(caller(1001), spec("true", foreign), Vec::new(), Vec::new()).await;
    assert!(matches!(refused, Err(EngineError::NoSuchJob(_))), "a foreign job is no job");
    let done = submit(&world, spec("true", after(failed, Condition::Any))).await;
    assert_eq!(over(&world, done).await.state, JobState::Succeeded);
}

#[tokio::test]
async fn an_array_is_accepted_whole_and_knows_its_number() {
    let world = World::new(8).await;
    let place = |index| ArrayPlace { array: JobId(0), index, count: 3, at_once: 1 };
    let specs = (0..3)
        .map(|n| spec("work", Queueing { array: Some(place(n)), ..Queueing::default() }))
        .collect();
    submit(&world, spec("true", Queueing::default())).await;
    let engine = &world.desk.engine;
    let ids =
        engine.submit_array(caller(1000), specs, Vec::new(), Vec::new()).await.expect("accepted");
    assert_eq!(ids, [JobId(2), JobId(3), JobId(4)]);
    until("the first runs", || world.simulator.started().contains(&JobId(2))).await;
    let second = engine.describe(Scope::All, JobId(3)).await.expect("described");
    assert_eq!(second.reason, "waits for its array: 1 of at most 1 run");
    assert_eq!(second.spec.queueing.array.map(|place| place.array), Some(JobId(2)));
    world.simulator.finish(JobId(2), exited(0));
    until("the second runs", || world.simulator.started().contains(&JobId(3))).await;
    assert_eq!(world.count(Event::JobQueued), 2, "one record for all of the array");
    let many = vec![spec("true", Queueing::default()); 100_001];
    let refused = engine
        .submit_array(caller(1000), many, Vec::new(), Vec::new())
        .await
        .expect_err("too many");
    assert!(refused.to_string().contains("the most is 100000"), "{refused}");
}

#[tokio::test]
async fn a_held_job_starts_when_it_is_released() {
    let world = World::new(2).await;
    let id = submit(&world, spec("true", Queueing { held: true, ..Queueing::default() })).await;
    let engine = &world.desk.engine;
    let job = engine.describe(Scope::All, id).await.expect("described");
    assert!(job.held);
    assert_eq!(job.reason, "held: release it to let it start");
    engine.set_priority(&caller(1000), id, 7).await.expect("it waits");
    assert_eq!(engine.describe(Scope::All, id).await.expect("described").spec.queueing.priority, 7);
    engine.release(&caller(1000), id).await.expect("it waits");
    assert_eq!(over(&world, id).await.state, JobState::Succeeded);
    let late = engine.hold(&caller(1000), id).await.expect_err("it is over");
    assert_eq!(late.to_string(), format!("job {id} is over: only a job that waits can be changed"));
}

#[tokio::test]
async fn in_a_drained_queue_nobody_waits_for_a_turn() {
    let world = World::new(4).await;
    let engine = world.desk.engine.clone();
    engine.drain(true);
    let held = submit(&world, spec("true", Queueing { held: true, ..Queueing::default() })).await;
    let waits = submit(&world, spec("true", Queueing::default())).await;
    let behind = submit(&world, spec("true", after(waits, Condition::Any))).await;
    let reason = async |id| engine.describe(Scope::All, id).await.expect("described").reason;
    let drained = "the queue is drained: nothing starts until `drain --end` or the next supervisor";
    assert_eq!(reason(waits).await, drained);
    assert_eq!(engine.why_all(&[waits]).map(|why| why.to_string()).as_deref(), Some(drained));
    assert_eq!(reason(held).await, "held: release it to let it start");
    assert_eq!(reason(behind).await, format!("starts after job {waits}"));
    engine.drain(false);
    assert_eq!(over(&world, behind).await.state, JobState::Succeeded);
}

#[tokio::test]
async fn tries_and_holds_survive_the_supervisor() {
    let world = World::new(2).await;
    let held = submit(&world, spec("true", Queueing { held: true, ..Queueing::default() })).await;
    let behind = submit(&world, spec("true", after(held, Condition::Ok))).await;
    let broken = submit(&world, spec("broken", Queueing::default())).await;
    let engine = world.desk.engine.clone();
    until("it waits for its second try", || engine.counts() == (0, 3)).await;
    engine.close();
    let audit = open_audit(&world.dir.path().join("second"));
    let later = World::with(world.dir.clone(), 2, world.simulator.clone(), audit).await;
    let job = |id| later.desk.engine.describe(Scope::All, id);
    assert!(job(held).await.expect("there").held);
    assert_eq!(
        job(behind).await.expect("there").reason,
        format!("starts after success of job {held}")
    );
    let broken = job(broken).await.expect("there");
    assert!(broken.not_before_usec.is_some() && broken.attempt == 1);
    later.desk.engine.release(&caller(1000), held).await.expect("it waits");
    assert_eq!(over(&later, behind).await.state, JobState::Succeeded);
}

#[tokio::test]
async fn of_many_that_wait_little_is_in_memory_and_no_more_are_objects() {
    let world = World::new(1).await;
    let engine = &world.desk.engine;
    let held = || spec("true", Queueing { held: true, ..Queueing::default() });
    let ids = engine
        .submit_array(caller(1000), vec![held(); 1500], Vec::new(), Vec::new())
        .await
        .expect("accepted");
    let shown = async |uid| engine.shown(Scope::Own(uid), MOST_SHOWN).await.expect("shown");
    assert_eq!(shown(1000).await.len(), 1000);
    assert!(shown(1001).await.is_empty());
    let manager = world.manager(1000).await;
    let last = ids.last().expect("many").0;
    assert!(manager.get_job(last).await.is_ok(), "one that is asked for becomes an object");
}

#[tokio::test]
async fn an_object_that_a_caller_is_told_of_is_there() {
    let world = World::new(1).await;
    let held = spec("true", Queueing { held: true, ..Queueing::default() });
    let jobs = vec![held; 300];
    let engine = &world.desk.engine;
    let ids = engine.submit_array(caller(1000), jobs, Vec::new(), Vec::new()).await;
    let ids = ids.expect("accepted");
    let state = async |client: &Connection, path: ObjectPath<'_>| {
        let job = JobProxy::builder(client).path(path.to_owned()).build();
        job.await.expect("proxy").state().await
    };
    let client = world.client(1000).await;
    for id in [ids[0], ids[99]] {
        let path = job_path(id);
        let path = ObjectPath::try_from(path.as_str()).expect("a path");
        assert_eq!(state(&client, path).await.expect("there from the beginning"), "queued");
    }
    let manager = ManagerProxy::new(&client).await.expect("proxy");
    let rows = manager.list_jobs(HashMap::new()).await.expect("listed");
    let newest = rows.last().expect("many");
    assert_eq!(newest.0, ids[299].0);
    assert_eq!(state(&client, newest.7.as_ref()).await.expect("told of"), "queued");

    let another = world.client(1000).await;
    let managed = super::privacy::managed(&another).await;
    let jobs = managed.keys().filter(|path| path.contains("/job/"));
    assert_eq!(jobs.count(), 300);
    let path = job_path(ids[200]);
    let path = ObjectPath::try_from(path.as_str()).expect("a path");
    assert_eq!(state(&another, path).await.expect("told of"), "queued");
}

#[tokio::test]
async fn old_jobs_are_forgotten_with_their_files_when_the_site_says_so() {
    let world = World::new(2).await;
    let id = submit(&world, spec("true", Queueing::default())).await;
    over(&world, id).await;
    let engine = &world.desk.engine;
    assert_eq!(engine.prune().await.expect("pruned"), 0, "everything is kept by default");
    let mut settings = (*engine.settings()).clone();
    settings.config.store.keep = Some(Duration::ZERO);
    engine.set_settings(settings);
    let waits = submit(&world, spec("true", Queueing { held: true, ..Queueing::default() })).await;
    assert_eq!(engine.prune().await.expect("pruned"), 1);
    assert_eq!(*world.simulator.deleted.lock().expect("not poisoned"), [id]);
    assert!(matches!(engine.describe(Scope::All, id).await, Err(EngineError::NoSuchJob(_))));
    assert!(engine.describe(Scope::All, waits).await.is_ok());
    assert_eq!(world.count(Event::FileDelete), 1);
}

#[tokio::test]
async fn a_job_that_has_not_started_is_said_to_have_written_nothing_yet() {
    let world = World::new(2).await;
    let id = submit(&world, spec("late", Queueing { held: true, ..Queueing::default() })).await;
    let engine = &world.desk.engine;
    let told = engine.open(Scope::All, id, Part::Outputs).await.expect_err("nothing is there");
    let words = "has not started: it has written nothing yet";
    assert_eq!(told.to_string(), format!("job {id} {words}"));
    engine.cancel(&caller(1000), id).await.expect("cancelled");
    over(&world, id).await;
    let told = engine.open(Scope::All, id, Part::Work).await.expect_err("nothing is there");
    assert_eq!(told.to_string(), format!("job {id} never started: it has written nothing"));
}
