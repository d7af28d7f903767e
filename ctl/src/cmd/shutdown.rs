//! `shutdown`: the end of the supervisor, and with `--jobs` of what runs.

use crate::cli::Shutdown;
use crate::context::{Context, Go};
use crate::error::Result;
use crate::link::unreadable;
use crate::view::queue::Overview;

pub(crate) async fn run(context: &Context, shutdown: &Shutdown) -> Result<u8> {
    let overview: Overview =
        serde_json::from_str(&context.link.queue().await?).map_err(unreadable)?;
    let (running, queued) = (overview.running, overview.queued);
    let what = if shutdown.jobs {
        format!("end {running} running jobs and the supervisor; {queued} waiting jobs are kept")
    } else {
        format!("end the supervisor; {running} running jobs go on, {queued} waiting jobs are kept")
    };
    match context.confirm(&what, shutdown.sure)? {
        Go::Yes => {}
        Go::No => return Ok(1),
        Go::Pretend => return Ok(0),
    }
    context.link.shutdown(shutdown.jobs).await?;
    if context.json {
        let ended = if shutdown.jobs { running } else { 0 };
        context.print_json(&serde_json::json!({"ended": ended, "kept": queued}).to_string())?;
    } else {
        context.tell(&"the supervisor ends");
    }
    Ok(0)
}
