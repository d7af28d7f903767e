//! `wait`: the end of jobs, as a status.

use crate::context::Context;
use crate::error::Result;
use crate::reference;
use crate::status;
use crate::view::jobs;

pub(crate) async fn run(context: &Context, words: &[String]) -> Result<u8> {
    let mut first_bad = 0;
    for id in reference::resolve(&context.link, words).await? {
        let described = context.link.wait(id).await?;
        if context.json {
            context.print_json(&described.text)?;
        } else if !context.quiet {
            context.print(&format!("{}\n", jobs::ended(&described.job)))?;
        }
        if first_bad == 0 {
            first_bad = status::of_job(&described.job);
        }
    }
    Ok(first_bad)
}
