//! `status`: everything known of jobs.

use crate::cmd::list::now_usec;
use crate::context::Context;
use crate::error::Result;
use crate::link::unreadable;
use crate::reference;
use crate::view;
use crate::view::attempts::{Attempt, table};
use fetchml_api::job::JobDescription;

pub(crate) async fn run(context: &Context, words: &[String]) -> Result<u8> {
    show(context, words, |_, _| {}).await
}

/// Shows jobs, each after what there is to say of it before.
pub(crate) async fn show(
    context: &Context,
    words: &[String],
    before: impl Fn(&Context, &JobDescription),
) -> Result<u8> {
    let ids = reference::resolve(&context.link, words).await?;
    for (i, id) in ids.into_iter().enumerate() {
        let described = context.link.describe(id).await?;
        before(context, &described.job);
        if context.json {
            context.print_json(&described.text)?;
            continue;
        }
        let gap = if i > 0 { "\n" } else { "" };
        let text = view::status::show(&described.job, now_usec(), context.style);
        let next = context.command(view::status::next(&described.job));
        context.print(&format!("{gap}{text}"))?;
        if described.job.attempt > 1 {
            let attempts: Vec<Attempt> =
                serde_json::from_str(&context.link.attempts(id).await?).map_err(unreadable)?;
            context.print(&format!("\n{}", table(&attempts, context.width, context.style)))?;
        }
        context.tell(&format_args!("\nnext: {next}"));
    }
    Ok(0)
}
