//! One attempt of one job, from its plan to its exit report.
//!
//! The engine calls, in this order: [`Host::plan`] → commit `starting` → audit
//! `job_started` durable → [`Prepared::start`] → commit `running` → tell →
//! [`Attempt::finished`] → audit `job_completed` durable → commit the final state
//! → tell.

mod capacity;
mod denied;
mod directory;
mod disk;
mod findings;
mod host;
mod landlock_log;
mod look;
mod opens;
mod preview;
mod remains;
mod report;

pub use directory::JobDirectory;
pub use host::{Host, HostConfig};
pub use opens::Access;
pub use preview::Preview;

pub use crate::launch::{LaunchTimes, Mark};
use crate::secrets::Given;
pub(crate) use opens::Opens;
pub(crate) use report::duration_words;

use crate::cgroup::JobCgroup;
use crate::launch::{Account, Created, LaunchError, Launched, Outcome};
use crate::plan::Plan;
use disk::Watch;
use fetchml_api::agent::STOP;
use fetchml_api::job::{
    Denied, ExitReport, FailureClass, JobId, JobSpec, JobState, Layer, LiveUsage,
};
use fetchml_policies::Profile;
use fetchml_sys::watch::readiness;
use remains::{Ended, Remains};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;

/// Who submitted the job; taken from the kernel by `access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// Host user id.
    pub uid: u32,
    /// Host primary group id.
    pub gid: u32,
}

/// A refusal: what, on which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be carried out as it stands.
    #[error("{0}")]
    Invalid(String),
    /// This machine cannot hold a layer or a limit.
    #[error("{0}")]
    BarrierUnavailable(String),
    /// Something failed that the caller did not ask for.
    #[error("{0}")]
    Infrastructure(String),
}

/// One attempt to be planned.
#[derive(Debug)]
pub struct StartRequest {
    /// Number of the job.
    pub job: JobId,
    /// What was asked for.
    pub spec: JobSpec,
    /// Its sandbox profile.
    pub profile: Arc<Profile>,
    /// Who asked.
    pub submitter: Submitter,
    /// One for each entry of `spec.mounts`, in that order.
    pub directories: Vec<OwnedFd>,
    /// Which try it is, from 1. Each has a log and a report of its own.
    pub attempt: u32,
    /// Accelerators that the job alone may use, by [`crate::queue::Gpu::name`].
    pub gpus: Vec<String>,
    /// One for each entry of `spec.secrets`.
    pub secrets: Vec<Given>,
}

/// An attempt of an earlier run of the supervisor.
#[derive(Debug)]
pub struct AdoptRequest {
    /// Number of the job.
    pub job: JobId,
    /// What was asked for.
    pub spec: JobSpec,
    /// Host user id of the submitter.
    pub uid: u32,
    /// Layers as recorded when it started.
    pub layers: Vec<Layer>,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// Accelerators that it has for itself.
    pub gpus: Vec<String>,
    /// What the store says of the job.
    pub state: JobState,
    /// Host user id that the attempt ran as.
    pub host_uid: Option<u32>,
    /// Whether it was started in this run of the machine, if that is known.
    pub this_boot: Option<bool>,
}

/// What became of an earlier attempt.
#[derive(Debug)]
pub enum Adopted {
    /// Its agent lives.
    Running(Box<Attempt>),
    /// It is over.
    Ended(Box<ExitReport>),
    /// Nothing of it began and nothing is left of it: the job waits.
    NeverBegan,
}

/// A complete plan, of which the root is built and the rest not yet carried out.
#[derive(Debug)]
pub struct Prepared {
    /// Layers that will hold.
    pub layers: Vec<Layer>,
    /// Host user id that the job will run as.
    pub host_uid: u32,
    /// Taken by the start.
    plan: Option<(Created, Plan)>,
    name: String,
    about: About,
    host: Host,
}

/// What the report of an attempt needs to know of its job.
#[derive(Clone, Debug)]
struct About {
    job: JobId,
    attempt: u32,
    program: String,
    profile: String,
    time_limit_usec: Option<u64>,
    grace_usec: u64,
    disk_limit_bytes: Option<u64>,
    log_limit_bytes: Option<u64>,
    gpus: Vec<String>,
    directory: Arc<JobDirectory>,
}

