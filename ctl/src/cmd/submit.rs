//! `submit`: queue a job or many and print the number.

use crate::cli::Submit;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::input::MAX_ARRAY;
use crate::link::unreadable;
use crate::submission::Submission;
use crate::view;
use fetchml_api::array::Expansion;
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
    if dry_run {
        return show(context, &submission, many.as_ref());
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
    Ok(0)
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
    Ok(0)
}

/// What would be made, by the function with which the supervisor makes it.
fn show(context: &Context, submission: &Submission, many: Option<&Expansion>) -> Result<u8> {
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
    Ok(0)
}
