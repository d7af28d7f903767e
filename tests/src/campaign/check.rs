//! Nothing goes away any more: every job ends, and says the truth.

use super::{Answers, Kind, Outcome, Served, Told};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(served: &impl Served, answers: &Answers, outcome: &mut Outcome) {
    let told = &answers.told;
    outcome.told = told.len();
    if told.is_empty() {
        let last = answers.refused.as_ref().map(ToString::to_string).unwrap_or_default();
        outcome.wrong.push(format!("no job was accepted: {last}"));
    }
    let mut all = match ended(served, told) {
        Ok(all) => all,
        Err(why) => {
            outcome.wrong.push(why);
            return;
        }
    };
    for job in told {
        let ended = all.remove(&job.id).ok_or_else(|| "is not there".to_owned());
        if let Err(why) = ended.and_then(|ended| check_job(served, job, &ended, outcome)) {
            let attempts = served.ctl(&["attempts", &job.id]).stdout;
            outcome.wrong.push(format!("job {} ({}): {why}\n{attempts}", job.id, job.tag));
        }
    }
    // Jobs that were accepted while their client heard nothing of it are jobs as well.
    outcome.untold = all.len();
    for (id, ended) in all.iter().filter(|(_, ended)| ended.ran_too_often()) {
        let about = ended.words();
        outcome.wrong.push(format!("job {id}, of which no client was told: {about}"));
    }
    let verified = served.verify();
    if verified.status != 0 {
        outcome.wrong.push(format!("the audit log: {verified}"));
    }
}

/// All jobs there are, each at its end.
fn ended(served: &impl Served, told: &[Told]) -> Result<BTreeMap<String, Ended>, String> {
    // A cancellation that was confirmed is not lost, whatever went away since.
    let confirmed: BTreeSet<_> =
        told.iter().filter(|job| job.cancelled).map(|job| job.id.as_str()).collect();
    for job in list(served)? {
        let id = job["id"].to_string();
        let endless = job["spec"]["command"].to_string().contains("sleep 100000");
        let over = job["finished_usec"].is_u64();
        if endless && !over && !confirmed.contains(id.as_str()) {
            served.ctl(&["cancel", &id]);
        }
        if !over {
            served.ctl(&["wait", &id]);
        }
    }
    let counts = served.counts();
    let jobs = list(served)?.into_iter().map(|job| {
        let id = job["id"].to_string();
        let runs = counts.get(&id).copied().unwrap_or(0);
        (id, Ended::of(&job, runs))
    });
    Ok(jobs.collect())
}

fn list(served: &impl Served) -> Result<Vec<Value>, String> {
    let listed = served.ctl(&["--json", "list", "--limit", "1000000"]);
    serde_json::from_str(&listed.stdout)
        .map_err(|error| format!("the list of jobs cannot be read: {error}: {listed}"))
}

/// How a job ended, as it says itself.
struct Ended {
    state: String,
    class: String,
    attempt: u64,
    reason: String,
    runs: usize,
    status: Option<i64>,
}

impl Ended {
    fn of(job: &Value, runs: usize) -> Self {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            state: word(&job["state"]),
            class: word(&job["report"]["failure"]),
            attempt: job["attempt"].as_u64().unwrap_or(0),
            reason: word(&job["reason"]),
            runs,
            status: job["report"]["exit_code"].as_i64(),
        }
    }

    /// A run is one attempt's.
    fn ran_too_often(&self) -> bool {
        u64::try_from(self.runs).is_ok_and(|runs| runs > self.attempt)
    }

    fn words(&self) -> String {
        let Self { state, class, attempt, reason, runs, status } = self;
        format!(
            "{state} ({class}) with {status:?} in attempt {attempt}, ran {runs} times: {reason}"
        )
    }
}

fn check_job(
    served: &impl Served,
    job: &Told,
    ended: &Ended,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let about = ended.words();
    let most = 1 + if served.loses_jobs() { job.tries } else { 0 };
    if ended.attempt > most || ended.ran_too_often() {
        return Err(format!("may be tried {most} times and run once in each: {about}"));
    }
    outcome.tried_again += usize::from(ended.attempt > 1);
    let (status, wanted) = match job.kind {
        Kind::Quick(0) | Kind::Slow(0) => (Some(0), "succeeded"),
        Kind::Quick(status) | Kind::Slow(status) => (Some(i64::from(status)), "failed"),
        Kind::Endless => (None, "cancelled"),
    };
    let whole = format!("begin {0}\nend {0}\n", job.tag);
    let given_up = served.loses_jobs() && ended.state == "failed" && ended.class == "lost";
    if given_up && ended.attempt == most && !job.cancelled {
        outcome.given_up += 1;
        let log = served.ctl(&["logs", &job.id]).stdout;
        return if whole.starts_with(&log) {
            Ok(())
        } else {
            Err(format!("its log is {log:?}; {about}"))
        };
    }
    if ended.state != wanted || status.is_some() && status != ended.status {
        return Err(format!("should be {wanted} with {status:?}, is {about}"));
    }
    if status.is_none() {
        outcome.cancelled += 1;
        return Ok(());
    }
    if ended.runs == 0 {
        return Err(format!("ended without a run: {about}"));
    }
    let log = served.ctl(&["logs", &job.id]).stdout;
    if log == whole { Ok(()) } else { Err(format!("its log is {log:?}; {about}")) }
}
