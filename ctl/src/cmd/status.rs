//! `status`: everything known of jobs.

use crate::cmd::list::now_usec;
use crate::context::Context;
use crate::error::Result;
use crate::reference;
use crate::view;

pub(crate) async fn run(context: &Context, words: &[String]) -> Result<u8> {
    let ids = reference::resolve(&context.link, words).await?;
    for (i, id) in ids.into_iter().enumerate() {
        let described = context.link.describe(id).await?;
        if context.json {
            context.print_json(&described.text)?;
            continue;
        }
        let gap = if i > 0 { "\n" } else { "" };
        let text = view::status::show(&described.job, now_usec(), context.style);
        let next = context.command(view::status::next(&described.job));
        context.print(&format!("{gap}{text}"))?;
        context.tell(&format_args!("\nnext: {next}"));
    }
    Ok(0)
}
