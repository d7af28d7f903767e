//! `submit`: queue a job and print its number.

use crate::cli;
use crate::context::Context;
use crate::error::Result;
use crate::submission::Submission;

pub(crate) async fn run(context: &Context, job: cli::Job) -> Result<u8> {
    let submission = Submission::prepare(job)?;
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
