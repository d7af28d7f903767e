//! `audit show`: the records.

use crate::cli::AuditShow;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::link::Link;
use crate::say::say;
use crate::view::audit;
use fetchml_api::audit::{Event, Head, MAX_LINE_BYTES, Record};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;

pub(crate) async fn run(context: &Context, show: &AuditShow) -> Result<u8> {
    if let Some(event) = show.event.as_deref().filter(|name| Event::from_name(name).is_none()) {
        let known: Vec<_> = Event::ALL.iter().map(|e| e.name()).collect();
        return Err(Failure::usage(format!("unknown event {event:?}"))
            .hint(format!("use one of {}", known.join(", "))));
    }
    let mut chosen = Chosen { context, show, kept: VecDeque::new() };
    for (name, file) in segments(&context.link).await? {
        let unreadable = |e: io::Error| Failure::io("cannot read", &name, &e);
        let mut reader = BufReader::with_capacity(MAX_LINE_BYTES, file);
        let mut line = Vec::new();
        while next_line(&mut reader, &mut line).map_err(unreadable)? {
            chosen.take(&line)?;
        }
    }
    for line in std::mem::take(&mut chosen.kept) {
        chosen.print(&line)?;
    }
    Ok(0)
}

/// The supervisor's segments in order.
pub(crate) async fn segments(link: &Link) -> Result<Vec<(String, File)>> {
    let segments = link.segments().await?;
    Ok(segments.into_iter().map(|(name, fd)| (name, File::from(OwnedFd::from(fd)))).collect())
}

/// The end of the log as the supervisor knows it.
pub(crate) async fn head(link: &Link) -> Result<Head> {
    let (seq, hash) = link.head().await?;
    let hash = hash
        .parse()
        .map_err(|e| Failure::no(format!("cannot read the supervisor's answer: hash: {e}")))?;
    Ok(Head { seq, hash })
}

/// One line without its end. A line that no record can be is cut, not kept.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let limit = MAX_LINE_BYTES as u64 + 1;
    let count = reader.by_ref().take(limit).read_until(b'\n', line)?;
    if count as u64 == limit && !line.ends_with(b"\n") {
        let mut rest = Vec::new();
        while reader.by_ref().take(limit).read_until(b'\n', &mut rest)? > 0
            && !rest.ends_with(b"\n")
        {
            rest.clear();
        }
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    Ok(count > 0)
}

/// Records that were asked for, on their way out.
struct Chosen<'a> {
    context: &'a Context,
    show: &'a AuditShow,
    kept: VecDeque<Vec<u8>>,
}

impl Chosen<'_> {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        if !self.wanted(line) {
            return Ok(());
        }
        let Some(tail) = self.show.tail else {
            return self.print(line);
        };
        self.kept.push_back(line.to_vec());
        if self.kept.len() > tail {
            self.kept.pop_front();
        }
        Ok(())
    }

    /// A line that is no record is shown unless something was asked for that it cannot be.
    fn wanted(&self, line: &[u8]) -> bool {
        if self.show.job.is_none() && self.show.event.is_none() {
            return true;
        }
        Record::parse(line).is_ok_and(|record| {
            self.show.job.is_none_or(|job| record.job == Some(job))
                && self.show.event.as_deref().is_none_or(|event| &*record.event == event)
        })
    }

    fn print(&self, line: &[u8]) -> Result<()> {
        if self.context.json {
            return self.context.print(&format!("{}\n", String::from_utf8_lossy(line)));
        }
        match Record::parse(line) {
            Ok(record) => self.context.print(&audit::record(&record, self.context.style)),
            Err(error) => {
                say(&format_args!(
                    "a line of the log cannot be shown: {error}; see `audit verify`"
                ));
                Ok(())
            }
        }
    }
}
