//! Questions to a supervisor, over a connection that is made again when it is lost.

mod files;
mod pages;
mod queue;
mod secrets;

pub(crate) use files::{Files, Part};
pub(crate) use queue::{Array, Change, Outcome};

use crate::connect::{Supervisor, Target, is_lost};
use crate::error::{Failure, Result};
use fetchml_api::job::JobDescription;
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::time::Instant;
use zbus::{Fd, OwnedObjectPath, Variant};

/// How long a supervisor may be away, for an upgrade or after a crash, before a
/// client that waits for a job gives up.
const AWAY_LIMIT: Duration = Duration::from_secs(30);

/// A job's description: the text as the supervisor sent it, so that `--json`
/// passes on what a newer supervisor knows, and what of it we understand.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) text: String,
    pub(crate) job: JobDescription,
}

impl Described {
    fn read(text: String) -> Result<Self> {
        match serde_json::from_str(&text) {
            Ok(job) => Ok(Self { text, job }),
            Err(e) => Err(unreadable(e)),
        }
    }
}

/// An answer of another version.
pub(crate) fn unreadable(error: serde_json::Error) -> Failure {
    Failure::no(format!("cannot read the supervisor's answer: {error}"))
        .hint("fetchmlctl and fetchmld may be of different versions")
}

/// Filter of `ListJobs` and `DescribeJobs`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) all_users: bool,
    pub(crate) state: Option<fetchml_api::job::JobState>,
    pub(crate) limit: Option<u32>,
    /// Only jobs of a lower number.
    pub(crate) before: Option<u64>,
}

impl Filter {
    fn wire(self) -> HashMap<&'static str, Variant<'static>> {
        let mut wire = HashMap::new();
        if self.all_users {
            wire.insert("all-users", Variant::from(true));
        }
        if let Some(state) = self.state {
            wire.insert("state", Variant::from(state.as_str()));
        }
        if let Some(limit) = self.limit {
            wire.insert("limit", Variant::from(limit));
        }
        if let Some(before) = self.before {
            wire.insert("before", Variant::from(before));
        }
        wire
    }
}

/// The way to one supervisor.
#[derive(Debug)]
pub(crate) struct Link {
    target: Target,
    /// Let the machine ask a person for a password before it refuses.
    ask: bool,
    current: RefCell<Option<Supervisor>>,
}

