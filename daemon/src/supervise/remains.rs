//! What an attempt left behind: read, cleaned up, and made a report of.

use super::disk::{self, Taken};
use super::{About, Host, denied, now_usec, report};
use crate::cgroup::{GroupUse, JobCgroup};
use fetchml_api::agent::{AgentReport, ReportError};
use fetchml_api::job::{Denied, ExitReport, Layer};
use std::time::{Duration, Instant};

/// What is there when the agent's report is complete.
#[derive(Debug)]
pub(super) struct Remains {
    group: GroupUse,
    report: Result<AgentReport, ReportError>,
    disk_full: bool,
    at: Instant,
}

impl Remains {
    /// Reads it.
    pub(super) fn see(about: &About, group: Option<&JobCgroup>) -> Self {
        // First, so that it is not younger than what is read.
        let at = Instant::now();
        let report = AgentReport::decode(&about.directory.read_report(about.attempt));
        Self {
            group: group.map(JobCgroup::usage).unwrap_or_default(),
            report,
            disk_full: about.directory.is_on_full_disk(),
            at,
        }
    }

    /// Whether it was read just now. What an agent says is complete long before it ends
    /// is read again: the supervisor's own counts are not to depend on its word.
    /// So is what could not be read.
    pub(super) fn is_fresh(&self) -> bool {
        self.report.is_ok() && self.at.elapsed() < Duration::from_millis(2)
    }
}

/// What is known when the agent has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) remains: Remains,
    /// What it took on the disk when that was last looked at.
    pub(super) disk: Option<Taken>,
    /// What Landlock refused.
    pub(super) landlock: Vec<Denied>,
}

impl Ended {
    /// Cleans up behind the attempt, and says what became of it.
    pub(super) async fn collect(
        self,
        host: &Host,
        about: &About,
        group: Option<&JobCgroup>,
        layers: &[Layer],
    ) -> ExitReport {
        let Remains { group: used, report, disk_full, .. } = self.remains;
        if let Some(group) = group {
            group.remove();
        }
        host.forget_identity(about.job);
        let in_words =
            |calls| denied::in_words(host.library(), &about.profile, calls, self.landlock);
        match report {
            Ok(agent) => {
                let context = report::Context {
                    layers,
                    program: &about.program,
                    profile: &about.profile,
                    denied: in_words(Some(&agent.denied)),
                    group: used,
                    time_limit_usec: about.time_limit_usec,
                    log_limit_bytes: about.log_limit_bytes,
                    disk: last_look(about, self.disk).await,
                    disk_full,
                };
                report::of_agent(&agent, &context)
            }
            Err(error) => {
                report::of_lost(error, &used, disk_full, layers, in_words(None), now_usec())
            }
        }
    }
}

/// What a job with a limit took on the disk: what it left or, if it was more, what
/// was seen of it before.
async fn last_look(about: &About, seen: Option<Taken>) -> Option<report::OnDisk> {
    let limit_bytes = about.disk_limit_bytes?;
    let left = disk::measure_once(&about.directory).await;
    let most = [left, seen].into_iter().flatten().max_by_key(|t| t.bytes().unwrap_or(u64::MAX));
    Some(report::OnDisk { taken: most?, limit_bytes })
}
