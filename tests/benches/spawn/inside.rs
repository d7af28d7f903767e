//! What a running job costs: memory of its agent, and time of its system calls.

use crate::resident::Resident;
use rustix::fs::{Mode, OFlags, open};
use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Instant;

/// Argument with which this program, as a job, times its own system calls.
pub(crate) const ARGUMENT: &str = "time-calls";

/// Argument with which this program, as a job, times reading files.
pub(crate) const DATA_ARGUMENT: &str = "time-data";

const JOBS: usize = 8;
/// Below what the kernel remembers of opens that nobody has read yet.
const DATA_FILES: usize = 10_000;

pub(crate) fn section(resident: &Resident) -> String {
    let mut text = String::new();
    for (what, script) in [
        ("wrote nothing", "exec sleep 30"),
        ("wrote a line", "echo step=3 loss=0.25; exec sleep 30"),
        ("wrote 3 MB", "yes step=3 loss=0.25 password: a | head -c 3000000; exec sleep 30"),
    ] {
        let pss = resident.runtime.block_on(agents_pss_kib(resident, script));
        let mean = pss.iter().sum::<u64>() as f64 / pss.len() as f64;
        let _ =
            writeln!(text, "memory of one agent of {JOBS}, whose jobs {what}: {mean:.0} KiB PSS");
    }
    let bare = Command::new("/proc/self/exe").arg(ARGUMENT).output().expect("it runs").stdout;
    let life = resident.run(&["/work/bench", ARGUMENT]);
    let (bare, inside) = (numbers(&bare), numbers(&resident.output(&life)));
    text.push_str("ns a system call            bare   inside  x bare\n");
    for (name, (bare, inside)) in ["getppid", "openat + close"].iter().zip(bare.iter().zip(&inside))
    {
        let _ = writeln!(text, "{name:<22}{bare:>10.0}{inside:>9.0}{:>8.2}", inside / bare);
    }
    text.push('\n');
    text.push_str(&data(resident));
    text
}

/// What a loader of many small files pays for having its opens recorded.
fn data(resident: &Resident) -> String {
    for n in 0..DATA_FILES {
        fs::write(resident.data.join(n.to_string()), [0; 16 << 10]).expect("it can be written");
    }
    let run = |audited| {
        let (output, told) = resident.run_on_data(&["/work/bench", DATA_ARGUMENT], audited);
        (numbers(&output), told)
    };
    let ((plain, _), (audited, told)) = (run(false), run(true));
    let mut text = format!(
        "{DATA_FILES} files of 16 KiB, us a file     plain  audited  x plain ({told} told)\n"
    );
    for (name, (plain, audited)) in
        ["first time", "each further"].iter().zip(plain.iter().zip(&audited))
    {
        let (plain, audited) = (plain / 1000.0, audited / 1000.0);
        let _ = writeln!(text, "{name:<32}{plain:>10.2}{audited:>9.2}{:>8.2}", audited / plain);
    }
    text.push('\n');
    text
}

/// The job: nanoseconds a file to open, read and close each, the first time and then.
#[allow(clippy::print_stdout)]
pub(crate) fn time_data() {
    let names: Vec<_> = (0..DATA_FILES).map(|n| format!("/data/{n}")).collect();
    let round = || {
        let begun = Instant::now();
        for name in &names {
            std::hint::black_box(fs::read(name).expect("it can be read"));
        }
        begun.elapsed().as_nanos() / names.len() as u128
    };
    let first = round();
    let further = (0..10).map(|_| round()).min().unwrap_or(0);
    println!("{first} {further}");
}

/// PSS of the agents of several sleeping jobs.
async fn agents_pss_kib(resident: &Resident, script: &str) -> Vec<u64> {
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(resident.start(&["/bin/sh", "-c", script]).await.1);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    let read = |pid: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        text.lines().find_map(|l| l.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok())
    };
    let pss = jobs.iter().filter_map(|job| read(job.pid)).collect();
    for job in jobs {
        job.stop().await;
        job.finished().await;
    }
    pss
}

fn numbers(output: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(output);
    text.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

/// The job: the best of several rounds of each call, in nanoseconds.
#[allow(clippy::print_stdout)]
pub(crate) fn time_calls() {
    const ROUNDS: usize = 20;
    const CALLS: u32 = 5000;
    let best = |call: &dyn Fn()| {
        let round = || {
            let begun = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            begun.elapsed().as_nanos() / u128::from(CALLS)
        };
        (0..ROUNDS).map(|_| round()).min().unwrap_or(0)
    };
    let parent = best(&|| {
        std::hint::black_box(rustix::process::getppid());
    });
    let opened = best(&|| {
        let file = open(c"/usr/bin/true", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        drop(file.expect("it is there"));
    });
    println!("{parent} {opened}");
}
