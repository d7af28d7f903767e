//! `cancel`: the end of jobs, asked for.

use super::change::numbers;
use crate::cli::Cancel;
use crate::context::{Context, Go};
use crate::error::Result;
use crate::reference;
use crate::say::say;
use fetchml_api::job::JobDescription;
use fetchml_api::queueing::ArrayPlace;

pub(crate) async fn run(context: &Context, cancel: &Cancel) -> Result<u8> {
    if let Some(array) = reference::whole_array(&context.link, &cancel.jobs).await? {
        return whole(context, array, cancel).await;
    }
    let mut ids = reference::resolve(&context.link, &cancel.jobs).await?;
    if let [id] = ids.as_slice() {
        let before = one(context, *id, cancel.sure.dry_run).await?;
        if !before.state.is_final()
            && let Some(ArrayPlace { array, index, count: 2.., .. }) = before.spec.queueing.array
        {
            context.tell(&format_args!(
                "it is {array}[{index}], one of many; all of them: `{}`",
                context.command(format_args!("cancel '{array}[]'"))
            ));
        }
        return Ok(0);
    }
    let words = numbers(&ids).unwrap_or_default();
    if !cancel.sure.dry_run && context.confirm(&format!("cancel {words}"), cancel.sure)? == Go::No {
        return Ok(1);
    }
    let mut worst = 0;
    // A job is younger than what it depends on, and would end as failed with that.
    ids.sort_unstable_by(|one, other| other.cmp(one));
    for id in ids {
        match one(context, id, cancel.sure.dry_run).await {
            Ok(_) => {}
            // The others are not spared for the fault of one.
            Err(failure) if !failure.is_closed() => {
                let failure = failure.about(context.link.target());
                say(&failure);
                worst = failure.status(false);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(worst)
}

/// An array is one question and one call, however many jobs it has.
async fn whole(context: &Context, array: u64, cancel: &Cancel) -> Result<u8> {
    let found = context.link.array(array).await?;
    let counts = crate::view::jobs::counts(&found.states);
    let what = format!("cancel array {array} of {} jobs ({counts})", found.count);
    match context.confirm(&what, cancel.sure)? {
        Go::Yes => {}
        Go::No => return Ok(1),
        Go::Pretend => return Ok(0),
    }
    let ended = context.link.cancel_array(array).await?;
    if context.json {
        context.print_json(&serde_json::json!({"array": array, "cancelled": ended}).to_string())?;
    } else {
        context.tell(&format_args!("cancelling {ended} jobs of array {array}"));
    }
    Ok(0)
}

/// Answers with what the job was before.
async fn one(context: &Context, id: u64, dry_run: bool) -> Result<JobDescription> {
    let before = context.link.describe(id).await?;
    let state = before.job.state;
    if !dry_run {
        context.link.cancel(id).await?;
    }
    if context.json {
        context.print_json(&context.link.describe(id).await?.text)?;
        return Ok(before.job);
    }
    if state.is_final() {
        context.tell(&format_args!("job {id} is over already: {state}"));
    } else if dry_run {
        context.tell(&format_args!("would cancel job {id}, which is {state}"));
    } else {
        context.tell(&format_args!("cancelling job {id}"));
    }
    Ok(before.job)
}
