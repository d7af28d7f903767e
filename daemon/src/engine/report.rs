//! Exit reports of jobs whose command never ran, and what a report means for the state.

use super::now_usec;
use fetchml_api::job::{
    ExitReport, FailureClass, JobState, STATUS_CANCELLED, STATUS_REFUSED, Usage,
};
use fetchml_api::queueing::Dependency;

/// The state in which a job with this report is.
pub(super) fn final_state(report: &ExitReport) -> JobState {
    match report.failure {
        None => JobState::Succeeded,
        Some(FailureClass::Timeout) => JobState::TimedOut,
        Some(FailureClass::Cancelled) => JobState::Cancelled,
        Some(_) => JobState::Failed,
    }
}

/// The command did not run.
pub(super) fn not_run(class: FailureClass, why: &str) -> ExitReport {
    ExitReport {
        summary: format!("did not run: {why}"),
        failure: Some(class),
        exit_code: None,
        signal: None,
        exec_errno: None,
        status: STATUS_REFUSED,
        started_usec: 0,
        finished_usec: now_usec(),
        stdout_bytes: 0,
        stderr_bytes: 0,
        lost_output_bytes: 0,
        usage: Usage::default(),
        layers: Vec::new(),
        denied: Vec::new(),
    }
}

/// Somebody cancelled the job before its command began.
pub(super) fn cancelled_early() -> ExitReport {
    ExitReport {
        summary: "cancelled before its command began".to_owned(),
        status: STATUS_CANCELLED,
        ..not_run(FailureClass::Cancelled, "")
    }
}

/// A job that had to succeed before this one did not.
pub(super) fn dependency_failed(dependency: Dependency) -> ExitReport {
    let why = format!("it was to start {dependency}, which did not succeed");
    not_run(FailureClass::Dependency, &why)
}