impl Link {
    pub(crate) fn new(target: Target, ask: bool) -> Self {
        Self { target, ask, current: RefCell::new(None) }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The connection, made at the first use.
    pub(crate) async fn supervisor(&self) -> Result<Supervisor> {
        if let Some(supervisor) = self.current.borrow().as_ref() {
            return Ok(supervisor.clone());
        }
        let supervisor = self.target.connect().await?;
        self.current.replace(Some(supervisor.clone()));
        Ok(supervisor)
    }

    /// Submits a job and returns its number.
    pub(crate) async fn submit(
        &self,
        spec: HashMap<&str, Variant<'_>>,
        mounts: Vec<(&str, &str, &str, Fd<'_>)>,
    ) -> Result<u64> {
        let manager = self.supervisor().await?.manager;
        let reply: zbus::Result<(u64, OwnedObjectPath)> = if self.ask {
            manager.submit_job(spec, mounts).await
        } else {
            manager.inner().call("SubmitJob", &(spec, mounts)).await
        };
        reply.map(|(id, _)| id).map_err(|e| Failure::bus("cannot submit the job", &e))
    }

    /// Everything known of a job.
    pub(crate) async fn describe(&self, id: u64) -> Result<Described> {
        let manager = self.supervisor().await?.manager;
        let text = manager
            .describe_job(id)
            .await
            .map_err(|e| Failure::bus(format_args!("cannot show job {id}"), &e))?;
        Described::read(text)
    }

    /// Asks for the end of a job.
    pub(crate) async fn cancel(&self, id: u64) -> Result<()> {
        let manager = self.supervisor().await?.manager;
        let reply = if self.ask {
            manager.cancel_job(id).await
        } else {
            manager.inner().call("CancelJob", &(id,)).await
        };
        reply.map_err(|e| Failure::bus(format_args!("cannot cancel job {id}"), &e))
    }

    /// The job's log, as soon as the supervisor has one: a job that waits or is
    /// being started may have none yet.
    pub(crate) async fn try_open_log(&self, id: u64) -> Result<OwnedFd> {
        let manager = self.supervisor().await?.manager;
        manager
            .open_log(id)
            .await
            .map(OwnedFd::from)
            .map_err(|e| Failure::bus(format_args!("cannot read the log of job {id}"), &e))
    }

    /// The log of one of its attempts.
    pub(crate) async fn open_attempt_log(&self, id: u64, attempt: u32) -> Result<OwnedFd> {
        let manager = self.supervisor().await?.manager;
        manager.open_attempt_log(id, attempt).await.map(OwnedFd::from).map_err(|e| {
            Failure::bus(format_args!("cannot read the log of job {id}, attempt {attempt}"), &e)
        })
    }

    /// What the job left in /outputs, or wrote in /work.
    pub(crate) async fn open_directory(&self, id: u64, work: bool) -> Result<OwnedFd> {
        let manager = self.supervisor().await?.manager;
        let reply = if work { manager.open_work(id).await } else { manager.open_outputs(id).await };
        reply
            .map(OwnedFd::from)
            .map_err(|e| Failure::bus(format_args!("cannot open the files of job {id}"), &e))
    }

    /// The next segments and checkpoints of the audit log in the order of their names,
    /// those after this one; none at the end. That somebody reads is recorded when there
    /// is none before.
    pub(crate) async fn audit_files(&self, after: &str) -> Result<Vec<(String, zbus::OwnedFd)>> {
        let audit = self.supervisor().await?.audit;
        let reply = if self.ask {
            audit.open_files(after).await
        } else {
            audit.inner().call("OpenFiles", &(after,)).await
        };
        reply.map_err(|e| Failure::bus("cannot read the audit log", &e))
    }

    /// A checkpoint of the audit log as it is now.
    pub(crate) async fn checkpoint(&self) -> Result<String> {
        let audit = self.supervisor().await?.audit;
        let reply = if self.ask {
            audit.checkpoint().await
        } else {
            audit.inner().call("Checkpoint", &()).await
        };
        reply.map_err(|e| Failure::bus("cannot make a checkpoint of the audit log", &e))
    }

    /// Public keys by which the audit log is known, the one in use last.
    pub(crate) async fn audit_keys(&self) -> Result<Vec<String>> {
        let audit = self.supervisor().await?.audit;
        let reply = audit.public_keys().await;
        reply.map_err(|e| Failure::bus("cannot read the keys of the audit log", &e))
    }

    /// Has it recorded that the log was verified.
    pub(crate) async fn report_verification(&self, status: u8, words: &str) -> Result<()> {
        let audit = self.supervisor().await?.audit;
        let reply = if self.ask {
            audit.report_verification(status, words).await
        } else {
            audit.inner().call("ReportVerification", &(status, words)).await
        };
        reply.map_err(|e| Failure::bus("the verification could not be recorded", &e))
    }

    /// Number and hash of the last durable audit record.
    pub(crate) async fn head(&self) -> Result<(u64, String)> {
        let audit = self.supervisor().await?.audit;
        let reply =
            if self.ask { audit.head().await } else { audit.inner().call("Head", &()).await };
        reply.map_err(|e| Failure::bus("cannot read the audit log", &e))
    }

    /// Waits for the end of a job, through restarts of the supervisor.
    pub(crate) async fn wait(&self, id: u64) -> Result<Described> {
        let mut away_since: Option<Instant> = None;
        let mut pause = Duration::from_millis(20);
        loop {
            let error = match self.supervisor().await {
                Ok(supervisor) => match supervisor.manager.wait_job(id).await {
                    Ok(text) => return Described::read(text),
                    Err(error) if is_lost(&error) => {
                        Failure::bus(format_args!("lost the supervisor while job {id} ran"), &error)
                    }
                    Err(error) => {
                        return Err(Failure::bus(format_args!("cannot wait for job {id}"), &error));
                    }
                },
                Err(failure) => failure,
            };
            // A supervisor that came back and went again gets the whole time anew.
            let answered = self.current.replace(None).is_some();
            let now = Instant::now();
            let since = match away_since {
                Some(since) if !answered => since,
                _ => now,
            };
            away_since = Some(since);
            if now.duration_since(since) >= AWAY_LIMIT {
                let command = self.target.command();
                return Err(error.hint(format!(
                    "job {id} may still run; when the supervisor is back: `{command} wait {id}`"
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Drops a lost connection, so that the next question makes a new one.
    pub(crate) fn forget(&self) {
        self.current.replace(None);
    }
}
