//! A launcher without sandboxes: tests of the engine and the bus need no
//! privilege with it. What a job does is the first word of its command.

use super::launcher::{Adoption, JobFiles, Launcher, Part, Planned, Running};
use super::report;
use crate::config::Config;
use crate::queue::Capacity;
use crate::supervise::Preview;
use crate::supervise::{Access, AdoptRequest, Refusal, StartRequest};
use fetchml_api::host::Finding;
use fetchml_api::job::{
    Denied, ExitReport, FailureClass, JobId, JobSpec, JobState, Layer, LayerState, LiveUsage,
};
use fetchml_policies::Profile;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fmt;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Builds nothing.
#[derive(Clone, Debug, Default)]
pub struct Simulator {
    /// Attempts that run, as a real machine would go on running them while no
    /// supervisor is there.
    attempts: Arc<Mutex<HashMap<JobId, Arc<Simulated>>>>,
    witness: Arc<Mutex<Option<Witness>>>,
    /// Jobs whose directories were deleted.
    pub deleted: Arc<Mutex<Vec<JobId>>>,
    /// What the machine has.
    pub capacity: Arc<Mutex<Capacity>>,
}

/// Looks at the world at the moment a command would be executed.
pub struct Witness(pub Box<dyn Fn(JobId) + Send>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl Simulator {
    /// Calls this at each start.
    pub fn watch_starts(&self, witness: impl Fn(JobId) + Send + 'static) {
        let witness = Some(Witness(Box::new(witness)));
        *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = witness;
    }

    /// Ends a running attempt, whoever supervises it.
    pub fn finish(&self, job: JobId, report: ExitReport) {
        let attempt = self.attempts().get(&job).cloned();
        attempt.expect("the job was started").over.send_replace(Some(report));
    }

    /// Nobody knows of this attempt any more.
    pub fn lose(&self, job: JobId) {
        self.attempts().remove(&job);
    }

    /// Jobs that were ever started.
    pub fn started(&self) -> Vec<JobId> {
        let mut started: Vec<_> = self.attempts().keys().copied().collect();
        started.sort();
        started
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Simulated>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The report of a command that exited.
pub fn exited(code: i32) -> ExitReport {
    let failure = (code != 0).then_some(FailureClass::UserError);
    ExitReport {
        summary: format!("exit code {code}"),
        failure,
        exit_code: Some(code),
        status: code,
        started_usec: 1,
        layers: layers(),
        ..report::not_run(FailureClass::UserError, "")
    }
}

fn layers() -> Vec<Layer> {
    vec![Layer { name: "pretence".into(), state: LayerState::Held, detail: "simulated".into() }]
}

impl Launcher for Simulator {
    fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn configure(&self, _: &Config) {}

    fn capacity(&self) -> Capacity {
        self.capacity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn preview(&self, _: &Profile) -> Preview {
        Preview { layers: layers(), ..Preview::default() }
    }

    fn check(&self, spec: &JobSpec, _: &Profile, dirs: &[OwnedFd]) -> Result<(), Refusal> {
        assert_eq!(spec.mounts.len(), dirs.len(), "each mount has its descriptor");
        match spec.command[0].as_str() {
            "impossible" => Err(Refusal::BarrierUnavailable("this machine cannot".to_owned())),
            _ => Ok(()),
        }
    }

    fn open(&self, of: &JobFiles<'_>, part: Part) -> Result<OwnedFd, Refusal> {
        if of.attempt == 0 {
            return Err(Refusal::Infrastructure("no such file (os error 2)".to_owned()));
        }
        let mut file = tempfile::tempfile().expect("temporary file");
        write!(file, "{part:?} of job {}", of.job).expect("write");
        file.rewind().expect("seek");
        Ok(file.into())
    }

    fn delete(&self, of: &JobFiles<'_>) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).push(of.job);
    }

    fn plan(&self, request: StartRequest) -> Result<Box<dyn Planned>, Refusal> {
        assert_eq!(request.spec.mounts.len(), request.directories.len());
        Ok(Box::new(SimulatedPlan { request, layers: layers(), simulator: self.clone() }))
    }

    fn adopt(&self, request: AdoptRequest) -> BoxFuture<'_, Adoption> {
        let attempt = self.attempts().get(&request.job).cloned();
        Box::pin(async move {
            match attempt {
                Some(attempt) => Adoption::Running(attempt),
                None if request.state == JobState::Starting => Adoption::NeverBegan,
                None => {
                    let lost = report::not_run(FailureClass::Lost, "nobody knows");
                    Adoption::Ended(Box::new(lost))
                }
            }
        })
    }

    fn lingering(&self) -> Vec<JobId> {
        Vec::new()
    }

    fn sweep(&self, _: &[JobId]) {}

    fn leave(&self) {}
}

struct SimulatedPlan {
    request: StartRequest,
    layers: Vec<Layer>,
    simulator: Simulator,
}

impl Planned for SimulatedPlan {
    fn layers(&self) -> &[Layer] {
        &self.layers
    }

    fn host_uid(&self) -> u32 {
        1_000_000
    }

    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Arc<dyn Running>, Box<ExitReport>>> {
        Box::pin(async move {
            let job = self.request.job;
            let witness =
                self.simulator.witness.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(witness) = witness {
                (witness.0)(job);
                *self.simulator.witness.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(witness);
            }
            let over = match self.request.spec.command[0].as_str() {
                "broken" => {
                    let report = report::not_run(FailureClass::Infrastructure, "clone: EAGAIN");
                    return Err(Box::new(report));
                }
                "true" | "read" => Some(exited(0)),
                "false" => Some(exited(1)),
                _ => None,
            };
            let deaf = self.request.spec.command[0] == "deaf";
            let over = watch::Sender::new(over);
            let accesses = (self.request.spec.command[0] == "read").then(|| {
                let file = "/srv/data/1.dcm";
                vec![Access::Opened(file.into()), Access::Unseen("a flood".to_owned())]
            });
            let accesses = accesses.into();
            let attempt = Arc::new(Simulated { over, deaf: deaf.into(), accesses });
            self.simulator.attempts().insert(job, attempt.clone());
            Ok(attempt as Arc<dyn Running>)
        })
    }
}

#[derive(Debug)]
struct Simulated {
    over: watch::Sender<Option<ExitReport>>,
    /// The next request to stop does not reach it.
    deaf: AtomicBool,
    /// Of audited data.
    accesses: Mutex<Option<Vec<Access>>>,
}

impl Running for Simulated {
    fn stop(&self) -> BoxFuture<'_, ()> {
        if self.deaf.swap(false, Ordering::Relaxed) {
            return Box::pin(std::future::ready(()));
        }
        let stopped = ExitReport {
            summary: "stopped".to_owned(),
            failure: Some(FailureClass::Cancelled),
            signal: Some(15),
            status: 143,
            ..exited(0)
        };
        self.over.send_replace(Some(stopped));
        Box::pin(std::future::ready(()))
    }

    fn denied(&self) -> BoxFuture<'_, Vec<Denied>> {
        Box::pin(async { Vec::new() })
    }

    fn accesses(&self) -> BoxFuture<'_, Option<Vec<Access>>> {
        let accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(std::future::ready(accesses))
    }

    fn usage(&self) -> LiveUsage {
        LiveUsage::default()
    }

    fn finished(&self) -> BoxFuture<'_, ExitReport> {
        let mut over = self.over.subscribe();
        Box::pin(async move {
            let over = over.wait_for(Option::is_some).await.expect("the sender is in self");
            over.clone().expect("waited for it")
        })
    }
}
