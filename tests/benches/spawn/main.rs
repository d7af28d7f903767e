//! `make bench`: what it costs to run `/bin/true` in a sandbox.
//!
//! Every launcher runs in the same process, in blocks by turns, so that a busy
//! machine disturbs all alike: read the ratios. Peers that are not installed are
//! left out, and said so.

mod peers;

use fetchml_api::job::{JobId, JobSpec, Limits, MountMode, MountRequest};
use fetchml_policies::Library;
use fetchml_tests::{Private, repository};
use fetchmld::supervise::{Host, HostConfig, StartRequest, Submitter};
use peers::Peer;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BLOCKS: usize = 10;
const RUNS_IN_A_BLOCK: usize = 10;

#[allow(clippy::print_stdout)]
fn main() {
    peers::enter_unified_view();
    // cargo passes --bench; a count of blocks may follow for a longer look.
    let blocks = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(BLOCKS);
    let place = tempfile::tempdir().expect("a directory can be made");
    let mut resident = Resident::new(place.path());
    let private = Private::new().expect("make bench runs as root after make build");
    private.shell("true").ok();
    let mut rows: Vec<(String, Vec<Duration>, Launch)> = vec![
        ("bare fork and exec".into(), Vec::new(), Box::new(|| run(&mut Command::new("/bin/true")))),
        ("fetchml, resident supervisor".into(), Vec::new(), Box::new(move || resident.run())),
        (
            "fetchmlctl run, durable and audited".into(),
            Vec::new(),
            Box::new(move || run(&mut private.command(["run", "--quiet", "--", "true"]))),
        ),
    ];
    for peer in Peer::installed(place.path()) {
        let name = peer.name.clone();
        rows.push((name, Vec::new(), Box::new(move || run(&mut peer.command()))));
    }
    for block in 0..=blocks {
        for (_, times, launch) in &mut rows {
            for _ in 0..RUNS_IN_A_BLOCK {
                let took = launch();
                // The first block warms caches and prepared roots.
                if block > 0 {
                    times.push(took);
                }
            }
            // What a launcher leaves for the kernel to clean up is its own.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let results: Vec<_> = rows.into_iter().map(|(name, times, _)| Row::new(name, times)).collect();
    print!("{}", table(&results));
    for missing in peers::missing() {
        println!("not installed, left out: {missing}");
    }
}

/// Launches once and says how long it took.
type Launch = Box<dyn FnMut() -> Duration>;

/// Runs a program to its end.
fn run(command: &mut Command) -> Duration {
    let begun = Instant::now();
    let status = command.status().expect("the launcher can be executed");
    let took = begun.elapsed();
    assert!(status.success(), "{command:?} ended with {status}");
    took
}

struct Row {
    name: String,
    median: f64,
    p10: f64,
    p99: f64,
}

impl Row {
    fn new(name: String, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(0.0, |t| t.as_secs_f64() * 1000.0)
        };
        Self { name, median: at(50), p10: at(10), p99: at(99) }
    }
}

fn table(rows: &[Row]) -> String {
    use std::fmt::Write;
    let of = |word: &str| rows.iter().find(|r| r.name.starts_with(word)).map(|r| r.median);
    let base = [of("bare"), of("bwrap"), of("crun")];
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<38}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "/bin/true, start to reaped", "median ms", "p10", "p99", "x bare", "x bwrap", "x crun"
    );
    for row in rows {
        let ratios: String = base
            .iter()
            .map(|b| {
                b.map_or_else(|| format!("{:>9}", "-"), |b| format!("{:>9.2}", row.median / b))
            })
            .collect();
        let _ = writeln!(
            text,
            "{:<38}{:>10.2}{:>9.2}{:>9.2}{ratios}",
            row.name, row.median, row.p10, row.p99
        );
    }
    text
}

/// The supervisor's own launch path, without queue, store, audit and bus.
struct Resident {
    host: Host,
    library: Arc<Library>,
    runtime: tokio::runtime::Runtime,
    project: PathBuf,
    next: u64,
}

impl Resident {
    fn new(place: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let library =
            Arc::new(Library::load::<&Path>(&[]).expect("the vendor's policies are sound"));
        let project = place.join("project");
        std::fs::create_dir(&project).expect("a directory can be made");
        let config = HostConfig {
            state_dir: place.join("state"),
            runtime_dir: place.join("run"),
            agent_path: repository().join("target/x86_64-unknown-linux-gnu/release/fetchml-agent"),
            library: Arc::clone(&library),
            private: true,
        };
        let host = Host::prepare(&config).expect("this machine can sandbox");
        Self { host, library, runtime, project, next: 1 }
    }

    fn run(&mut self) -> Duration {
        let begun = Instant::now();
        let request = StartRequest {
            job: JobId(self.next),
            spec: spec(&self.project),
            profile: self.library.profile("default").expect("it is there"),
            submitter: Submitter { uid: 0, gid: 0 },
            directories: vec![OwnedFd::from(File::open(&self.project).expect("it opens"))],
        };
        self.next += 1;
        let prepared = self.host.plan(request).expect("it can be planned");
        let report = self.runtime.block_on(async {
            match prepared.start().await {
                Ok(attempt) => attempt.finished().await,
                Err(report) => report,
            }
        });
        let took = begun.elapsed();
        assert_eq!(report.status, 0, "{}", report.summary);
        took
    }
}

fn spec(project: &Path) -> JobSpec {
    JobSpec {
        command: vec!["/bin/true".into()],
        env: BTreeMap::new(),
        name: "true".into(),
        experiment: "bench".into(),
        profile: "default".into(),
        network: None,
        time_limit_usec: None,
        limits: Limits::default(),
        mounts: vec![MountRequest {
            target: "/work".into(),
            mode: MountMode::Project,
            label: project.display().to_string(),
        }],
    }
}
