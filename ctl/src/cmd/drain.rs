//! `drain`: no more starts, and the end of what runs.

use crate::cli::Drain;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::follow::signals::Signals;
use crate::link::unreadable;
use crate::view::queue::Overview;
use std::time::Duration;

/// How often the supervisor is asked whether jobs still run.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(context: &Context, drain: &Drain) -> Result<u8> {
    context.link.drain(!drain.end).await?;
    if drain.end {
        context.tell(&"jobs start again");
        return finish(context).await;
    }
    if drain.no_wait {
        context.tell(&"no job is started from now on; what runs goes on");
        return finish(context).await;
    }
    let mut signals = Signals::catch().map_err(|e| Failure::io("cannot catch", "Ctrl-C", &e))?;
    let mut told = None;
    loop {
        let running = overview(context).await?.running;
        if running == 0 {
            break;
        }
        if told.replace(running) != Some(running) {
            let jobs = if running == 1 { "job runs" } else { "jobs run" };
            context.tell(&format_args!("no job is started from now on; {running} {jobs} still"));
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = signals.next() => {
                context.link.drain(false).await?;
                return Err(Failure::interrupted("stopped waiting: jobs start again"));
            }
        }
    }
    let end = context.command("drain --end");
    context.tell(&format_args!("nothing runs, and no job is started before `{end}` or a restart"));
    finish(context).await
}

async fn overview(context: &Context) -> Result<Overview> {
    serde_json::from_str(&context.link.queue().await?).map_err(unreadable)
}

/// With `--json` the queue as it is now.
async fn finish(context: &Context) -> Result<u8> {
    if context.json {
        context.print_json(&context.link.queue().await?)?;
    }
    Ok(0)
}
