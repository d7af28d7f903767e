//! Following a job: its log to our output, its end to our status.

pub(crate) mod ear;
pub(crate) mod frames;
pub(crate) mod print;
pub(crate) mod pump;
pub(crate) mod signals;
pub(crate) mod sink;
pub(crate) mod tail;
pub(crate) mod watch;

use crate::connect::is_lost_name;
use crate::error::{self, Failure, Result};
use crate::link::{Described, Link};
use crate::say::say;
use crate::view::text::visible;
use pump::{Pump, PumpError, Reader};
use signals::Signals;
use sink::Sink;
use std::error::Error as _;
use std::future::{Future, pending};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::time::Duration;

/// A job that waits longer than this has its reason told.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long the parting wish of a client without a reader may take.
const PARTING_LIMIT: Duration = Duration::from_secs(5);

/// A job that is followed.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    pub(crate) link: &'a Link,
    pub(crate) id: u64,
    /// Its end is ours: Ctrl-C and a closed output cancel it.
    pub(crate) owner: bool,
    pub(crate) quiet: bool,
}

type Cancelling<'a> = Option<Pin<Box<dyn Future<Output = Result<()>> + 'a>>>;

impl Follow<'_> {
    /// Carries the log into `sink` until the job is over, and returns what
    /// became of it. `position` chooses where in the log to begin.
    pub(crate) async fn to_end(
        &self,
        sink: impl Sink + 'static,
        position: impl Fn(OwnedFd) -> Result<Reader>,
        mut signals: Option<&mut Signals>,
    ) -> Result<Described> {
        let mut wait = pin!(self.link.wait(self.id));
        let mut opening = pin!(self.log_when_there());
        let mut sink = Some(sink);
        let mut pump: Option<Pump> = None;
        let mut cancelling: Cancelling<'_> = None;
        let mut end: Option<Result<Described>> = None;
        let mut trouble = None;
        if signals.as_ref().is_some_and(|s| s.count() > 0) {
            cancelling = Some(self.begin_cancel());
        }
        while end.is_none() || pump.is_some() {
            tokio::select! {
                described = &mut wait, if end.is_none() => {
                    end = Some(described);
                    match (&pump, sink.take()) {
                        (Some(pump), _) => pump.end(),
                        (None, Some(sink)) => pump = self.last_look(sink, &position, end.as_ref()).await?,
                        (None, None) => {}
                    }
                }
                log = &mut opening, if sink.is_some() => {
                    let reader = position(log)?;
                    if let Some(sink) = sink.take() {
                        pump = Some(Pump::start(reader, sink).map_err(|e| self.no_log(&e))?);
                    }
                }
                result = carried(pump.as_mut()), if pump.is_some() => {
                    pump = None;
                    match result {
                        Err(PumpError::Write(e)) => return Err(self.unread(&e).await),
                        Err(e) => {
                            let failure = self.no_log(&e);
                            if end.is_none() {
                                say(&failure);
                            }
                            trouble = Some(failure);
                        }
                        Ok(()) => {}
                    }
                }
                done = cancelled(cancelling.as_mut()), if cancelling.is_some() => {
                    cancelling = None;
                    if let Err(failure) = done {
                        say(&failure.about(self.link.target()));
                    }
                }
                count = pressed(signals.as_deref_mut()) => {
                    if count > 1 {
                        return Err(Failure::interrupted(format!(
                            "left job {}, which the supervisor is stopping", self.id
                        )));
                    }
                    cancelling = Some(self.begin_cancel());
                }
            }
        }
        match (end, trouble) {
            (Some(Ok(_)), Some(trouble)) => Err(trouble),
            (Some(end), _) => end,
            (None, _) => Err(Failure::no(format!("job {} was not followed to its end", self.id))),
        }
    }

    /// The job's log, as soon as there is one; [`Link::wait`] says when there
    /// never will be.
    async fn log_when_there(&self) -> OwnedFd {
        let begun = tokio::time::Instant::now();
        let mut told = self.quiet;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Ok(log) = self.link.try_open_log(self.id).await {
                return log;
            }
            if !told && begun.elapsed() >= TELL_AFTER {
                told = true;
                if let Ok(described) = self.link.describe(self.id).await {
                    let (state, why) = (described.job.state, visible(&described.job.reason));
                    say(&format_args!("job {} is {state}: {why}", self.id));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    /// The job was over before its log could be opened: whatever there is of it.
    async fn last_look(
        &self,
        sink: impl Sink + 'static,
        position: &impl Fn(OwnedFd) -> Result<Reader>,
        end: Option<&Result<Described>>,
    ) -> Result<Option<Pump>> {
        match self.link.try_open_log(self.id).await {
            Ok(log) => {
                let pump = Pump::start(position(log)?, sink).map_err(|e| self.no_log(&e))?;
                pump.end();
                Ok(Some(pump))
            }
            // A job that never began has no log to miss.
            Err(failure) => match end {
                Some(Ok(described)) if described.job.started_usec.is_some() => Err(failure),
                _ => Ok(None),
            },
        }
    }

    fn begin_cancel<'f>(&'f self) -> Pin<Box<dyn Future<Output = Result<()>> + 'f>> {
        if !self.quiet {
            say(&format_args!(
                "cancelling job {}; Ctrl-C again returns at once and leaves the stopping to the supervisor",
                self.id
            ));
        }
        Box::pin(self.cancel())
    }

    /// Cancels, also through a restart of the supervisor.
    async fn cancel(&self) -> Result<()> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.link.cancel(self.id).await {
                Err(failure) if is_lost_name(failure.bus_name()) => self.link.forget(),
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Nobody reads our output, so the owner ends the job as SIGPIPE would have
    /// ended the command.
    async fn unread(&self, error: &io::Error) -> Failure {
        if self.owner {
            if !self.quiet {
                say(&format_args!("cancelling job {}: its output cannot be written", self.id));
            }
            let _ = tokio::time::timeout(PARTING_LIMIT, self.cancel()).await;
        }
        Failure::output(error)
    }

    fn no_log(&self, error: &PumpError) -> Failure {
        let id = self.id;
        match error.source().and_then(|s| s.downcast_ref::<io::Error>()) {
            Some(source) => Failure::no(format!("job {id}: {error}: {}", error::reason(source))),
            None => Failure::no(format!("job {id}: {error}")),
        }
    }
}

async fn carried(pump: Option<&mut Pump>) -> Result<(), PumpError> {
    match pump {
        Some(pump) => (&mut pump.result).await.unwrap_or(Err(PumpError::Thread)),
        None => pending().await,
    }
}

async fn cancelled(
    cancelling: Option<&mut Pin<Box<dyn Future<Output = Result<()>> + '_>>>,
) -> Result<()> {
    match cancelling {
        Some(cancelling) => cancelling.await,
        None => pending().await,
    }
}

async fn pressed(signals: Option<&mut Signals>) -> u32 {
    match signals {
        Some(signals) => signals.next().await,
        None => pending().await,
    }
}
