//! The machinery that builds sandboxes in this process, without queue and bus.

use fetchml_api::job::{ExitReport, JobId, JobSpec, MountMode, MountRequest};
use fetchml_policies::Library;
use fetchmld::supervise::{Attempt, Host, HostConfig, Prepared, StartRequest, Submitter};
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A supervisor's machinery in this process.
pub(crate) struct Resident {
    pub(crate) place: TempDir,
    library: Arc<Library>,
    pub(crate) host: Host,
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// What a job left.
pub(crate) struct Left {
    pub(crate) report: ExitReport,
    pub(crate) log: String,
}

impl Resident {
    pub(crate) fn new() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("state")).unwrap();
        Self::at(place, "/".into())
    }

    /// In a place of the caller's making, on a machine whose accelerators are
    /// looked for elsewhere.
    pub(crate) fn at(place: TempDir, machine_root: PathBuf) -> Option<Self> {
        Self::with(place, machine_root, Library::load::<&Path>(&[]).unwrap())
    }

    /// With these profiles.
    pub(crate) fn with(place: TempDir, machine_root: PathBuf, library: Library) -> Option<Self> {
        crate::start()?;
        let library = Arc::new(library);
        let host = Host::prepare(&HostConfig {
            state_dir: place.path().join("state"),
            runtime_dir: place.path().join("run"),
            agent_path: fetchml_tests::agent(),
            library: Arc::clone(&library),
            private: true,
            machine_root,
        })
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(Self { place, library, host, runtime })
    }

    pub(crate) fn run(&self, spec: JobSpec, attempt: u32, gpus: &[&str]) -> Left {
        self.runtime.block_on(async {
            let job = JobId(1);
            let report = self.start(spec, attempt, gpus).await.finished().await;
            let directory = self.host.job_directory(0, "default", job).unwrap();
            let mut log = Vec::new();
            fs::File::from(directory.open_log(attempt).unwrap()).read_to_end(&mut log).unwrap();
            Left { report, log: String::from_utf8_lossy(&log).into_owned() }
        })
    }

    /// Starts a job; its mounts are labelled with their paths.
    pub(crate) async fn start(&self, spec: JobSpec, attempt: u32, gpus: &[&str]) -> Attempt {
        match self.plan(spec, attempt, gpus).start().await {
            Ok(attempt) => attempt,
            Err(report) => panic!("{}", report.summary),
        }
    }

    /// Plans a job, whose child then waits.
    pub(crate) fn plan(&self, spec: JobSpec, attempt: u32, gpus: &[&str]) -> Prepared {
        let profile = self.library.profile(&spec.profile).unwrap();
        let directories = open(&spec);
        self.host.check(&spec, &profile, &directories).unwrap();
        let request = StartRequest {
            job: JobId(1),
            spec,
            profile,
            submitter: Submitter { uid: 0, gid: 0 },
            directories,
            attempt,
            gpus: gpus.iter().map(ToString::to_string).collect(),
            secrets: Vec::new(),
        };
        self.host.plan(request).unwrap()
    }

    pub(crate) fn in_job(&self, path: &str) -> PathBuf {
        self.place.path().join("state/users/0/default/1").join(path)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.host.leave();
    }
}

pub(crate) fn shell(script: &str) -> JobSpec {
    JobSpec::plain(["sh", "-c", script].map(str::to_owned).to_vec())
}

/// A directory that a job is to see.
pub(crate) fn mount(path: &Path, target: &str, mode: MountMode) -> MountRequest {
    let label = path.to_str().unwrap().to_owned();
    MountRequest { label, target: target.to_owned(), mode }
}

/// The directories that a job is to see, opened.
pub(crate) fn open(spec: &JobSpec) -> Vec<OwnedFd> {
    spec.mounts.iter().map(|mount| fs::File::open(&mount.label).unwrap().into()).collect()
}
