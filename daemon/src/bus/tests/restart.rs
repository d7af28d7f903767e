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
async fn a_waiting_job_without_its_directories_is_lost_in_words() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    submit(&manager, &["sleep"]).await;
    let dir = std::fs::File::open("/").expect("directory");
    let mounts = vec![("/work", "project", "/", as_fd(&dir))];
    let (waiting, _) = manager.submit_job(command(&["true"]), mounts).await.expect("accepted");

    let world = restarted(world, 2).await;
    let manager = world.manager(1000).await;
    let job = described(&manager.wait_job(waiting).await.expect("over"));
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.report.expect("a report").failure, Some(FailureClass::Lost));
    assert!(job.reason.contains("submit it again"), "{}", job.reason);
}

#[tokio::test]
async fn a_closed_supervisor_takes_no_work() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    world.desk.engine.close();
    let (name, _) = refusal(manager.submit_job(command(&["true"]), vec![]).await);
    assert_eq!(name, "ShuttingDown");
}
