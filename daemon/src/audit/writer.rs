//! The one thread that writes.

use super::journal::Journal;
use super::log::Log;
use super::open::own_record;
use super::{AuditError, Receipt, Request, Shared};
use fetchml_api::audit::Event;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bounds the memory of a batch and the time its first caller waits.
const MAX_BATCH: usize = 512;
const RETRY: Duration = Duration::from_secs(1);

/// Records cannot be written.
struct Failure {
    since: Instant,
    why: AuditError,
    refused: u64,
    retry_at: Instant,
}

struct Writer {
    log: Log,
    journal: Journal,
    shared: Arc<Shared>,
    failure: Option<Failure>,
}

pub(super) fn spawn(
    log: Log,
    journal: Journal,
    shared: Arc<Shared>,
) -> Result<(Sender<Request>, JoinHandle<()>), AuditError> {
    let (requests, waiting) = channel();
    let path = log.directory().path().to_owned();
    let mut writer = Writer { log, journal, shared, failure: None };
    let thread = std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run(&waiting))
        .map_err(AuditError::io("start the writer of", path))?;
    Ok((requests, thread))
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Request>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.wait(waiting, &mut batch) {
            if self.failure.is_some() {
                self.try_again();
            }
            match &mut self.failure {
                Some(failure) => {
                    failure.refused += u64::try_from(batch.len()).unwrap_or(u64::MAX);
                    refuse(&mut batch, &failure.why);
                }
                None if !batch.is_empty() => self.write(&mut batch),
                None => {}
            }
        }
    }

    /// Takes all that wait. While the log cannot be written, also comes back
    /// to try again when nobody asks. `false` at the end.
    fn wait(&self, waiting: &Receiver<Request>, batch: &mut Vec<Request>) -> bool {
        let first = match &self.failure {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(failure) => {
                waiting.recv_timeout(failure.retry_at.saturating_duration_since(Instant::now()))
            }
        };
        match first {
            Ok(request) => batch.push(request),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        batch.extend(waiting.try_iter().take(MAX_BATCH - 1));
        true
    }

    fn write(&mut self, batch: &mut Vec<Request>) {
        match self.log.append(batch.iter().map(|request| &request.record)) {
            Ok(stored) => {
                self.journal.send(stored.records());
                let receipts: Vec<_> = stored.records().map(|(head, _)| head).collect();
                self.committed();
                for (request, head) in batch.drain(..).zip(receipts) {
                    // A caller who gave up has no ear.
                    drop(request.reply.send(Ok(Receipt { seq: head.seq, hash: head.hash })));
                }
            }
            Err(why) => {
                // The state first: who is refused must not find it well.
                self.fail(why.clone(), u64::try_from(batch.len()).unwrap_or(u64::MAX));
                refuse(batch, &why);
            }
        }
    }

    /// What is durable is told: in the head file, and to whoever asks.
    fn committed(&mut self) {
        let told = self.log.write_head();
        let mut status = self.shared.status();
        status.head = self.log.head();
        status.journal = self.journal.copy();
        drop(status);
        if let Err(why) = told {
            self.fail(why, 0);
        }
    }

    fn fail(&mut self, why: AuditError, refused: u64) {
        tracing::error!(error = %why, "the audit log cannot be written; no new work is taken");
        let now = Instant::now();
        self.shared.status().failure = Some(why.clone());
        self.failure = Some(Failure { since: now, why, refused, retry_at: now + RETRY });
    }

    /// Once a second: reopens the log and writes that there was a gap. That
    /// record is the proof that writing works again.
    fn try_again(&mut self) {
        let Some(failure) = self.failure.take_if(|failure| failure.retry_at <= Instant::now())
        else {
            return;
        };
        let gap = own_record(Event::LogResumed, "resume")
            .detail("seconds", failure.since.elapsed().as_secs())
            .detail("refused", failure.refused)
            .detail("reason", &failure.why);
        let resumed = self.log.reopen().and_then(|()| {
            self.journal.send(self.log.append(std::iter::once(&gap))?.records());
            self.log.write_head()
        });
        let mut status = self.shared.status();
        status.head = self.log.head();
        match resumed {
            Ok(()) => {
                status.failure = None;
                tracing::warn!("the audit log can be written again");
            }
            Err(why) => {
                status.failure = Some(why.clone());
                self.failure = Some(Failure { why, retry_at: Instant::now() + RETRY, ..failure });
            }
        }
    }
}

fn refuse(batch: &mut Vec<Request>, why: &AuditError) {
    for request in batch.drain(..) {
        drop(request.reply.send(Err(why.clone())));
    }
}
