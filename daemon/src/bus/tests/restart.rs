//! A supervisor goes away and another takes its place.

use super::*;
use crate::engine::simulator::exited;
use fetchml_api::job::{FailureClass, JobId, JobState};

pub(super) async fn restarted(world: World, max_running: usize) -> World {
    let World { dir, desk, simulator } = world;
    desk.engine.close();
    let ledger = desk.engine.ledger().clone();
    drop(desk);
    World::with(dir, max_running, simulator, ledger).await
}

#[tokio::test]
async fn running_jobs_are_adopted_and_waiting_ones_wait_again() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["sleep"]).await;
    let waiting = submit(&manager, &["sleep"]).await;
    until("it runs", || world.simulator.started() == [JobId(running)]).await;

    let world = restarted(world, 1).await;
    let manager = world.manager(1000).await;
    let job = described(&manager.describe_job(running).await.expect("there"));
    assert_eq!(job.state, JobState::Running);
    let job = described(&manager.describe_job(waiting).await.expect("there"));
    assert_eq!(job.state, JobState::Queued);
    world.simulator.finish(JobId(running), exited(7));
    let job = described(&manager.wait_job(running).await.expect("over"));
    assert_eq!(job.report.expect("a report").exit_code, Some(7));
    until("it runs", || world.simulator.started().contains(&JobId(waiting))).await;
    manager.cancel_job(waiting).await.expect("asked");
    let job = described(&manager.wait_job(waiting).await.expect("over"));
    assert_eq!(job.state, JobState::Cancelled);
    assert!(submit(&manager, &["true"]).await > waiting, "numbers go on");
}

#[tokio::test]
async fn nothing_starts_before_all_that_runs_is_known() {
    let world = World::new(2).await;
    let manager = world.manager(1000).await;
    let lost = submit(&manager, &["sleep"]).await;
    let running = submit(&manager, &["sleep"]).await;
    for job in [lost, running] {
        while described(&manager.describe_job(job).await.expect("there")).state != JobState::Running
        {
            tokio::task::yield_now().await;
        }
    }
    world.simulator.lose(JobId(lost));

    let World { dir, desk, simulator } = world;
    desk.engine.close();
    let mut config = Config::default();
    config.jobs.max_running = 1;
    // It is tried again at once.
    config.retry.first_pause = Duration::ZERO;
    let world = World::configured(dir, config, simulator, desk.engine.ledger().clone()).await;
    assert_eq!(world.desk.engine.counts(), (1, 1), "there is one slot");
    world.simulator.finish(JobId(running), exited(0));
    until("it is tried again", || world.simulator.started().contains(&JobId(lost))).await;
}

#[tokio::test]
async fn a_cancellation_that_was_answered_outlives_the_supervisor() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["deaf"]).await;
    let waiting = submit(&manager, &["sleep"]).await;
    until("it runs", || world.simulator.started() == [JobId(running)]).await;
    manager.cancel_job(waiting).await.expect("asked");
    manager.cancel_job(running).await.expect("asked");
    // What a supervisor would find that took the place of this one now.
    let store = Store::open(world.dir.path()).expect("a second look at the store");
    let over = store.job(JobId(waiting)).await.expect("read").expect("there");
    assert_eq!(over.state, JobState::Cancelled);
    let asked = store.job(JobId(running)).await.expect("read").expect("there");
    assert!(asked.cancelled && asked.state == JobState::Running, "{asked:?}");
    drop(store);

    let world = restarted(world, 1).await;
    let manager = world.manager(1000).await;
    let job = described(&manager.wait_job(running).await.expect("over"));
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(world.simulator.started(), [JobId(running)]);
}