/// What an agent gets beyond the grace period before it is killed itself.
const AGENT_MARGIN: Duration = Duration::from_secs(15);

/// Grace period assumed of a job of an earlier run, the longest that profiles have.
const LONGEST_GRACE_USEC: u64 = 600 * 1_000_000;

impl Prepared {
    /// Lets the child complete the sandbox and execute the agent.
    ///
    /// # Errors
    /// A report that names the step that failed; nothing runs then.
    pub async fn start(mut self) -> Result<Attempt, ExitReport> {
        let (layers, about, host) = (self.layers.clone(), self.about.clone(), self.host.clone());
        let mut class = FailureClass::Infrastructure;
        let Some((created, mut plan)) = self.plan.take() else {
            return Err(report::of_failed_launch("it has no plan", class, now_usec()));
        };
        plan.times.pass(Mark::Ordered);
        let targets = plan.targets();
        let begun = Instant::now();
        let Outcome { root, plan, mut times, result } = created.start(plan).await;
        let group = root.and_then(|root| root.cgroup);
        let kept = plan.map(|plan| {
            let Plan { account, work, overlay, outputs, mounts, .. } = *plan;
            host.launcher().tidy().soon((work, overlay, outputs, mounts));
            times.join(&plan.times);
            (
                Some(account),
                plan.channels.network,
                plan.opens,
                readiness(plan.bell).ok().map(Box::new),
            )
        });
        let (account, network, opens, bell) = kept.unwrap_or_default();
        let problem = match result {
            Ok(Launched { child, mounts }) => match readiness(child.pidfd) {
                Ok(pidfd) => {
                    let pid = child.pid;
                    times.pass(Mark::Followed);
                    host.landlock_log().follow(pid, begun);
                    if let Some(group) = &group {
                        group.call(&self.name);
                    }
                    let disk = host.watch_disk(&about, pidfd.get_ref());
                    return Ok(Attempt {
                        layers,
                        pid,
                        times,
                        pidfd,
                        bell: bell.into(),
                        held: Some(Box::new(Held { account, mounts, network })).into(),
                        group,
                        disk,
                        opens,
                        about,
                        host,
                    });
                }
                Err(e) => format!("cannot watch the agent: {e}"),
            },
            Err(LaunchError::Unprepared(refusal)) => refusal.to_string(),
            Err(LaunchError::Clone(errno)) => format!("cannot clone the agent: {errno}"),
            Err(LaunchError::Step(failure)) => {
                class = report::failure_class(&failure);
                report::failure_words(&failure, &targets)
            }
            Err(LaunchError::Killed) => {
                "its process was killed before it could execute the agent".to_owned()
            }
            Err(LaunchError::GivenUp) => "it was given up".to_owned(),
            Err(LaunchError::NoLauncher) => "the launcher thread is gone".to_owned(),
        };
        if let Some(group) = group {
            group.remove();
        }
        host.forget_identity(about.job);
        Err(report::of_failed_launch(&problem, class, now_usec()))
    }
}

impl Drop for Prepared {
    /// A plan that was not carried out leaves nothing behind but the job's directory.
    fn drop(&mut self) {
        if self.plan.take().is_some() {
            self.host.forget_identity(self.about.job);
        }
    }
}

/// A running attempt.
#[derive(Debug)]
pub struct Attempt {
    /// Layers that hold.
    pub layers: Vec<Layer>,
    /// Process id of the agent on the host.
    pub pid: i32,
    /// Where the time of its launch went.
    pub times: LaunchTimes,
    pidfd: AsyncFd<OwnedFd>,
    /// Readable when the agent's report is complete; nothing of one that an earlier run
    /// of the supervisor started.
    bell: Mutex<Option<Box<AsyncFd<OwnedFd>>>>,
    /// Until its end; nothing of one that an earlier run of the supervisor started.
    held: Mutex<Option<Box<Held>>>,
    group: Option<JobCgroup>,
    /// Where its use of the disk is limited.
    disk: Option<Watch>,
    /// What it opens of audited data, if it has some; nothing of one that an earlier
    /// run of the supervisor started.
    opens: Option<Box<Opens>>,
    about: About,
    host: Host,
}

