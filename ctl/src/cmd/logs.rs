//! `logs`: what a job wrote, both streams in the order of writing.

use crate::cli::{Logs, StreamName};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::follow::Follow;
use crate::follow::print::{Form, Printer};
use crate::follow::pump::{PumpError, Reader};
use crate::follow::tail;
use crate::reference;
use fetchml_api::log::Stream;
use std::fs::File;
use std::os::fd::OwnedFd;

pub(crate) async fn run(context: &Context, logs: &Logs) -> Result<u8> {
    let id = reference::resolve_one(&context.link, &logs.job).await?;
    let only = logs.stream.map(|name| match name {
        StreamName::Stdout => Stream::Stdout,
        StreamName::Stderr => Stream::Stderr,
    });
    let form = match (context.json, logs.timestamps) {
        (true, _) => Form::Json,
        (false, true) => Form::Stamped,
        (false, false) => Form::Plain,
    };
    let mut printer = Printer::new(only, form).map_err(|e| Failure::output(&e))?;
    let position = |log: OwnedFd| position(log, logs.tail, only);
    if logs.follow {
        let follow = Follow { link: &context.link, id, owner: false, quiet: context.quiet };
        follow.to_end(printer, position, None).await?;
        return Ok(0);
    }
    let log = match logs.attempt {
        Some(attempt) => context.link.open_attempt_log(id, attempt).await?,
        None => context.link.try_open_log(id).await?,
    };
    let mut reader = position(log)?;
    let unreadable = |e: PumpError| match e {
        PumpError::Write(e) => Failure::output(&e),
        other => Failure::no(format!("job {id}: {other}")),
    };
    reader.drain(&mut printer).map_err(unreadable)?;
    crate::follow::sink::Sink::finish(&mut printer).map_err(|e| Failure::output(&e))?;
    Ok(0)
}

fn position(log: OwnedFd, lines: Option<u64>, only: Option<Stream>) -> Result<Reader> {
    let Some(lines) = lines else {
        return Ok(Reader::new(log, 0, 0));
    };
    let log = File::from(log);
    let place =
        tail::find(&log, lines, only).map_err(|e| Failure::io("cannot read", "the log", &e))?;
    Ok(Reader::new(log.into(), place.offset, place.skip))
}
