//! What lives of the attempts of an earlier run of the supervisor.

use super::host::IDENTITY_SUFFIX;
use super::{About, AdoptRequest, Host};
use crate::cgroup::JobCgroup;
use crate::recover::{Began, Found};
use fetchml_api::agent::{AgentReport, ReportError};
use fetchml_api::job::JobId;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Dir;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{PidfdFlags, pidfd_open};
use std::time::Duration;

/// An agent that was just being launched may not listen yet, one with a full backlog
/// is busy, and a supervisor short of descriptors knows nothing: none of these says
/// that the agent is gone.
const PAUSE: Duration = Duration::from_millis(20);
const TRIES: u32 = 500;

/// Process id of an agent, and what names it whatever becomes of the number.
pub(super) type Agent = (i32, OwnedFd);

impl Host {
    /// Jobs with a socket of an agent, which need not live any more.
    pub fn lingering(&self) -> Vec<JobId> {
        let Ok(entries) = Dir::read_from(self.identities()) else { return Vec::new() };
        let job = |name: &str| Some(JobId(name.strip_suffix(IDENTITY_SUFFIX)?.parse().ok()?));
        entries.flatten().filter_map(|entry| job(entry.file_name().to_str().ok()?)).collect()
    }

    /// Removes what the attempts of these jobs, which are over, left in the way.
    pub fn sweep(&self, jobs: &[JobId]) {
        for job in jobs {
            self.forget_identity(*job);
        }
        self.cgroups().sweep();
    }

    /// What lives of an attempt. See [`crate::recover`] for what is proven by it.
    pub(super) async fn look(
        &self,
        about: &About,
        group: Option<&JobCgroup>,
        request: &AdoptRequest,
    ) -> (Found, Option<Agent>) {
        for _ in 0..TRIES {
            if request.this_boot == Some(false) {
                return (left(about, request), None);
            }
            match self.connect_once(about) {
                Ok(socket) => {
                    let agent = listening_process(&socket, request.host_uid);
                    let found = if agent.is_some() { Found::Agent } else { Found::Other };
                    return (found, agent);
                }
                Err(Errno::NOENT | Errno::CONNREFUSED) => {
                    // In this order: what is gone writes nothing any more.
                    let empty = group.is_some_and(JobCgroup::is_empty);
                    let gone =
                        empty || request.host_uid.is_some_and(|id| self.launcher().is_free(id));
                    let left = left(about, request);
                    if gone || left == Found::Report {
                        return (left, None);
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        let populated = group.is_some_and(|group| !group.is_empty());
        (if populated { Found::Populated } else { Found::Nothing(Began::Perhaps) }, None)
    }

    /// Connects to an agent that may be about to listen, or to end.
    pub(super) async fn reach_agent(&self, about: &About) -> Option<OwnedFd> {
        for _ in 0..TRIES {
            match self.connect_once(about) {
                Ok(socket) => return Some(socket),
                Err(Errno::NOENT) => return None,
                Err(Errno::CONNREFUSED) if has_report(about) => return None,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        None
    }
}

/// What an attempt left that has no process any more.
fn left(about: &About, request: &AdoptRequest) -> Found {
    if has_report(about) {
        return Found::Report;
    }
    let proven = request.this_boot == Some(true) && about.directory.report_is_empty(about.attempt);
    Found::Nothing(if proven { Began::Never } else { Began::Perhaps })
}

fn has_report(about: &About) -> bool {
    AgentReport::decode(&about.directory.read_report(about.attempt)) != Err(ReportError::Missing)
}

/// Who listens at a socket, if it is who runs as that id.
fn listening_process(socket: &OwnedFd, host_uid: Option<u32>) -> Option<Agent> {
    // For a connected client the peer's credentials are those of listen(2).
    let peer = sockopt::socket_peercred(socket).ok()?;
    if host_uid.is_some_and(|id| id != peer.uid.as_raw()) {
        return None;
    }
    let pidfd = match fetchml_sys::net::peer_pidfd(socket.as_fd()) {
        Err(Errno::NOPROTOOPT) => pidfd_open(peer.pid, PidfdFlags::empty()).ok()?,
        other => other.ok()?,
    };
    Some((peer.pid.as_raw_nonzero().get(), pidfd))
}