/// What the supervisor holds of a job.
#[derive(Debug)]
struct Held {
    /// Who the job is.
    account: Option<Account>,
    /// Its mount namespace.
    mounts: Option<OwnedFd>,
    /// Its network namespace, whose end is as long.
    network: Option<OwnedFd>,
}

impl Attempt {
    /// Asks for the end: TERM, the profile's grace period, KILL. Returns when the
    /// agent was told; an agent that then does not end in time is killed.
    pub async fn stop(&self) {
        let Ok(pidfd) = self.pidfd.get_ref().try_clone() else { return };
        self.host.end(&self.about, pidfd, STOP).await;
    }

    /// What it uses at this moment.
    #[must_use]
    pub fn usage(&self) -> LiveUsage {
        let mut usage = self.group.as_ref().map(JobCgroup::live_usage).unwrap_or_default();
        usage.disk_bytes = self.disk.as_ref().and_then(|watch| watch.seen().taken().bytes());
        usage.gpus = self.host.allotment().accelerators.usage(&self.about.gpus);
        usage
    }

    /// What the sandbox refused so far; that system calls they are not known when the
    /// agent does not say in time.
    pub async fn denied(&self) -> Vec<Denied> {
        let counted = self.host.ask_what_was_denied(&self.about).await;
        let landlock = self.host.landlock_log().of(self.pid);
        denied::in_words(self.host.library(), &self.about.profile, counted.as_ref(), landlock)
    }

    /// What it did to audited data since the last call; waits for something. `None` when
    /// it is over, or has no such data.
    pub async fn accesses(&self) -> Option<Vec<Access>> {
        self.opens.as_ref()?.next().await
    }

    /// Waits for the end; the report is complete and classified. To be called once.
    pub async fn finished(&self) -> ExitReport {
        // Meanwhile the kernel takes the agent apart.
        let see = || Remains::see(&self.about, self.group.as_ref());
        let remains = self.rung().await.then(see);
        // A pidfd is readable when its process has ended, and never stops being so.
        let ended = self.pidfd.readable().await.map(drop);
        if let Err(error) = &ended {
            tracing::error!(job = self.about.job.0, %error, "cannot wait for the agent");
        }
        // While its mounts are where the job saw them.
        if let Some(opens) = &self.opens {
            opens.finish();
        }
        let seen = self.disk.as_ref().map(|watch| watch.seen().taken());
        // While the process id is the agent's.
        let landlock = self.host.landlock_log().take(self.pid);
        if let Some(held) = taken(&self.held) {
            let Held { account, mounts, network } = *held;
            self.host.launcher().tidy().soon((mounts, network));
            match (account, self.pidfd.get_ref().try_clone()) {
                (Some(account), Ok(agent)) if ended.is_ok() => {
                    self.host.launcher().ahead().renew(account, agent);
                }
                // Without a descriptor for that it is waited for here.
                _ => drop(waitid(WaitId::PidFd(self.pidfd.as_fd()), WAIT_NO_LONGER)),
            }
        }
        let remains = remains.filter(Remains::is_fresh).unwrap_or_else(see);
        let ended = Ended { remains, disk: seen, landlock };
        ended.collect(&self.host, &self.about, self.group.as_ref(), &self.layers).await
    }

    /// Waits for the agent's word that its report is complete; `false` when it ended
    /// without one.
    async fn rung(&self) -> bool {
        // Its first ring is the last that is heard: an agent in a job's hands could wake
        // the supervisor for ever.
        let Some(bell) = taken(&self.bell) else { return false };
        tokio::select! {
            rung = bell.readable() => rung.is_ok(),
            _ = self.pidfd.readable() => false,
        }
    }
}

const WAIT_NO_LONGER: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG);

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Microseconds since the epoch.
fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
