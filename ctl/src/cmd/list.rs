//! `list`: jobs, the newest last, an array in one line.

use crate::cli::{Form, List};
use crate::context::Context;
use crate::error::Result;
use crate::link::{Filter, unreadable};
use crate::view::jobs::{self, Line};
use fetchml_api::job::JobDescription;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) async fn run(context: &Context, list: &List) -> Result<u8> {
    let filter = Filter {
        all_users: list.all_users,
        state: list.state,
        limit: Some(list.limit),
        before: None,
    };
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
    let first = read(&text)?;
    let lines = match list.expand {
        true => first.into_iter().map(|job| Line::Job(Box::new(job))).collect(),
        false => collapsed(context, filter, list.limit, first).await?,
    };
    if lines.is_empty() {
        let begin = context.command("run -- COMMAND");
        context.tell(&format_args!("no jobs; begin one with `{begin}`"));
        return Ok(0);
    }
    context.print(&jobs::table(
        &lines,
        list.all_users,
        now_usec(),
        context.width,
        context.style,
    ))?;
    Ok(0)
}

/// As many lines as were asked for: where an array took many jobs of a page, older
/// jobs are asked for, beginning before the array.
async fn collapsed(
    context: &Context,
    filter: Filter,
    limit: u32,
    first: Vec<JobDescription>,
) -> Result<Vec<Line>> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut newest_first = Vec::new();
    let mut seen = HashSet::new();
    let mut page = first;
    loop {
        let full = page.len() >= most;
        let mut before = page.first().map_or(0, |job| job.id.0);
        for job in page.into_iter().rev() {
            let Some(place) = job.spec.queueing.array else {
                newest_first.push(Line::Job(Box::new(job)));
                continue;
            };
            before = before.min(place.array.0);
            if seen.insert(place.array) {
                let array = context.link.array(place.array.0).await?;
                newest_first.push(Line::Array(Box::new(job), array));
            }
        }
        if !full || newest_first.len() >= most {
            break;
        }
        let older = Filter { before: Some(before), ..filter };
        page = read(&context.link.describe_jobs(older).await?)?;
    }
    newest_first.truncate(most);
    newest_first.reverse();
    Ok(newest_first)
}

/// Job descriptions from a supervisor.
pub(crate) fn read(text: &str) -> Result<Vec<JobDescription>> {
    serde_json::from_str(text).map_err(unreadable)
}

/// Now, in microseconds since the epoch.
pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
