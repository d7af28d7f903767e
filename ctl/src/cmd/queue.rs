//! `queue`: what the machine has for jobs, what is taken, and who waits.

use crate::context::Context;
use crate::error::Result;
use crate::link::unreadable;
use crate::view::queue::{Overview, show};

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let text = context.link.queue().await?;
    if context.json {
        context.print_json(&text)?;
        return Ok(0);
    }
    let overview: Overview = serde_json::from_str(&text).map_err(unreadable)?;
    context.print(&show(&overview, context.width, context.style))?;
    if overview.draining {
        let end = context.command("drain --end");
        context.tell(&format_args!(
            "no job is started: the supervisor is drained; end it with `{end}`"
        ));
    }
    Ok(0)
}