#[tokio::test]
async fn a_job_that_waits_and_was_cancelled_does_not_wait_again() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut held = command(&["true"]);
    held.insert("hold", Variant::from(true));
    let (waiting, _) = manager.submit_job(held, vec![]).await.expect("accepted");
    let store = Store::open(world.dir.path()).expect("a second handle of the store");
    store.ask_end(JobId(waiting)).await.expect("written");
    drop(store);
    let world = restarted(world, 1).await;
    let manager = world.manager(1000).await;
    let job = described(&manager.wait_job(waiting).await.expect("over"));
    assert_eq!(job.state, JobState::Cancelled);
    assert!(world.simulator.started().is_empty());
}

#[tokio::test]
async fn a_waiting_job_keeps_its_directories_without_a_service_manager() {
    let place = tempfile::tempdir().expect("temporary directory");
    let open = |name: &str| {
        let path = place.path().join(name);
        std::fs::create_dir(&path).expect("made");
        std::fs::File::open(&path).expect("directory")
    };
    let (kept, removed) = (open("kept"), open("removed"));
    // Of a file system without handles.
    let held = std::fs::File::open("/proc/self/task").expect("directory");
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let running = submit(&manager, &["sleep"]).await;
    let mut waiting = Vec::new();
    for directory in [&kept, &removed, &held] {
        let mounts = vec![("/work", "project", "/home/me/project", as_fd(directory))];
        let (id, _) = manager.submit_job(command(&["true"]), mounts).await.expect("accepted");
        waiting.push(id);
    }
    std::fs::remove_dir(place.path().join("removed")).expect("removed");

    let world = restarted(world, 1).await;
    let manager = world.manager(1000).await;
    world.simulator.finish(JobId(running), exited(0));
    let mut ends = Vec::new();
    for id in waiting {
        ends.push(described(&manager.wait_job(id).await.expect("over")));
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!(ends[0].state, JobState::Succeeded, "{}", ends[0].reason);
        let gone = "directory `/home/me/project` (for /work) is not there any more";
        assert!(ends[1].reason.contains(gone), "{}", ends[1].reason);
    }
    assert!(ends[2].reason.contains("submit the job again"), "{}", ends[2].reason);
    for end in &ends[1..] {
        assert_eq!(end.report.as_ref().expect("a report").failure, Some(FailureClass::Lost));
    }
    let store = Store::open(world.dir.path()).expect("a second look at the store");
    let left = store.waiting_directories().await.expect("read");
    assert!(left.directories.is_empty() && left.of_jobs.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_closed_supervisor_takes_no_work() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    world.desk.engine.close();
    let (name, _) = refusal(manager.submit_job(command(&["true"]), vec![]).await);
    assert_eq!(name, "ShuttingDown");
}

/// Lets the waiting jobs of a user have a MiB.
fn with_a_mib(world: &World) {
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.jobs.max_queued_bytes_per_user = 1 << 20;
    world.desk.engine.set_settings(settings);
}

#[tokio::test]
async fn the_specifications_of_a_users_waiting_jobs_have_a_limit_that_outlives_the_supervisor() {
    let world = World::new(1).await;
    with_a_mib(&world);
    let manager = world.manager(1000).await;
    let word = "a".repeat(100 << 10);
    let mut long = command(&["true", &word]);
    long.insert("hold", Variant::from(true));
    for _ in 0..10 {
        manager.submit_job(long.clone(), vec![]).await.expect("accepted");
    }
    let (name, words) = refusal(manager.submit_job(long.clone(), vec![]).await);
    assert_eq!(name, "PolicyDenied");
    assert!(words.contains("have 1000 KiB") && words.contains("the 1 MiB that a user"), "{words}");
    submit(&manager, &["true"]).await;

    let world = restarted(world, 1).await;
    with_a_mib(&world);
    let manager = world.manager(1000).await;
    assert_eq!(refusal(manager.submit_job(long.clone(), vec![]).await).0, "PolicyDenied");
    world.manager(0).await.submit_job(long.clone(), vec![]).await.expect("another user's");
    manager.cancel_job(3).await.expect("cancelled");
    manager.submit_job(long, vec![]).await.expect("there is room again");
}
