//! `make test-crash`: CRASH_KILLS kills (1000) from CRASH_SEED, then the time of a
//! restart with 10,000 jobs that wait. Not part of `make test`, which has a short one.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use fetchml_api::job::JobSpec;
use fetchml_tests::campaign::{self, Campaign};
use fetchml_tests::{Private, available};
use fetchmld::store::{NewJob, Store};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const WAITING: usize = 10_000;

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("CRASH_KILLS").unwrap_or(1000);
    let seed = number("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let Some(private) = available(Private::new()) else { return ExitCode::FAILURE };
    println!("{kills} kills, CRASH_SEED={seed}");
    let begun = Instant::now();
    let mut outcome = Campaign { kills, seed }.run(&private);
    outcome.wrong.extend(campaign::leftovers(&private).into_iter().map(|l| format!("left: {l}")));
    println!(
        "{} jobs told, {} untold, {} cancelled, {} kills during a start, in {:.0?}",
        outcome.told,
        outcome.untold,
        outcome.cancelled,
        outcome.early_kills,
        begun.elapsed()
    );
    println!("restart: median {:.1?}, longest {:.1?}", outcome.restart.0, outcome.restart.1);
    for wrong in &outcome.wrong {
        println!("WRONG: {wrong}");
    }
    restart_with_a_queue();
    if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn restart_with_a_queue() {
    let Some(private) = available(Private::new()) else { return };
    fill(&private);
    for round in 1..=3 {
        let begun = Instant::now();
        let mut child = campaign::start(&private);
        let up = campaign::listens(&private, Some(&mut child));
        let listening = begun.elapsed();
        let answered = private.ctl(["list", "--limit", "1"]);
        println!(
            "restart {round} with {WAITING} waiting: listens ({up}) after {listening:.1?}, a client \
             has its answer ({}) after {:.1?}",
            answered.status,
            begun.elapsed()
        );
        let _ = child.kill();
        let _ = child.wait();
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Jobs that somebody holds, put where a supervisor will find them.
fn fill(private: &Private) {
    let state = private.dir().join("state");
    std::fs::create_dir_all(&state).expect("the directory can be made");
    let store = Store::open(&state).expect("the store opens");
    let mut spec = JobSpec::plain(vec!["true".to_owned()]);
    spec.queueing.held = true;
    let job = NewJob {
        uid: 0,
        gid: 0,
        privileges: Vec::new(),
        spec,
        reason: "accepted".to_owned(),
        submitted_usec: 1,
        directories: std::sync::Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(store.insert(vec![job; WAITING])).expect("inserted");
}
