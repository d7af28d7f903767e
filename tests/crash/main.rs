//! `make test-crash`: CRASH_KILLS kills (1000) from CRASH_SEED, the time of a restart
//! with 10,000 jobs that wait, and RESETS (20) power cuts of an emulated machine. Not
//! part of `make test`, which has a short one.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use fetchml_api::job::JobSpec;
use fetchml_tests::campaign::{self, Campaign, Outcome, Resets};
use fetchml_tests::machine::Fate;
use fetchml_tests::{Private, available, package};
use fetchmld::store::{NewJob, Store};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WAITING: usize = 10_000;

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let kills = number("CRASH_KILLS").unwrap_or(1000);
    let resets = number("RESETS").unwrap_or(20);
    let killed = kills == 0 || kill(Campaign { kills, seed });
    if kills > 0 {
        restart_with_a_queue();
    }
    let reset = resets == 0 || reset(Resets { resets, seed });
    if killed && reset { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all is as it should be.
fn kill(campaign: Campaign) -> bool {
    let Some(private) = available(Private::new()) else { return false };
    println!("{} kills, CRASH_SEED={}", campaign.kills, campaign.seed);
    let begun = Instant::now();
    let mut outcome = campaign.run(&private);
    outcome.wrong.extend(campaign::leftovers(&private).into_iter().map(|l| format!("left: {l}")));
    tell(&outcome, begun.elapsed());
    outcome.wrong.is_empty()
}

fn reset(resets: Resets) -> bool {
    println!("{} power cuts, CRASH_SEED={}", resets.resets, resets.seed);
    let begun = Instant::now();
    let cuts = AtomicU64::new(0);
    let told = package().and_then(|package| {
        resets.run(package, |fate| {
            let cut = cuts.fetch_add(1, Ordering::Relaxed) + 1;
            let Fate { flushes, kept, lost } = fate;
            println!("cut {cut}: {flushes} flushes, {kept} writes are on the disk, {lost} are not");
        })
    });
    let Some(outcome) = available(told) else { return false };
    tell(&outcome, begun.elapsed());
    outcome.wrong.is_empty()
}

fn tell(outcome: &Outcome, time: Duration) {
    let Outcome { told, untold, cancelled, tried_again, given_up, early, .. } = outcome;
    println!(
        "{told} jobs told, {untold} untold, {cancelled} cancelled, {tried_again} tried again, \
         {given_up} given up as lost, {early} times before it was up, in {time:.0?}"
    );
    println!("restart: median {:.1?}, longest {:.1?}", outcome.restart.0, outcome.restart.1);
    for wrong in &outcome.wrong {
        println!("WRONG: {wrong}");
    }
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
