//! What is recorded: every audit record of the engine and the bus in one place,
//! so that a reviewer sees on one screen what an auditor will see. None holds a
//! command line, an environment value or anything a job wrote.

use crate::access::{Caller, RoleChange, user_name};
use crate::config::Config;
use crate::store::JobRecord;
use crate::supervise::Access;
use fetchml_api::audit::{Actor, Event, NewRecord, Outcome};
use fetchml_api::job::{Denied, FailureClass, JobId, JobState, Layer, LayerState};
use std::time::Duration;

fn job(event: Event, actor: Actor<'static>, action: &str, id: JobId) -> NewRecord {
    NewRecord::new(event, actor, action, &format!("job/{id}")).job(id)
}

fn owner(record: &JobRecord) -> Actor<'static> {
    user(record.uid)
}

fn user(uid: u32) -> Actor<'static> {
    let actor = Actor::uid(uid);
    match user_name(uid) {
        Some(name) => actor.named(&name),
        None => actor,
    }
}

/// The supervisor, which acts as root.
fn supervisor() -> Actor<'static> {
    user(rustix::process::geteuid().as_raw())
}

/// Jobs were accepted: one, or those of an array, in one record.
#[must_use]
pub fn queued(caller: &Caller, accepted: &[JobRecord]) -> NewRecord {
    let first = &accepted[0];
    let mut queued = describe(job(Event::JobQueued, user(caller.uid()), "submit", first.id), first)
        .source(caller.source());
    if accepted.len() > 1 {
        let ids: Vec<JobId> = accepted.iter().map(|record| record.id).collect();
        queued = queued.detail("array", ranges(&ids));
    }
    match first.privileges.is_empty() {
        true => queued,
        false => queued.detail("privileges", first.privileges.join("; ")),
    }
}

/// Jobs that waited were taken over from the supervisor that was here before.
#[must_use]
pub fn requeued(jobs: &[JobId]) -> NewRecord {
    NewRecord::new(Event::JobQueued, supervisor(), "requeue", "queue")
        .detail("recovered", "the supervisor was restarted")
        .detail("jobs", ranges(jobs))
}

/// Jobs were forgotten and their files deleted, as the configuration wants it.
#[must_use]
pub fn pruned(jobs: &[JobId]) -> NewRecord {
    NewRecord::new(Event::FileDelete, supervisor(), "prune", "jobs").detail("jobs", ranges(jobs))
}

/// Somebody takes a copy of the job store.
#[must_use]
pub fn backed_up(caller: &Caller) -> NewRecord {
    NewRecord::new(Event::FileRead, user(caller.uid()), "back-up", "store").source(caller.source())
}

/// Somebody changed a job that waited or had failed.
#[must_use]
pub fn changed(caller: &Caller, id: JobId, what: &str) -> NewRecord {
    job(Event::JobChanged, user(caller.uid()), what, id).source(caller.source())
}

/// An attempt failed and another follows.
#[must_use]
pub fn retried(record: &JobRecord, class: FailureClass, pause: Duration) -> NewRecord {
    let layers = record.report.as_ref().map(|report| layers(&report.layers));
    job(Event::JobRetried, owner(record), "retry", record.id)
        .result(Outcome::Failure)
        .detail("attempt", record.attempt)
        .detail("failure", class)
        .detail("layers", layers.unwrap_or_default())
        .detail("pause_seconds", pause.as_secs())
}

/// Numbers of jobs in order, `3-7,9`.
fn ranges(jobs: &[JobId]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = jobs;
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(first.0..).take_while(|(job, n)| job.0 == *n).count();
        let (run, after) = rest.split_at(run);
        words.push(match run {
            [_, .., last] => format!("{first}-{last}"),
            _ => first.to_string(),
        });
        rest = after;
    }
    words.join(",")
}

fn describe(new: NewRecord, record: &JobRecord) -> NewRecord {
    new.detail("name", &record.spec.name)
        .detail("experiment", &record.spec.experiment)
        .detail("profile", &record.spec.profile)
}

/// A job's command is about to be executed.
#[must_use]
pub fn started(record: &JobRecord) -> NewRecord {
    let host_uid = record.host_uid.map_or_else(|| "none".to_owned(), |uid| uid.to_string());
    let new = job(Event::JobStarted, owner(record), "start", record.id)
        .detail("attempt", record.attempt)
        .detail("profile", &record.spec.profile)
        .detail("layers", layers(&record.layers))
        .detail("host_uid", host_uid);
    match record.spec.secrets.as_slice() {
        [] => new,
        secrets => {
            let mut names: Vec<&str> = secrets.iter().map(|one| one.name.as_str()).collect();
            names.sort_unstable();
            // One may be given as a file and as a variable.
            names.dedup();
            new.detail("secrets", names.join(","))
        }
    }
}

