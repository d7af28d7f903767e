//! `dead`: jobs that failed and used up their further tries.

use super::change;
use crate::cli::{Cancel, Dead, DeadList, Form};
use crate::cmd::list::{now_usec, read};
use crate::context::{Context, Go};
use crate::error::Result;
use crate::link::{Change, Filter};
use crate::reference;
use crate::view;
use fetchml_api::job::JobDescription;
use std::fmt::Write as _;

pub(crate) async fn run(context: &Context, dead: &Dead) -> Result<u8> {
    match dead {
        Dead::List(list) => self::list(context, list).await,
        Dead::Show(jobs) => super::status::show(context, &jobs.jobs, told_apart).await,
        Dead::Requeue(jobs) => change::run(context, &jobs.jobs, Change::Requeue).await,
        Dead::Drop(jobs) => drop_jobs(context, jobs).await,
    }
}

async fn list(context: &Context, list: &DeadList) -> Result<u8> {
    let filter = Filter { all_users: list.all_users, limit: Some(list.limit), ..Filter::default() };
    let text = context.link.list_dead(filter).await?;
    if context.json {
        context.print_json(&text)?;
        return Ok(0);
    }
    let found = read(&text)?;
    if list.output == Form::Name {
        let mut numbers = String::new();
        for job in &found {
            // Writing to a string cannot fail.
            let _ = writeln!(numbers, "{}", job.id);
        }
        context.print(&numbers)?;
    } else if found.is_empty() {
        context.tell(&"no dead jobs");
    } else {
        let now = now_usec();
        let table = view::jobs::dead(&found, list.all_users, now, context.width, context.style);
        context.print(&table)?;
    }
    Ok(0)
}

/// Says of a job that is not dead that it is not: all else shows it alike.
fn told_apart(context: &Context, job: &JobDescription) {
    if !job.dead {
        context.tell(&format_args!("job {} is not in the dead-letter list", job.id));
    }
}

async fn drop_jobs(context: &Context, jobs: &Cancel) -> Result<u8> {
    let ids = reference::resolve(&context.link, &jobs.jobs).await?;
    let words = change::numbers(&ids).unwrap_or_default();
    let what = format!("drop {words} from the dead-letter list");
    match context.confirm(&what, jobs.sure)? {
        Go::Yes => {}
        Go::No => return Ok(1),
        Go::Pretend => return Ok(0),
    }
    let outcomes = context.link.change(&ids, Change::Drop).await?;
    change::report(context, outcomes, Change::Drop)
}
