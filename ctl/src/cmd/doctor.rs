//! `doctor`: can this machine hold a sandbox? What can be seen from here, and
//! on top of it what the supervisor found, which knows better.

use crate::connect::{Supervisor, Target};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::host;
use crate::view::doctor::table;
use fetchml_api::host::{Finding, FindingState, Group};

/// Something without which no job runs is missing.
const STATUS_MISSING: u8 = 1;
/// Nothing is known to be missing, but not everything could be found out.
const STATUS_UNKNOWN: u8 = 2;

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let target = context.link.target();
    let mut findings = host::findings(target).await;
    // Looking must not start anything, so a private supervisor is asked only when it runs.
    let (supervisor, more) = match target.connect_running().await {
        Ok(supervisor) => asked(&supervisor).await,
        Err(_) => (absent(target), Vec::new()),
    };
    for finding in more {
        match findings.iter_mut().find(|f| f.name == finding.name) {
            Some(known) => *known = finding,
            None => findings.push(finding),
        }
    }
    findings.push(supervisor);
    findings.sort_by_key(|finding| finding.group);
    if context.json {
        let text = serde_json::to_string(&findings)
            .map_err(|e| Failure::no(format!("cannot write the findings as JSON: {e}")))?;
        context.print_json(&text)?;
    } else {
        context.print(&table(&findings, context.width, context.style))?;
    }
    Ok(status(&findings))
}

/// What a script learns: 0 when every need of a job is met.
fn status(findings: &[Finding]) -> u8 {
    let any = |state| findings.iter().any(|f| f.needed && f.state == state);
    match (any(FindingState::Missing), any(FindingState::Unknown)) {
        (true, _) => STATUS_MISSING,
        (false, true) => STATUS_UNKNOWN,
        (false, false) => 0,
    }
}

/// What the supervisor says of itself and of the machine.
async fn asked(supervisor: &Supervisor) -> (Finding, Vec<Finding>) {
    const OURS: &str = env!("CARGO_PKG_VERSION");
    let text = match supervisor.manager.describe_host().await {
        Ok(text) => text,
        Err(error) => {
            let finding = Finding::missing(Group::System, "supervisor", error.to_string())
                .needed()
                .so("it answers nothing: no job runs")
                .fix("see its log: journalctl -u fetchmld, or run/fetchmld.log of a private one");
            return (finding, Vec::new());
        }
    };
    let found = serde_json::from_str(&text).unwrap_or_default();
    let theirs = supervisor.manager.version().await.unwrap_or_else(|_| "?".to_owned());
    let mode = supervisor.manager.mode().await.unwrap_or_else(|_| "?".to_owned());
    let finding = if theirs == OURS {
        Finding::ok(Group::System, "supervisor", format!("answers: {mode}, version {theirs}"))
    } else {
        Finding::partial(
            Group::System,
            "supervisor",
            format!("answers: {mode}, version {theirs}; this is fetchmlctl {OURS}"),
        )
        .so("each shows what it knows; newer things may be missing from what you see")
        .fix("install one version of both, and restart the supervisor")
    };
    (finding.needed(), found)
}

fn absent(target: &Target) -> Finding {
    let group = Group::System;
    match target {
        Target::System => Finding::partial(
            group,
            "supervisor",
            "the service does not answer; this is what can be seen without it",
        )
        .so("the system service runs no jobs now")
        .fix("systemctl start fetchmld, or use fetchmlctl --private as root"),
        Target::Private(dir) => Finding::ok(
            group,
            "supervisor",
            format!(
                "none runs in {}: one is started when needed; this is what can be seen without it",
                dir.display()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_job_can_do_without_decides_the_status() {
        let missing = Finding::missing(Group::Kernel, "a", "b");
        let unknown = Finding::unknown(Group::Kernel, "a", "b");
        let partial = Finding::partial(Group::Kernel, "a", "b").needed();
        assert_eq!(status(&[missing.clone(), unknown.clone(), partial]), 0);
        assert_eq!(status(&[unknown.clone().needed()]), 2);
        assert_eq!(status(&[unknown.needed(), missing.needed()]), 1);
    }
}
