//! The supervisor's own launch path in this process: everything of a sandbox,
//! without queue, store, audit and bus.

use crate::stamp;
use fetchml_api::job::{JobId, JobSpec, MountMode, MountRequest};
use fetchml_api::log::{FrameHeader, TRAILER_BYTES};
use fetchml_policies::Library;
use fetchml_tests::agent;
use fetchmld::supervise::{Attempt, Host, HostConfig, LaunchTimes, StartRequest, Submitter};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A host with its directories below one place.
pub(crate) struct Resident {
    host: Host,
    library: Arc<Library>,
    pub(crate) runtime: tokio::runtime::Runtime,
    project: PathBuf,
    /// A directory that a job may be shown besides.
    pub(crate) data: PathBuf,
    next: AtomicU64,
}

/// One job, from the request to its report.
pub(crate) struct Life {
    pub(crate) took: Duration,
    pub(crate) times: LaunchTimes,
    /// When the agent began the command, in nanoseconds after the request.
    pub(crate) begun_nanos: u64,
    job: JobId,
}

impl Resident {
    pub(crate) fn new(place: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let library =
            Arc::new(Library::load::<&Path>(&[]).expect("the vendor's policies are sound"));
        let project = place.join("project");
        std::fs::create_dir(&project).expect("a directory can be made");
        stamp::place_in(&project);
        std::fs::copy("/proc/self/exe", project.join("bench")).expect("the bench can be copied");
        let data = place.join("data");
        std::fs::create_dir(&data).expect("a directory can be made");
        let config = HostConfig {
            state_dir: place.join("state"),
            runtime_dir: place.join("run"),
            agent_path: agent(),
            library: Arc::clone(&library),
            private: true,
            machine_root: "/".into(),
        };
        let host = Host::prepare(&config).expect("this machine can sandbox");
        Self { host, library, runtime, project, data, next: AtomicU64::new(1) }
    }

    /// Runs one job to its end; it must succeed.
    pub(crate) fn run(&self, command: &[&str]) -> Life {
        self.runtime.block_on(self.life(command))
    }

    /// As [`Resident::run`], for several at once.
    pub(crate) async fn life(&self, command: &[&str]) -> Life {
        let wall = std::time::SystemTime::UNIX_EPOCH;
        let wall_begun = wall.elapsed().unwrap_or_default();
        let begun = Instant::now();
        let (job, attempt) = self.start(command).await;
        let report = attempt.finished().await;
        let took = begun.elapsed();
        assert_eq!(report.status, 0, "{}", report.summary);
        let began = Duration::from_micros(report.started_usec).saturating_sub(wall_begun);
        let begun_nanos = u64::try_from(began.as_nanos()).unwrap_or(0);
        Life { took, times: attempt.times, begun_nanos, job }
    }

    /// Starts one job.
    pub(crate) async fn start(&self, command: &[&str]) -> (JobId, Attempt) {
        self.start_spec(spec(&self.project, command)).await
    }

    /// Runs a job that sees [`Resident::data`] as /data to its end, and answers what it
    /// wrote and how many opens of that data were told.
    pub(crate) fn run_on_data(&self, command: &[&str], audited: bool) -> (Vec<u8>, usize) {
        let mut spec = spec(&self.project, command);
        spec.mounts.push(MountRequest {
            target: "/data".into(),
            mode: MountMode::Ro,
            label: self.data.display().to_string(),
        });
        let data = if audited { vec![self.data.clone()] } else { Vec::new() };
        self.host.audit_data(&data);
        self.runtime.block_on(async {
            let (job, attempt) = self.start_spec(spec).await;
            let told = async {
                let mut told = 0;
                while let Some(some) = attempt.accesses().await {
                    told += some.len();
                }
                told
            };
            let (report, told) = tokio::join!(attempt.finished(), told);
            assert_eq!(report.status, 0, "{}", report.summary);
            (self.output_of(job), told)
        })
    }

    async fn start_spec(&self, spec: JobSpec) -> (JobId, Attempt) {
        let job = JobId(self.next.fetch_add(1, Ordering::Relaxed));
        let open =
            |mount: &MountRequest| OwnedFd::from(File::open(&mount.label).expect("it opens"));
        let request = StartRequest {
            job,
            directories: spec.mounts.iter().map(open).collect(),
            spec,
            profile: self.library.profile("default").expect("it is there"),
            submitter: Submitter { uid: 0, gid: 0 },
            attempt: 1,
            gpus: Vec::new(),
            secrets: Vec::new(),
        };
        let prepared = self.host.plan(request).expect("it can be planned");
        match prepared.start().await {
            Ok(attempt) => (job, attempt),
            Err(report) => panic!("{}", report.summary),
        }
    }

    /// From the request to the first instruction of the job's own program.
    pub(crate) fn first_instruction(&self) -> Duration {
        let begun = stamp::now();
        let life = self.run(&["/work/stamp"]);
        let ran = stamp::read(&self.output(&life));
        Duration::from_nanos(ran.saturating_sub(begun))
    }

    /// A job's output.
    pub(crate) fn output(&self, life: &Life) -> Vec<u8> {
        self.output_of(life.job)
    }

    fn output_of(&self, job: JobId) -> Vec<u8> {
        let directory = self.host.job_directory(0, "bench", job).expect("it is there");
        let mut log = File::from(directory.open_log(1).expect("the job has a log"));
        let mut frames = Vec::new();
        log.read_to_end(&mut frames).expect("it can be read");
        // What the agent had to look at again before it was sure is in a frame of its own.
        let (mut output, mut rest) = (Vec::new(), &*frames);
        while let Some((header, behind)) = rest.split_first_chunk() {
            let header = FrameHeader::decode(header).expect("the log has whole frames");
            output.extend_from_slice(&behind[..header.len]);
            rest = &behind[header.len + TRAILER_BYTES..];
        }
        output
    }
}

fn spec(project: &Path, command: &[&str]) -> JobSpec {
    JobSpec {
        name: "bench".into(),
        experiment: "bench".into(),
        mounts: vec![MountRequest {
            target: "/work".into(),
            mode: MountMode::Project,
            label: project.display().to_string(),
        }],
        ..JobSpec::plain(command.iter().map(|&word| word.to_owned()).collect())
    }
}
