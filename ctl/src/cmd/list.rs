//! `list`: jobs, the newest last.

use crate::cli::{Form, List};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::link::Filter;
use crate::view::jobs;
use fetchml_api::job::JobDescription;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) async fn run(context: &Context, list: &List) -> Result<u8> {
    let filter = Filter { all_users: list.all_users, state: list.state, limit: Some(list.limit) };
    if !context.json && list.output == Form::Name {
        let mut numbers = String::new();
        for (id, _) in context.link.names(filter).await? {
            // Writing to a string cannot fail.
            let _ = writeln!(numbers, "{id}");
        }
        context.print(&numbers)?;
        return Ok(0);
    }
    let text = context.link.describe_jobs(filter).await?;
    if context.json {
        context.print_json(&text)?;
        return Ok(0);
    }
    let found: Vec<JobDescription> = serde_json::from_str(&text).map_err(|e| {
        Failure::no(format!("cannot read the supervisor's answer: {e}"))
            .hint("fetchmlctl and fetchmld may be of different versions")
    })?;
    if found.is_empty() {
        let begin = context.command("run -- COMMAND");
        context.tell(&format_args!("no jobs; begin one with `{begin}`"));
        return Ok(0);
    }
    context.print(&jobs::table(
        &found,
        list.all_users,
        now_usec(),
        context.width,
        context.style,
    ))?;
    Ok(0)
}

/// Now, in microseconds since the epoch.
pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
