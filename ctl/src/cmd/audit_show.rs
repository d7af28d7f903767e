//! `audit show`: the records.

use crate::cli::AuditShow;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::follow::signals::Signals;
use crate::link::{Files, Link, Part};
use crate::reference;
use crate::say::say;
use crate::view::audit;
use fetchml_api::audit::{Event, Head, MAX_LINE_BYTES, Record};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::time::Duration;

/// How often a followed log is looked at, and how many looks there are between two
/// for a new segment.
const PAUSE: Duration = Duration::from_millis(250);
const LOOKS: u32 = 8;

pub(crate) async fn run(context: &Context, show: &AuditShow) -> Result<u8> {
    if let Some(event) = show.event.as_deref().filter(|name| Event::from_name(name).is_none()) {
        let known: Vec<_> = Event::ALL.iter().map(|e| e.name()).collect();
        return Err(Failure::usage(format!("unknown event {event:?}"))
            .hint(format!("use one of {}", known.join(", "))));
    }
    let jobs = match &show.job {
        Some(word) => Some(reference::resolve_recorded(&context.link, word).await?),
        None => None,
    };
    let mut chosen =
        Chosen { context, show, jobs, kept: VecDeque::new(), any: false, following: false };
    if show.csv {
        context.print(audit::CSV_HEADER)?;
    }
    let mut last = None;
    let mut segments = Files::of(&context.link, Part::Segments);
    while let Some((name, file)) = segments.next().await? {
        let mut lines = Lines::new(file);
        chosen.take_all(&name, &mut lines)?;
        last = Some((name, lines));
    }
    for line in std::mem::take(&mut chosen.kept) {
        chosen.print(&line)?;
    }
    match last {
        Some(last) if show.follow => follow(&mut chosen, last).await,
        _ => {
            if !chosen.any {
                context.tell(&"no record is of what was asked for");
            }
            Ok(0)
        }
    }
}

/// New lines as they come, and the next segment when there is one.
async fn follow(chosen: &mut Chosen<'_>, (mut name, mut lines): (String, Lines)) -> Result<u8> {
    let context = chosen.context;
    let mut signals = Signals::catch().map_err(|e| Failure::io("cannot catch", "Ctrl-C", &e))?;
    chosen.following = true;
    let mut looks = 0;
    loop {
        chosen.take_all(&name, &mut lines)?;
        looks += 1;
        if looks % LOOKS == 0 {
            let mut newer = Files::after(&context.link, Part::Segments, &name);
            while let Some((next, file)) = newer.next().await? {
                chosen.take_all(&name, &mut lines)?;
                (name, lines) = (next, Lines::new(file));
                chosen.take_all(&name, &mut lines)?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = signals.next() => return Ok(0),
        }
    }
}

/// The end of the log as the supervisor knows it.
pub(crate) async fn head(link: &Link) -> Result<Head> {
    let (seq, hash) = link.head().await?;
    let hash = hash
        .parse()
        .map_err(|e| Failure::no(format!("cannot read the supervisor's answer: hash: {e}")))?;
    Ok(Head { seq, hash })
}

/// Whole lines of a file that may grow.
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    whole: bool,
}

impl Lines {
    pub(crate) fn new(file: File) -> Self {
        let reader = BufReader::with_capacity(MAX_LINE_BYTES, file);
        Self { reader, line: Vec::new(), whole: true }
    }

    /// The line that was read, without its end.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// One more line, if it is there to its end. One that no record can be is cut,
    /// not kept.
    pub(crate) fn next(&mut self) -> io::Result<bool> {
        if self.whole {
            self.line.clear();
        }
        self.whole = false;
        loop {
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len()).max(1);
            let before = self.line.len();
            let limit = u64::try_from(room).unwrap_or(u64::MAX);
            if self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            if self.line.ends_with(b"\n") {
                self.line.pop();
                self.whole = true;
                return Ok(true);
            }
            if before > MAX_LINE_BYTES {
                self.line.truncate(before);
            }
        }
    }
}

/// Records that were asked for, on their way out.
struct Chosen<'a> {
    context: &'a Context,
    show: &'a AuditShow,
    /// Numbers of the jobs that were asked for.
    jobs: Option<Vec<u64>>,
    kept: VecDeque<Vec<u8>>,
    /// There was a record that was asked for.
    any: bool,
    /// What was there has been printed: everything from now on is.
    following: bool,
}

impl Chosen<'_> {
    fn take_all(&mut self, name: &str, lines: &mut Lines) -> Result<()> {
        while lines.next().map_err(|e| Failure::io("cannot read", name, &e))? {
            self.take(lines.line())?;
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        if !self.wanted(line) {
            return Ok(());
        }
        self.any = true;
        let Some(tail) = self.show.tail.filter(|_| !self.following) else {
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
        let AuditShow { event, actor, result, since, until, .. } = self.show;
        let jobs = self.jobs.as_ref();
        let all = jobs.is_none() && event.is_none() && actor.is_none() && result.is_none();
        if all && since.is_none() && until.is_none() {
            return true;
        }
        Record::parse(line).is_ok_and(|record| {
            jobs.is_none_or(|jobs| record.job.is_some_and(|job| jobs.contains(&job)))
                && event.as_deref().is_none_or(|event| &*record.event == event)
                && result.as_deref().is_none_or(|result| record.result.to_string() == result)
                && since.is_none_or(|since| record.time_usec >= since)
                && until.is_none_or(|until| record.time_usec <= until)
                && actor.as_deref().is_none_or(|actor| {
                    record.actor.user.as_deref() == Some(actor)
                        || record.actor.uid.to_string() == actor
                })
        })
    }

    fn print(&self, line: &[u8]) -> Result<()> {
        if self.context.json {
            return self.context.print(&format!("{}\n", String::from_utf8_lossy(line)));
        }
        match Record::parse(line) {
            Ok(record) if self.show.csv => self.context.print(&audit::csv(&record)),
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
