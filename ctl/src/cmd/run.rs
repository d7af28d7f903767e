//! `run`: submit, follow, end with the job's status.

use crate::cli;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::follow::Follow;
use crate::follow::ear::{Ear, LastWords};
use crate::follow::pump::Reader;
use crate::follow::signals::Signals;
use crate::follow::sink::Streams;
use crate::say::say;
use crate::status;
use crate::submission::Submission;
use crate::view::jobs;
use fetchml_api::job::FailureClass;
use std::pin::pin;

pub(crate) async fn run(context: &Context, mut job: cli::Job) -> Result<u8> {
    // Who waits at a terminal wants to know at once, and runs it again themselves.
    for class in FailureClass::ALL.into_iter().filter(|class| class.can_be_retried()) {
        if !job.retry.iter().any(|(asked, _)| *asked == class) {
            job.retry.push((class, 0));
        }
    }
    let mut submission = Submission::prepare(job)?;
    let streams = Streams::standard().map_err(|e| Failure::output(&e))?;
    // A supervisor may have to be started first; until the job exists Ctrl-C
    // ends this program as any other.
    context.link.supervisor().await?;
    submission.find_jobs_before(&context.link).await?;
    let mut signals = Signals::catch().map_err(|e| Failure::io("cannot catch", "Ctrl-C", &e))?;
    let id = submit(context, &submission, &mut signals).await?;
    drop(submission);
    let follow = Follow { link: &context.link, id, owner: true, quiet: context.quiet };
    let whole = |log| Ok(Reader::new(log, 0, 0));
    let words = LastWords::default();
    let ear = Ear { sink: streams, words: words.clone() };
    let described = follow.to_end(ear, whole, Some(&mut signals)).await?;
    if context.json {
        say(&described.text.trim_end());
    } else if jobs::end_is_news(&described.job) {
        context.tell(&jobs::ended(&described.job));
        if let Some(hint) = words.hint(&described.job) {
            context.tell(&hint);
        }
    }
    Ok(status::of_job(&described.job))
}

/// A job that was asked for may exist, so Ctrl-C waits for the answer and then
/// cancels; a second one does not.
async fn submit(context: &Context, submission: &Submission, signals: &mut Signals) -> Result<u64> {
    let mut answer = pin!(context.link.submit(submission.spec(), submission.mounts()));
    loop {
        tokio::select! {
            id = &mut answer => return id,
            count = signals.next() => if count > 1 {
                return Err(Failure::interrupted("left before the supervisor answered")
                    .hint(format!("`{}` shows whether the job was accepted", context.command("list"))));
            }
        }
    }
}
