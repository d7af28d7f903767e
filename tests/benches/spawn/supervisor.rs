//! What the supervisor's own state does to a launch: its size, pauses between
//! launches, and several launches at once.

use crate::resident::Resident;
use crate::{Program, latency, peers, percentile};
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 100;
const MIB: usize = 1 << 20;

pub(crate) fn section(resident: &Resident) -> String {
    let mut text =
        String::from("supervisor                                   median ms      p99\n");
    let mut line = |name: &str, mut times: Vec<Duration>| {
        let [median, p99] = [50, 99].map(|s| percentile(&mut times, s).unwrap_or(0.0));
        let _ = writeln!(text, "{name:<44}{median:>10.2}{p99:>9.2}");
    };
    let (small, large) = sizes(resident);
    line("10 MiB, back to back", small);
    line("1 GiB, back to back", large);
    line("one launch each 100 ms", paused(|| resident.run(&["/bin/true"]).took));
    // What a pause does to whoever launches, on this machine.
    for (name, mut command) in others() {
        let mut launch = || latency::run(&mut command, Program::True);
        line(&format!("{name}, back to back"), (0..RUNS).map(|_| launch()).collect());
        line(&format!("{name}, one each 100 ms"), paused(launch));
    }
    text.push_str("\nlaunches at once       a second  median ms      p99\n");
    for at_once in [1, 2, 8] {
        let begun = Instant::now();
        let mut times = resident.runtime.block_on(throughput(resident, at_once));
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        let [median, p99] = [50, 99].map(|s| percentile(&mut times, s).unwrap_or(0.0));
        let _ = writeln!(text, "{at_once:<20}{rate:>11.0}{median:>11.2}{p99:>9.2}");
    }
    text.push('\n');
    text
}

/// Launches of a small supervisor and of a large one, in blocks by turns.
fn sizes(resident: &Resident) -> (Vec<Duration>, Vec<Duration>) {
    const BLOCKS: usize = 5;
    let block = || -> Vec<_> {
        // What was done before it is not its own.
        std::thread::sleep(Duration::from_millis(100));
        (0..RUNS / BLOCKS).map(|_| resident.run(&["/bin/true"]).took).collect()
    };
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        small.extend(block());
        let ballast: Vec<u8> = black_box(vec![1; 1024 * MIB]);
        large.extend(block());
        drop(black_box(ballast));
    }
    (small, large)
}

fn paused(mut launch: impl FnMut() -> Duration) -> Vec<Duration> {
    let pause = || std::thread::sleep(Duration::from_millis(100));
    (0..RUNS / 2).map(|_| (pause(), launch()).1).collect()
}

fn others() -> Vec<(&'static str, Command)> {
    let floor = peers::limit().map(|program| {
        ("limit --init", latency::limit_command(&program, Path::new("/"), Program::True, &[]))
    });
    [("bare fork and exec", Command::new("/bin/true"))].into_iter().chain(floor).collect()
}

async fn throughput(resident: &Resident, at_once: usize) -> Vec<Duration> {
    const LAUNCHES: usize = 400;
    let mut lines = Vec::new();
    for _ in 0..at_once {
        lines.push(async {
            let mut times = Vec::new();
            for _ in 0..LAUNCHES / at_once {
                times.push(resident.life(&["/bin/true"]).await.took);
            }
            times
        });
    }
    futures_util::future::join_all(lines).await.concat()
}