/// Somebody added, replaced or removed a secret.
#[must_use]
pub fn secret(caller: &Caller, event: Event, name: &str) -> NewRecord {
    let action = match event {
        Event::SecretAdded => "add-secret",
        Event::SecretRotated => "rotate-secret",
        _ => "remove-secret",
    };
    NewRecord::new(event, user(caller.uid()), action, &format!("secret/{name}"))
        .source(caller.source())
}

/// A secret was taken away from the owner of a job while the job waited.
#[must_use]
pub fn secret_denied(record: &JobRecord, why: &str) -> NewRecord {
    job(Event::PolicyDenied, owner(record), "start", record.id)
        .result(Outcome::Denied)
        .detail("why", why)
}

/// A job is over.
#[must_use]
pub fn completed(record: &JobRecord) -> NewRecord {
    let outcome = match (record.state, record.report.as_ref().and_then(|report| report.failure)) {
        (JobState::Succeeded, _) => Outcome::Success,
        (_, Some(FailureClass::PolicyDenied)) => Outcome::Denied,
        _ => Outcome::Failure,
    };
    let mut new = job(Event::JobCompleted, owner(record), "complete", record.id)
        .result(outcome)
        .detail("attempt", record.attempt)
        .detail("state", record.state);
    if let Some(report) = &record.report {
        new = new.detail("status", report.status).detail("layers", layers(&report.layers));
        if let Some(class) = report.failure {
            new = new.detail("failure", class);
        }
        if let Some(code) = report.exit_code {
            new = new.detail("exit_code", code);
        }
        if let Some(signal) = report.signal {
            new = new.detail("signal", signal);
        }
        if report.denied.iter().any(Denied::is_uncounted) {
            new = new.detail("denials", "could not be counted");
        }
    }
    new
}

/// A job did something to a file of audited data.
#[must_use]
pub fn accessed(record: &JobRecord, access: &Access) -> NewRecord {
    let of = |event: Event, action: &str, resource: &str| {
        NewRecord::new(event, owner(record), action, resource)
            .job(record.id)
            .detail("attempt", record.attempt)
    };
    match access {
        Access::Opened(path) => of(Event::FileRead, "open", &path.to_string_lossy()),
        Access::Written(path) => of(Event::FileWrite, "write", &path.to_string_lossy()),
        Access::Unseen(why) => of(Event::FileRead, "lose-sight", "audited data")
            .result(Outcome::Failure)
            .detail("reason", why),
    }
}

/// The sandbox of a job that is over refused system calls. `None` when it did not.
#[must_use]
pub fn sandbox_denied(record: &JobRecord) -> Option<NewRecord> {
    // A value of a record has room for about so many.
    const TOLD: usize = 40;
    let report = record.report.as_ref()?;
    let counted: Vec<_> = report.denied.iter().filter(|one| !one.is_uncounted()).collect();
    if counted.is_empty() {
        return None;
    }
    let (others, kinds): (Vec<_>, Vec<_>) =
        counted.into_iter().partition(|one| one.call == Denied::OTHERS);
    let calls: Vec<_> = kinds.iter().take(TOLD).map(ToString::to_string).collect();
    let mut new = job(Event::PolicyDenied, owner(record), "system-call", record.id)
        .result(Outcome::Denied)
        .detail("attempt", record.attempt)
        .detail("profile", &record.spec.profile)
        .detail("calls", calls.join(", "));
    if kinds.len() > TOLD {
        new = new.detail("more_calls", kinds.len() - TOLD);
    }
    if let [others, ..] = others[..] {
        new = new.detail("others", others.count);
    }
    Some(new)
}

/// The profile of a job that waited gives more now than was granted for the job.
#[must_use]
pub fn profile_denied(record: &JobRecord, beyond: &[String]) -> NewRecord {
    job(Event::PolicyDenied, owner(record), "start", record.id)
        .result(Outcome::Denied)
        .detail("profile", &record.spec.profile)
        .detail("granted", record.privileges.join("; "))
        .detail("privileges", beyond.join("; "))
}

/// No job is started from now on, or jobs are again.
#[must_use]
pub fn drained(caller: &Caller, draining: bool) -> NewRecord {
    let action = if draining { "drain" } else { "end-drain" };
    NewRecord::new(Event::QueueDrained, user(caller.uid()), action, "queue").source(caller.source())
}

