//! Jobs for tests.

use fetchml_api::job::{
    Denied, ExitReport, FailureClass, JobDescription, JobId, JobSpec, JobState, Layer, LayerState,
    Limits, MountMode, MountRequest, Usage,
};
use std::collections::BTreeMap;

/// When the examples were submitted.
pub(crate) const SUBMITTED: u64 = 1_763_000_000_000_000;

/// Calls that the sandbox refused.
pub(crate) fn denied(call: &str, count: u64, allowed_by: &[&str]) -> Denied {
    let allowed_by = allowed_by.iter().map(|&name| name.to_owned()).collect();
    Denied { call: call.into(), count, allowed_by }
}

/// A job that runs.
pub(crate) fn running(id: u64) -> JobDescription {
    JobDescription {
        version: 1,
        id: JobId(id),
        uid: 1000,
        user: Some("alice".into()),
        state: JobState::Running,
        reason: "running".into(),
        spec: JobSpec {
            env: BTreeMap::from([("SEED".into(), "7".into())]),
            name: "train".into(),
            time_limit_usec: Some(7_200_000_000),
            limits: Limits { memory_bytes: Some(4 << 30), cpus: Some(1.5), ..Limits::default() },
            mounts: vec![MountRequest {
                target: "/work".into(),
                mode: MountMode::Project,
                label: "/home/alice/digits".into(),
            }],
            ..JobSpec::plain(vec!["python3".into(), "train.py".into()])
        },
        attempt: 1,
        submitted_usec: SUBMITTED,
        started_usec: Some(SUBMITTED + 1_000_000),
        finished_usec: None,
        host_uid: Some(700_000),
        denied: Vec::new(),
        usage: None,
        report: None,
        held: false,
        not_before_usec: None,
        dead: false,
        gpu_names: Vec::new(),
    }
}

/// A job that ended with code 3.
pub(crate) fn failed(id: u64) -> JobDescription {
    let mut job = running(id);
    job.state = JobState::Failed;
    job.reason = "exit code 3".into();
    job.finished_usec = Some(SUBMITTED + 3_000_000);
    job.host_uid = None;
    let layer =
        |name: &str, state, detail: &str| Layer { name: name.into(), state, detail: detail.into() };
    job.report = Some(ExitReport {
        summary: "exit code 3".into(),
        failure: Some(FailureClass::UserError),
        exit_code: Some(3),
        signal: None,
        exec_errno: None,
        status: 3,
        started_usec: SUBMITTED + 1_000_000,
        finished_usec: SUBMITTED + 3_000_000,
        stdout_bytes: 2048,
        stderr_bytes: 12,
        lost_output_bytes: 0,
        usage: Usage {
            user_usec: 1_500_000,
            system_usec: 20_000,
            max_rss_bytes: 50 << 20,
            ..Usage::default()
        },
        denied: Vec::new(),
        layers: vec![
            layer("seccomp", LayerState::Held, "default-hardened"),
            layer("landlock", LayerState::Partial, "level 3 of 6"),
        ],
    });
    job
}
