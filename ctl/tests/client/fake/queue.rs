//! The queue of the pretended supervisor: arrays are made by the contract's own
//! function, and their jobs wait for ever.

use super::{Job, No, Shared};
use fetchml_api::array::Expansion;
use fetchml_api::job::{JobDescription, JobId, JobSpec, JobState};
use fetchml_api::names::error as name;
use fetchml_api::proxy::Failures;
use std::collections::{BTreeMap, HashMap};
use tokio::sync::watch;
use zbus::OwnedVariant;

/// Remembers what was asked for, key by key.
pub(super) fn note(shared: &Shared, spec: &HashMap<String, OwnedVariant>) {
    let words = spec.iter().map(|(key, value)| (key.clone(), format!("{value:?}")));
    *shared.spec.lock().expect("no panic while held") = words.collect();
}

pub(super) fn submit_array(
    shared: &Shared,
    mut spec: HashMap<String, OwnedVariant>,
) -> Result<(u64, u64), No> {
    note(shared, &spec);
    let array = spec.remove("array").and_then(|v| String::try_from(v).ok());
    let sweep: Vec<(String, Vec<String>)> =
        spec.remove("sweep").and_then(|v| v.try_into().ok()).unwrap_or_default();
    let command: Vec<String> =
        spec.remove("command").and_then(|v| v.try_into().ok()).expect("a command");
    let all = Expansion::read(array.as_deref(), sweep, 100)
        .map_err(|_| No(name::INVALID_SPEC, "the most is 100"))?;
    let specs = all.specs(&JobSpec::plain(command), 1 << 20).expect("small");
    let mut jobs = shared.jobs.lock().expect("no panic while held");
    let first = jobs.len() as u64 + 1;
    for (id, mut spec) in (first..).zip(specs) {
        if let Some(place) = &mut spec.queueing.array {
            place.array = JobId(first);
        }
        jobs.insert(id, waiting(id, spec));
    }
    Ok((first, all.count()))
}

fn waiting(id: u64, spec: JobSpec) -> Job {
    let described = JobDescription {
        version: 1,
        id: JobId(id),
        uid: rustix::process::geteuid().as_raw(),
        user: None,
        state: JobState::Queued,
        reason: "waits for its turn; no job before it".into(),
        spec,
        attempt: 0,
        submitted_usec: 1,
        started_usec: None,
        finished_usec: None,
        host_uid: None,
        denied: Vec::new(),
        report: None,
        held: false,
        not_before_usec: None,
        dead: false,
        gpu_names: Vec::new(),
        usage: None,
    };
    Job {
        described: watch::Sender::new(described),
        cancelled: watch::Sender::new(false),
        log: std::path::PathBuf::new(),
        project_file: String::new(),
    }
}

pub(super) fn members(shared: &Shared, array: u64) -> Result<Vec<u64>, No> {
    let place = shared.job(array, |job| job.described.borrow().spec.queueing.array)?;
    let place = place.ok_or(No(name::INVALID_SPEC, "it is no array"))?;
    Ok((array..array + place.count).collect())
}

pub(super) fn describe_array(shared: &Shared, array: u64) -> Result<String, No> {
    let members = members(shared, array)?;
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    let mut held = 0;
    for id in &members {
        let job = shared.job(*id, |job| job.described.borrow().clone())?;
        *states.entry(job.state.as_str()).or_default() += 1;
        held += usize::from(job.held);
    }
    let count = members.len();
    let reason = (held == count).then_some("held: release it to let it start");
    Ok(serde_json::json!({ "version": 1, "array": array, "name": "x[1]", "count": count,
        "at_once": 0, "states": states, "reason": reason })
    .to_string())
}

/// Changes jobs that wait or are dead; the others are told of.
pub(super) fn change(
    shared: &Shared,
    jobs: &[u64],
    change: impl Fn(&mut JobDescription),
) -> Failures {
    let refused = |id: &u64| {
        let fits = |job: &Job| {
            let d = job.described.borrow();
            d.state == JobState::Queued || d.dead
        };
        let (error, words) = match shared.job(*id, fits) {
            Ok(true) => {
                let _ = shared.job(*id, |job| job.described.send_modify(&change));
                return None;
            }
            Ok(false) => (name::INVALID_SPEC, "only a job that waits can be changed"),
            Err(No(error, words)) => (error, words),
        };
        Some((*id, (error.to_owned(), words.to_owned())))
    };
    jobs.iter().filter_map(refused).collect()
}

pub(super) fn overview(shared: &Shared) -> String {
    let jobs = shared.jobs.lock().expect("no panic while held");
    let count = |wanted| jobs.values().filter(|j| j.described.borrow().state == wanted).count();
    serde_json::json!({
        "running": count(JobState::Running), "queued": count(JobState::Queued), "slots": 4,
        "draining": *shared.draining.lock().expect("no panic while held"),
        "taken": { "milli_cpus": 500, "memory_bytes": 0, "gpus": 0, "gpu_kind": null },
        "capacity": { "slots": 4, "milli_cpus": 4000, "memory_bytes": 1 << 30, "gpus": [] },
        "users": [{ "uid": 0, "user": "root", "queued": 1, "running": 0, "used": 0.0,
            "gpu_hours": 0.0 }],
    })
    .to_string()
}