/// Somebody asked for the end of the supervisor, and of its jobs as well.
#[must_use]
pub fn shutdown_asked(caller: &Caller, jobs: bool) -> NewRecord {
    NewRecord::new(Event::DaemonStopped, user(caller.uid()), "ask-to-stop", "fetchmld")
        .source(caller.source())
        .detail("jobs", if jobs { "are ended" } else { "go on" })
}

/// Somebody reads the audit log.
#[must_use]
pub fn audit_read(caller: &Caller) -> NewRecord {
    NewRecord::new(Event::AuditRead, user(caller.uid()), "read", "audit").source(caller.source())
}

/// Somebody verified the audit log, and says what came of it.
#[must_use]
pub fn audit_verified(caller: &Caller, status: u8, words: &str) -> NewRecord {
    let outcome = if status == 0 { Outcome::Success } else { Outcome::Failure };
    NewRecord::new(Event::AuditVerified, user(caller.uid()), "verify", "audit")
        .source(caller.source())
        .result(outcome)
        .detail("status", status)
        .detail("words", words)
}

/// Somebody asked for the end of a job.
#[must_use]
pub fn cancelled(caller: &Caller, id: JobId) -> NewRecord {
    job(Event::JobCancelled, user(caller.uid()), "cancel", id).source(caller.source())
}

/// Somebody was refused something.
#[must_use]
pub fn denied(caller: &Caller, action: &str, resource: &str, why: &str) -> NewRecord {
    NewRecord::new(Event::PolicyDenied, user(caller.uid()), action, resource)
        .source(caller.source())
        .result(Outcome::Denied)
        .detail("reason", why)
}

/// Somebody is who they say, and may do something: use the supervisor at all, or what
/// polkit has granted.
#[must_use]
pub fn let_in(caller: &Caller, action: &str, resource: &str) -> NewRecord {
    NewRecord::new(Event::AuthSuccess, user(caller.uid()), action, resource).source(caller.source())
}

/// Somebody got a role or lost it; who did that, the machine does not say.
#[must_use]
pub fn role_changed(change: &RoleChange, occasion: &str) -> NewRecord {
    let action = if change.given { "give-role" } else { "take-role" };
    NewRecord::new(Event::RoleChanged, supervisor(), action, &format!("user/{}", change.user))
        .detail("role", &change.role)
        .detail("seen_at", occasion)
}

/// Somebody was not let in. `suppressed` counts the same refusals since the
/// last record of them.
#[must_use]
pub fn turned_away(caller: &Caller, why: &str, suppressed: u64) -> NewRecord {
    NewRecord::new(Event::AuthFailure, user(caller.uid()), "connect", "bus")
        .source(caller.source())
        .result(Outcome::Denied)
        .detail("reason", why)
        .detail("suppressed", suppressed)
}

/// The supervisor takes work.
#[must_use]
pub fn daemon_started(mode: &str) -> NewRecord {
    NewRecord::new(Event::DaemonStarted, supervisor(), "start", "fetchmld")
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("mode", mode)
}

/// The supervisor stops; what runs goes on.
#[must_use]
pub fn daemon_stopped(why: &str, running: usize, queued: usize) -> NewRecord {
    NewRecord::new(Event::DaemonStopped, supervisor(), "stop", "fetchmld")
        .detail("reason", why)
        .detail("running", running)
        .detail("queued", queued)
}

/// Configuration and policies are in force.
#[must_use]
pub fn config_loaded(config: &Config, profiles: &str) -> NewRecord {
    NewRecord::new(Event::ConfigLoaded, supervisor(), "load", "configuration")
        .detail("max_running", config.jobs.max_running)
        .detail("default_profile", &config.jobs.default_profile)
        .detail("profiles", profiles)
        .detail("allowed_literals", config.secrets.allow_literal.join(" "))
}

/// Configuration or policies were to be read again and cannot be used.
#[must_use]
pub fn config_refused(why: &str) -> NewRecord {
    NewRecord::new(Event::ConfigLoaded, supervisor(), "load", "configuration")
        .result(Outcome::Failure)
        .detail("reason", why)
}

/// What did not hold in full comes with what was missing, and devices with their
/// names, since a profile's patterns do not say which there were.
fn layers(layers: &[Layer]) -> String {
    let words = layers.iter().map(|layer| match layer.state {
        LayerState::Held if layer.name == Layer::DEVICES => {
            format!("{}=held ({})", layer.name, layer.detail)
        }
        LayerState::Held => format!("{}=held", layer.name),
        LayerState::Partial => format!("{}=partial ({})", layer.name, layer.detail),
        LayerState::Missing => format!("{}=missing ({})", layer.name, layer.detail),
    });
    words.collect::<Vec<_>>().join(" ")
}
