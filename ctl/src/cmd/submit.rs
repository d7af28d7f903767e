//! `submit`: queue a job or many and print the number.

use crate::cli::Submit;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::input::MAX_ARRAY;
use crate::link::unreadable;
use crate::submission::Submission;
use crate::view;
use fetchml_api::array::{Expansion, INDEX};
use serde_json::json;
use zbus::Variant;

/// Most bytes of an array that is only shown.
const MAX_SHOWN_BYTES: usize = 256 << 20;

pub(crate) async fn run(context: &Context, submit: Submit) -> Result<u8> {
    let Submit { job, array, sweeps, dry_run } = submit;
    let sweep: Vec<_> = sweeps.into_iter().map(|(name, values)| (name, values.0)).collect();
    let many = if array.is_some() || !sweep.is_empty() {
        let read = Expansion::read(array.as_deref(), sweep.clone(), MAX_ARRAY);
        Some(read.map_err(|e| Failure::usage(e.to_string()))?)
    } else {
        None
    };
    let mut submission = Submission::prepare(job)?;
    if let Some(many) = &many {
        tell_of_strangers(context, many, &submission.preview().command);
    }
    if dry_run {
        let asked = check(context, &mut submission).await?;
        return show(context, &submission, many.as_ref(), asked);
    }
    submission.find_jobs_before(&context.link).await?;
    let Some(many) = many else { return one(context, &submission).await };
    let mut spec = submission.spec();
    if let Some(array) = &array {
        spec.insert("array", Variant::from(array.as_str()));
    }
    if many.names().next().is_some() {
        spec.insert("sweep", Variant::from(sweep));
    }
    let (array, count) = context.link.submit_array(spec, submission.mounts()).await?;
    if context.json {
        context.print_json(&json!({"version": 1, "array": array, "count": count}).to_string())?;
    } else {
        context.print(&format!("{array}\n"))?;
        let last = array + count.saturating_sub(1);
        context.tell(&format_args!(
            "array {array} has {count} jobs, {array} to {last}; wait for it with `{}`",
            context.command(format_args!("wait '{array}[]'"))
        ));
    }
    tell_if_drained(context).await;
    Ok(0)
}

/// A slip in a name is accepted: programs and JSON have braces too.
fn tell_of_strangers(context: &Context, many: &Expansion, command: &[String]) {
    let known: Vec<_> = many.names().chain([INDEX]).map(|name| format!("{{{name}}}")).collect();
    for stranger in many.strangers(command) {
        context.tell(&format_args!(
            "{{{stranger}}} is none of {} and stays in the command as it is",
            known.join(", ")
        ));
    }
}

async fn one(context: &Context, submission: &Submission) -> Result<u8> {
    let id = context.link.submit(submission.spec(), submission.mounts()).await?;
    if context.json {
        context.print_json(&context.link.describe(id).await?.text)?;
    } else {
        context.print(&format!("{id}\n"))?;
        context.tell(&format_args!(
            "follow it with `{}`",
            context.command(format_args!("logs -f {id}"))
        ));
    }
    tell_if_drained(context).await;
    Ok(0)
}

/// Whoever submits to a queue from which nothing starts would wait for a start that does
/// not come. What was submitted is there whether this can be found out or not.
async fn tell_if_drained(context: &Context) {
    if context.quiet {
        return;
    }
    let Ok(text) = context.link.queue().await else { return };
    if serde_json::from_str(&text).is_ok_and(|queue: view::queue::Overview| queue.draining) {
        let end = context.command("drain --end");
        context.tell(&format_args!(
            "the queue is drained: nothing starts until `{end}` or the next supervisor"
        ));
    }
}

/// Whether a supervisor was asked what it can be asked without a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Yes,
    /// None runs, and a question is no reason to start one.
    NoneAnswers,
}

/// What shows without queueing anything: that the profile is there, the jobs before it,
/// and as much of the machine as it wants.
async fn check(context: &Context, submission: &mut Submission) -> Result<Asked> {
    let Ok(supervisor) = context.link.target().connect_running().await else {
        return Ok(Asked::NoneAnswers);
    };
    if let Some(profile) = submission.profile() {
        let found = supervisor.manager.get_profile(profile).await;
        found.map_err(|e| Failure::bus("cannot submit the job", &e))?;
    }
    submission.find_jobs_before(&context.link).await?;
    for id in submission.jobs_before() {
        context.link.describe(id).await?;
    }
    let text = context.link.queue().await?;
    let machine: view::queue::Overview = serde_json::from_str(&text).map_err(unreadable)?;
    match machine.lacks(&submission.wants()) {
        Some(lack) => {
            Err(Failure::no(format!("cannot submit the job: it could never start: {lack}"))
                .hint("ask for less; `fetchmlctl queue` shows what there is"))
        }
        None => Ok(Asked::Yes),
    }
}

/// What would be made, by the function with which the supervisor makes it.
fn show(
    context: &Context,
    submission: &Submission,
    many: Option<&Expansion>,
    asked: Asked,
) -> Result<u8> {
    let common = submission.preview();
    let specs = match many {
        Some(many) => {
            many.specs(&common, MAX_SHOWN_BYTES).map_err(|e| Failure::usage(e.to_string()))?
        }
        None => vec![common],
    };
    if context.json {
        let jobs: Vec<_> = specs
            .iter()
            .map(|spec| {
                let index = spec.queueing.array.map(|place| place.index);
                json!({"index": index, "name": spec.name, "command": spec.command, "env": spec.env})
            })
            .collect();
        context.print_json(&serde_json::to_string(&jobs).map_err(unreadable)?)?;
        return Ok(0);
    }
    let names: Vec<&str> = many.map(|many| many.names().collect()).unwrap_or_default();
    context.print(&view::plan::table(&specs, &names, context.width, context.style))?;
    let count = specs.len();
    let jobs = if count == 1 { "job" } else { "jobs" };
    context.tell(&format_args!("would make {count} {jobs}; nothing was submitted"));
    context.tell(&match asked {
        Asked::Yes => {
            "not asked of the supervisor: whether you may, your quota, the profile's limits, what \
             looks like a secret"
        }
        Asked::NoneAnswers => {
            "not asked of the supervisor, which does not run: anything; it may refuse them"
        }
    });
    Ok(0)
}
