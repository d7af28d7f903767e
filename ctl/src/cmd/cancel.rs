//! `cancel`: the end of jobs, asked for.

use crate::cli::Cancel;
use crate::context::Context;
use crate::error::Result;
use crate::reference;
use crate::say::say;

pub(crate) async fn run(context: &Context, cancel: &Cancel) -> Result<u8> {
    let mut worst = 0;
    for id in reference::resolve(&context.link, &cancel.jobs).await? {
        match one(context, id, cancel.dry_run).await {
            Ok(()) => {}
            // The others are not spared for the fault of one.
            Err(failure) if !failure.is_closed() => {
                say(&failure);
                worst = failure.status(false);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(worst)
}

async fn one(context: &Context, id: u64, dry_run: bool) -> Result<()> {
    let before = context.link.describe(id).await?;
    let state = before.job.state;
    if !dry_run {
        context.link.cancel(id).await?;
    }
    if context.json {
        return context.print_json(&context.link.describe(id).await?.text);
    }
    if state.is_final() {
        context.tell(&format_args!("job {id} is over already: {state}"));
    } else if dry_run {
        context.tell(&format_args!("would cancel job {id}, which is {state}"));
    } else {
        context.tell(&format_args!("cancelling job {id}"));
    }
    Ok(())
}
