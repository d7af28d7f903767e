//! Durable records a second at some numbers of callers, and an append and fdatasync of
//! a line of that length by hand, in turns.

use super::rate;
use fetchml_api::audit::{Actor, Event, NewRecord};
use fetchml_api::job::JobId;
use fetchmld::audit::{Audit, Options};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const CALLERS: [u64; 4] = [1, 4, 16, 64];
const TIME: Duration = Duration::from_secs(2);
const LINE_BYTES: usize = 600;

fn record(n: u64) -> NewRecord {
    NewRecord::new(Event::JobStarted, Actor::uid(1000).named("alice"), "start", &format!("job/{n}"))
        .job(JobId(n))
        .detail("profile", "default")
        .detail("layers", "namespaces=held mounts=held caps=held seccomp=held landlock=held")
        .detail("host_uid", 524_288 + n % 1000)
}

/// Appends and fdatasyncs of one line each, a second.
fn disk(dir: &Path) -> f64 {
    let mut file =
        OpenOptions::new().append(true).create(true).open(dir.join("by-hand")).expect("a file");
    let line = vec![b'x'; LINE_BYTES];
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        file.write_all(&line).and_then(|()| file.sync_data()).expect("room on the disk");
        count += 1;
    }
    rate(count, start.elapsed())
}

/// Records a second, and the middle and the 99th hundredth of the waits.
async fn durable(audit: &Audit, callers: u64) -> (f64, Duration, Duration) {
    let start = Instant::now();
    let work = (0..callers).map(|caller| async move {
        let mut waits = Vec::new();
        while start.elapsed() < TIME {
            let asked = Instant::now();
            audit.append(record(caller)).await.expect("a durable record");
            waits.push(asked.elapsed());
        }
        waits
    });
    let mut waits = futures_util::future::join_all(work).await.concat();
    let took = start.elapsed();
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len() * part / 100).copied().unwrap_or_default();
    (rate(waits.len() as u64, took), at(50), at(99))
}

pub(crate) fn section() -> String {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk");
    let options = Options::with_key_file(dir.path().join("key"));
    let (audit, _) = Audit::open(&dir.path().join("audit"), &options).expect("a log");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut text = String::from("durable audit records (each caller waits for its own)\n");
    for callers in CALLERS {
        let by_hand = disk(dir.path());
        let (rate, p50, p99) = runtime.block_on(durable(&audit, callers));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {callers:>3} callers  {rate:>8.0}/s   p50 {p50:.2?}  p99 {p99:.2?}   by hand {by_hand:.0} fdatasync/s"
        );
    }
    text
}
