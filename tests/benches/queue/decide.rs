//! The queue alone, in memory: the cost of each thing that happens to it.

use fetchml_api::job::JobId;
use fetchmld::queue::{Capacity, Entry, Needs, Queue};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

/// Users among whom the jobs are spread.
const USERS: u32 = 8;
const ROUNDS: u64 = 2000;

fn entry(id: u64, needs: &Arc<Needs>) -> Entry {
    let user = u32::try_from(id % u64::from(USERS)).unwrap_or(0);
    Entry {
        id: JobId(id),
        uid: 1000 + user,
        priority: i32::try_from(id % 3).unwrap_or(0),
        held: false,
        not_before_usec: 0,
        time_limit_usec: 3_600_000_000,
        needs: Arc::clone(needs),
        after: Box::default(),
        array: None,
        text_bytes: 0,
    }
}

pub(crate) fn section() -> String {
    let mut text = String::from(
        "\n## The queue alone\n\n\
         | us an operation, jobs waiting | accept | start and end one | why does it wait | cancel |\n\
         |---:|---:|---:|---:|---:|\n",
    );
    for waiting in [1_000, 10_000, 100_000] {
        let [accept, start, why, cancel] = at(waiting);
        let _ = writeln!(text, "| {waiting} | {accept:.2} | {start:.2} | {why:.2} | {cancel:.2} |");
    }
    text
}

fn at(waiting: u64) -> [f64; 4] {
    let needs = Arc::new(Needs { milli_cpus: 1000, ..Needs::default() });
    let mut queue = Queue::default();
    queue.set_capacity(Capacity {
        slots: 8,
        milli_cpus: 8000,
        memory_bytes: 1 << 40,
        gpus: Vec::new(),
    });
    let mut now = 1;
    for id in 1..=waiting {
        queue.push(entry(id, &needs), now);
    }
    let mut running: Vec<JobId> = queue.take_next(now).iter().map(|start| start.job).collect();
    let accept = timed(|n| queue.push(entry(waiting + 1 + n, &needs), now));
    let start = timed(|_| {
        now += 1_000_000;
        let over = running.remove(0);
        queue.ended(over, true, now);
        running.extend(queue.take_next(now).iter().map(|start| start.job));
    });
    let why = timed(|n| {
        std::hint::black_box(queue.why(JobId(waiting - 1 - n % (waiting / 2)), now));
    });
    let cancel = timed(|n| {
        queue.remove(JobId(waiting + 1 + n));
    });
    [accept, start, why, cancel]
}

/// Microseconds each.
fn timed(mut what: impl FnMut(u64)) -> f64 {
    let began = Instant::now();
    for n in 0..ROUNDS {
        what(n);
    }
    let rounds = f64::from(u32::try_from(ROUNDS).unwrap_or(1));
    began.elapsed().as_secs_f64() * 1e6 / rounds
}
