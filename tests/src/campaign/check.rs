//! Nothing goes away any more: every job ends, and says the truth.

use super::{Answers, Kind, Outcome, Served, Told};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn check(served: &impl Served, answers: &Answers, outcome: &mut Outcome) {
    let told = &answers.told;
    outcome.told = told.len();
    if told.is_empty() {
        let last = answers.refused.as_ref().map(ToString::to_string).unwrap_or_default();
        outcome.wrong.push(format!("no job was accepted: {last}"));
    }
    for job in told.iter().filter(|job| job.kind == Kind::Endless && !job.cancelled) {
        // A cancellation that nobody confirmed may have been lost.
        served.ctl(&["cancel", &job.id]);
    }
    for job in told {
        if let Err(why) = check_job(served, job, outcome) {
            outcome.wrong.push(format!("job {} ({}): {why}", job.id, job.tag));
        }
    }
    check_untold(served, told, outcome);
    let verified = served.verify();
    if verified.status != 0 {
        outcome.wrong.push(format!("the audit log: {verified}"));
    }
}

/// How a job ended, as it says itself.
struct Ended {
    state: String,
    class: String,
    attempt: u64,
    reason: String,
    runs: usize,
    status: i32,
}

impl Ended {
    fn of(served: &impl Served, id: &str) -> Result<Self, String> {
        let waited = served.ctl(&["wait", id]);
        let description = description(served, id)?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            state: word(&description["state"]),
            class: word(&description["report"]["failure"]),
            attempt: description["attempt"].as_u64().unwrap_or(0),
            reason: word(&description["reason"]),
            runs: served.count(id),
            status: waited.status,
        })
    }

    fn words(&self) -> String {
        let Self { state, class, attempt, reason, runs, status } = self;
        format!("{state} ({class}) with {status} in attempt {attempt}, ran {runs} times: {reason}")
    }
}

fn check_job(served: &impl Served, job: &Told, outcome: &mut Outcome) -> Result<(), String> {
    let ended = Ended::of(served, &job.id)?;
    let about = ended.words();
    let most = 1 + if served.loses_jobs() { job.tries } else { 0 };
    if ended.attempt > most || u64::try_from(ended.runs).is_ok_and(|runs| runs > ended.attempt) {
        return Err(format!("may be tried {most} times and run once in each: {about}"));
    }
    outcome.tried_again += usize::from(ended.attempt > 1);
    let (status, wanted) = match job.kind {
        Kind::Quick(0) | Kind::Slow(0) => (Some(0), "succeeded"),
        Kind::Quick(status) | Kind::Slow(status) => (Some(i32::from(status)), "failed"),
        Kind::Endless => (None, "cancelled"),
    };
    let log = served.ctl(&["logs", &job.id]).stdout;
    let whole = format!("begin {0}\nend {0}\n", job.tag);
    let given_up = served.loses_jobs() && ended.state == "failed" && ended.class == "lost";
    if given_up && ended.attempt == most && !job.cancelled {
        outcome.given_up += 1;
        return if whole.starts_with(&log) {
            Ok(())
        } else {
            Err(format!("its log is {log:?}; {about}"))
        };
    }
    if ended.state != wanted || status.is_some_and(|status| status != ended.status) {
        return Err(format!("should be {wanted} with {status:?}, is {about}"));
    }
    if status.is_none() {
        outcome.cancelled += 1;
        return Ok(());
    }
    if ended.runs == 0 {
        return Err(format!("ended without a run: {about}"));
    }
    if log == whole { Ok(()) } else { Err(format!("its log is {log:?}; {about}")) }
}

fn description(served: &impl Served, id: &str) -> Result<Value, String> {
    let output = served.ctl(&["--json", "status", id]);
    let value: Value = serde_json::from_str(&output.stdout)
        .map_err(|e| format!("has no status: {e}: {output}"))?;
    Ok(if value.is_array() { value[0].clone() } else { value })
}

/// Jobs that were accepted while their client heard nothing of it are jobs as well.
fn check_untold(served: &impl Served, told: &[Told], outcome: &mut Outcome) {
    let listed = served.ctl(&["--json", "list", "--limit", "1000000"]);
    let jobs: Vec<Value> = match serde_json::from_str(&listed.stdout) {
        Ok(jobs) => jobs,
        Err(error) => {
            outcome.wrong.push(format!("the list of jobs cannot be read: {error}: {listed}"));
            return;
        }
    };
    let told: BTreeMap<_, _> = told.iter().map(|job| (job.id.as_str(), job)).collect();
    for job in jobs {
        let id = job["id"].to_string();
        if told.contains_key(id.as_str()) {
            continue;
        }
        outcome.untold += 1;
        if job["spec"]["command"].to_string().contains("sleep 100000") {
            served.ctl(&["cancel", &id]);
        }
        match Ended::of(served, &id) {
            Ok(ended) if u64::try_from(ended.runs).is_ok_and(|runs| runs <= ended.attempt) => {}
            Ok(ended) => {
                let about = ended.words();
                outcome.wrong.push(format!("job {id}, of which no client was told: {about}"));
            }
            Err(why) => outcome.wrong.push(format!("job {id}: {why}")),
        }
    }
}
