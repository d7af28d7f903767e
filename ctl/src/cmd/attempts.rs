//! `attempts`: each try of a job.

use crate::context::Context;
use crate::error::Result;
use crate::link::unreadable;
use crate::reference;
use crate::view::attempts::{Attempt, table};

pub(crate) async fn run(context: &Context, words: &[String]) -> Result<u8> {
    for (i, id) in reference::resolve(&context.link, words).await?.into_iter().enumerate() {
        let text = context.link.attempts(id).await?;
        if context.json {
            context.print_json(&text)?;
            continue;
        }
        let attempts: Vec<Attempt> = serde_json::from_str(&text).map_err(unreadable)?;
        if attempts.is_empty() {
            context.tell(&format_args!("job {id} was not started yet"));
            continue;
        }
        let gap = if i > 0 { "\n" } else { "" };
        context.print(&format!("{gap}{}", table(&attempts, context.width, context.style)))?;
    }
    Ok(0)
}
