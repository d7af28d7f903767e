//! How long one launch takes, beside the others.

use crate::peers::{self, Peer};
use crate::resident::Resident;
use crate::{Program, percentile, stamp};
use fetchml_tests::Private;
use fetchmld::supervise::Mark;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BLOCKS: usize = 10;
const RUNS_IN_A_BLOCK: usize = 10;

/// One launcher and its times.
struct Row<'a> {
    name: String,
    launch: Box<dyn FnMut(Program) -> Option<Duration> + 'a>,
    life: Vec<Duration>,
    first: Vec<Duration>,
}

impl<'a> Row<'a> {
    fn new(name: impl Into<String>, launch: impl FnMut(Program) -> Option<Duration> + 'a) -> Self {
        let (life, first) = (Vec::new(), Vec::new());
        Self { name: name.into(), launch: Box::new(launch), life, first }
    }

    fn block(&mut self, program: Program, counts: bool) {
        for _ in 0..RUNS_IN_A_BLOCK {
            let took = (self.launch)(program);
            // The first block warms caches and prepared roots.
            if counts {
                match program {
                    Program::True => self.life.extend(took),
                    Program::Stamp => self.first.extend(took),
                }
            }
        }
        // What a launcher leaves for the kernel to clean up is its own.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The table of all launchers.
pub(crate) fn section(resident: &Resident) -> String {
    let place = tempfile::tempdir().expect("a directory can be made");
    let on_disk = Resident::new(place.path());
    let private = Private::new().expect("make bench runs as root after make build");
    private.shell("true").ok();
    let ours = |resident: &Resident, program| match program {
        Program::True => Some(resident.run(&["/bin/true"]).took),
        Program::Stamp => Some(resident.first_instruction()),
    };
    let peers = Peer::installed(place.path());
    let job = place.path().join("job");
    let limit = peers::limit();
    let mut rows = vec![Row::new("bare fork and exec", |program| match program {
        Program::True => Some(run(&mut Command::new("/bin/true"), program)),
        Program::Stamp => Some(run(&mut Command::new(job.join(stamp::NAME)), program)),
    })];
    if let Some(limit) = &limit {
        rows.push(Row::new("limit --init, one program a launch", |program| {
            Some(run(&mut limit_command(limit, &job, program, &[]), program))
        }));
        rows.push(Row::new("limit --init, resident", |program| resident_limit(limit, program)));
    }
    rows.push(Row::new("fetchml, the sandbox alone", |p| ours(resident, p)));
    rows.push(Row::new("fetchml, directories on disk", |p| ours(&on_disk, p)));
    rows.push(Row::new("fetchmlctl run, durable and audited", |program| {
        let mut command = private.command(["run", "--quiet", "--", "true"]);
        (program == Program::True).then(|| run(&mut command, program))
    }));
    for peer in &peers {
        rows.push(Row::new(peer.name.clone(), |p| Some(run(&mut peer.command(p), p))));
    }
    for block in 0..=BLOCKS {
        for row in &mut rows {
            row.block(Program::True, block > 0);
            row.block(Program::Stamp, block > 0);
        }
    }
    table(&mut rows)
}

pub(crate) fn limit_command(
    limit: &Path,
    job: &Path,
    program: Program,
    options: &[&str],
) -> Command {
    let mut command = Command::new(limit);
    command.arg("--init").args(options);
    if program == Program::Stamp {
        command.arg("--job").arg(job);
    }
    command.args(["--", program.path()]);
    command
}

/// A block of runs from one process of its own, which prints their median.
fn resident_limit(limit: &Path, program: Program) -> Option<Duration> {
    if program == Program::Stamp {
        return None;
    }
    let runs = RUNS_IN_A_BLOCK.to_string();
    let output =
        limit_command(limit, Path::new("/"), program, &["--bench", &runs]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let median = text.strip_prefix("whole launch to reaped")?.split_whitespace().next()?;
    Some(Duration::from_secs_f64(median.parse::<f64>().ok()? / 1e6))
}

/// Runs a program to its end, or to its first instruction.
pub(crate) fn run(command: &mut Command, program: Program) -> Duration {
    if program == Program::True {
        let begun = Instant::now();
        let status = command.status().expect("the launcher can be executed");
        let took = begun.elapsed();
        assert!(status.success(), "{command:?} ended with {status}");
        return took;
    }
    command.stdout(Stdio::piped());
    let begun = stamp::now();
    let output = command.spawn().and_then(std::process::Child::wait_with_output);
    let output = output.expect("the launcher can be executed");
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    Duration::from_nanos(stamp::read(&output.stdout).saturating_sub(begun))
}

fn table(rows: &mut [Row<'_>]) -> String {
    let mut text = format!(
        "{:<37}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8} |{:>9}{:>8}\n",
        "/bin/true, request to reaped",
        "median ms",
        "p10",
        "p99",
        "x bare",
        "x limit",
        "x bwrap",
        "x crun",
        "first ms",
        "p10",
    );
    let bases: Vec<_> = ["bare", "limit --init, resident", "bwrap", "crun"]
        .iter()
        .map(|word| {
            let row = rows.iter_mut().find(|r| r.name.starts_with(word))?;
            percentile(&mut row.life, 50)
        })
        .collect();
    let cell = |n: Option<f64>, width: usize| match n {
        Some(n) => format!("{n:>width$.2}"),
        None => format!("{:>width$}", "-"),
    };
    for row in rows {
        let median = percentile(&mut row.life, 50);
        let ratios: String =
            bases.iter().map(|b| cell(median.zip(*b).map(|(m, b)| m / b), 8)).collect();
        let _ = writeln!(
            text,
            "{:<37}{}{}{}{ratios} |{}{}",
            row.name,
            cell(median, 9),
            cell(percentile(&mut row.life, 10), 8),
            cell(percentile(&mut row.life, 99), 8),
            cell(percentile(&mut row.first, 50), 9),
            cell(percentile(&mut row.first, 10), 8),
        );
    }
    text.push_str("first: from the request to the job's first instruction\n\n");
    text
}

/// Where the time of our own launch goes.
pub(crate) fn breakdown(resident: &Resident) -> String {
    const RUNS: usize = 200;
    let mut steps: BTreeMap<usize, (&str, Vec<Duration>)> = BTreeMap::new();
    let mut add = |at: usize, name, nanos| {
        steps.entry(at).or_insert((name, Vec::new())).1.push(Duration::from_nanos(nanos));
    };
    for _ in 0..RUNS {
        let life = resident.run(&["/bin/true"]);
        let since = |mark| life.times.at(mark).saturating_sub(life.times.at(Mark::Asked));
        let mut last = 0;
        for (at, (name, nanos)) in life.times.stretches().enumerate() {
            add(at, name, nanos);
            last = at;
        }
        let all = u64::try_from(life.took.as_nanos()).unwrap_or(0);
        let executed = since(Mark::Descriptors);
        add(
            last + 1,
            "agent executed to command forked",
            life.begun_nanos.saturating_sub(executed),
        );
        add(last + 2, "command, agent's report, teardown", all.saturating_sub(life.begun_nanos));
        add(last + 3, "whole", all);
    }
    let mut text =
        String::from("breakdown of the sandbox alone               median us      p10\n");
    for (name, times) in steps.values_mut() {
        let us = |t: &mut [Duration], share| percentile(t, share).unwrap_or(0.0) * 1000.0;
        let _ = writeln!(text, "{name:<44}{:>10.1}{:>9.1}", us(times, 50), us(times, 10));
    }
    text.push('\n');
    text
}
