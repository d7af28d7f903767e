//! A thousand jobs that do nothing, through the whole of each system, by the command
//! line; and one job from the command to its end. Of one job each system's own way to
//! wait is used, of all of them only in the end: asking takes processor time from the
//! jobs.

use crate::median_ms;
use crate::peers::Peer;
use fetchml_tests::private::Private;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const JOBS: u32 = 1000;
const LATENCIES: usize = 20;

struct Measured {
    name: String,
    submit_ms: f64,
    jobs_a_second: f64,
    /// `None` where no job was submitted alone.
    latency_ms: Option<f64>,
}

pub(crate) fn section() -> String {
    let mut text = format!(
        "\n## {JOBS} jobs of /bin/true, two at once\n\n\
         | | submit by command line, ms | jobs a second, first submit to last end \
         | submit to end of one, ms | x jobs a second of ours |\n|---|---:|---:|---:|---:|\n"
    );
    let rows = measure();
    let ours = rows.first().map_or(f64::NAN, |row| row.jobs_a_second);
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.0} | {} | {:.2} |",
            row.name,
            row.submit_ms,
            row.jobs_a_second,
            row.latency_ms.map(|ms| format!("{ms:.1}")).unwrap_or_default(),
            row.jobs_a_second / ours
        );
    }
    text
}

fn measure() -> Vec<Measured> {
    let home = tempfile::tempdir().expect("a directory can be made");
    let mut rows = Vec::new();
    match Private::new() {
        Ok(private) => {
            rows.push(array_of_ours(&private));
            rows.push(ours(&private));
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "FetchML is not measured: {why}");
        }
    }
    for peer in Peer::all(home.path()) {
        rows.push(of(peer.name(), || peer.submit(), |_| peer.drain(), |_| peer.drain()));
    }
    rows
}

use std::io::Write as _;

fn ours(private: &Private) -> Measured {
    private.ctl(["run", "--", "/bin/true"]);
    let submit = || private.ctl(["submit", "--quiet", "--", "/bin/true"]).stdout;
    let ended = |job: &str| drop(private.ctl(["wait", "--quiet", job.trim()]));
    of("FetchML, durable, sandboxed, audited", submit, ended, |last| drain(private, last))
}

fn array_of_ours(private: &Private) -> Measured {
    private.ctl(["run", "--", "/bin/true"]);
    let began = Instant::now();
    let array = format!("1-{JOBS}");
    private.ctl(["submit", "--quiet", "--array", &array, "--", "/bin/true"]);
    let submit_ms = began.elapsed().as_secs_f64() * 1000.0;
    let newest = private.ctl(["list", "-o", "name", "-n", "1"]).stdout;
    drain(private, &newest);
    let whole = began.elapsed();
    Measured {
        name: format!("FetchML, one array of {JOBS}"),
        submit_ms,
        jobs_a_second: f64::from(JOBS) / whole.as_secs_f64(),
        latency_ms: None,
    }
}

/// Waits for the job that was submitted last, then until none is left.
fn drain(private: &Private, last: &str) {
    private.ctl(["wait", "--quiet", last.trim()]);
    let patience = Instant::now() + Duration::from_secs(900);
    while Instant::now() < patience {
        let unfinished: usize = ["queued", "starting", "running"]
            .iter()
            .map(|state| {
                private
                    .ctl(["list", "--state", state, "-o", "name", "-n", "1"])
                    .stdout
                    .lines()
                    .count()
            })
            .sum();
        if unfinished == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of(
    name: &str,
    submit: impl Fn() -> String,
    wait_for_one: impl Fn(&str),
    drain: impl Fn(&str),
) -> Measured {
    let mut latencies: Vec<Duration> = (0..LATENCIES)
        .map(|_| {
            let began = Instant::now();
            let job = submit();
            wait_for_one(&job);
            began.elapsed()
        })
        .collect();
    let began = Instant::now();
    let mut last = String::new();
    let mut submits: Vec<Duration> = (0..JOBS)
        .map(|_| {
            let began = Instant::now();
            last = submit();
            began.elapsed()
        })
        .collect();
    drain(&last);
    let whole = began.elapsed();
    Measured {
        name: name.to_owned(),
        submit_ms: median_ms(&mut submits),
        jobs_a_second: f64::from(JOBS) / whole.as_secs_f64(),
        latency_ms: Some(median_ms(&mut latencies)),
    }
}
