//! The one thread that writes.

use super::journal::Journal;
use super::log::Log;
use super::open::own_record;
use super::{Append, AuditError, Options, Receipt, Request, Shared};
use fetchml_api::audit::{Event, Kind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

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
    checkpoint_records: u64,
    checkpoint_pause: Duration,
    heartbeat: Duration,
    /// When the last checkpoint was made.
    beat_at: Instant,
    /// When the first record that no checkpoint covers was written.
    uncovered_since: Option<Instant>,
    /// Who wait for the end.
    closing: Vec<oneshot::Sender<Result<(), AuditError>>>,
}

pub(super) fn spawn(
    log: Log,
    journal: Journal,
    shared: Arc<Shared>,
    options: &Options,
) -> Result<(Sender<Request>, JoinHandle<()>), AuditError> {
    let (requests, waiting) = channel();
    let path = log.directory().path().to_owned();
    let mut writer = Writer {
        log,
        journal,
        shared,
        failure: None,
        checkpoint_records: options.checkpoint_records,
        checkpoint_pause: options.checkpoint_pause,
        heartbeat: options.heartbeat,
        beat_at: Instant::now(),
        uncovered_since: None,
        closing: Vec::new(),
    };
    let thread = std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run(&waiting))
        .map_err(AuditError::io("start the writer of", path))?;
    Ok((requests, thread))
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Request>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut others = Vec::new();
        while self.wait(waiting, &mut batch, &mut others) {
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
            for other in others.drain(..) {
                self.answer(other);
            }
            self.checkpoint_when_due();
            if !self.closing.is_empty() {
                break;
            }
        }
        self.close();
    }

    fn close(&mut self) {
        let closed = match self.failure.take() {
            Some(failure) => Err(failure.why),
            None => self.log.close(),
        };
        if let Err(why) = &closed {
            tracing::error!(error = %why, "the audit log could not be closed with a checkpoint");
        }
        // Waits a little until journald has taken the last copies.
        self.journal = Journal::off();
        for reply in self.closing.drain(..) {
            drop(reply.send(closed.clone()));
        }
    }

    /// Takes all that wait. While the log cannot be written, also comes back
    /// to try again when nobody asks, and when a checkpoint is due. `false` at the end.
    fn wait(
        &self,
        waiting: &Receiver<Request>,
        batch: &mut Vec<Append>,
        others: &mut Vec<Request>,
    ) -> bool {
        let until = match (&self.failure, self.uncovered_since) {
            (Some(failure), _) if failure.why.is_final() => None,
            (Some(failure), _) => Some(failure.retry_at),
            (None, Some(since)) => Some(since + self.checkpoint_pause),
            (None, None) => Some(self.beat_at + self.heartbeat),
        };
        let first = match until {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => waiting.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        let mut sort = |request| match request {
            Request::Append(append) => batch.push(*append),
            other => others.push(other),
        };
        match first {
            Ok(request) => sort(request),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        waiting.try_iter().take(MAX_BATCH - 1).for_each(sort);
        true
    }

    /// What is asked for beside records, after those that were asked for before it.
    fn answer(&mut self, request: Request) {
        let unwell = self.failure.as_ref().map(|failure| failure.why.clone());
        // Whoever gave up has no ear.
        match request {
            Request::Append(append) => drop(append.reply.send(Err(AuditError::Closed))),
            Request::Checkpoint(reply) => {
                let made = match unwell {
                    Some(why) => Err(why),
                    None => self.checkpoint(Kind::Demand),
                };
                drop(reply.send(made));
            }
            Request::Close(reply) => self.closing.push(reply),
            Request::Prune(keep, reply) => {
                let pruned = match unwell {
                    Some(why) => Err(why),
                    None => self.log.prune(keep, Log::now_usec()),
                };
                match &pruned {
                    Ok(0) => {}
                    Ok(_) => {
                        self.journal.send(self.log.last_batch().records());
                        self.committed();
                    }
                    Err(why) => self.fail(why.clone(), 0),
                }
                drop(reply.send(pruned));
            }
        }
    }

    fn checkpoint(&mut self, kind: Kind) -> Result<String, AuditError> {
        match self.log.checkpoint(kind).map(|note| note.text().to_owned()) {
            Ok(text) => {
                self.uncovered_since = None;
                self.beat_at = Instant::now();
                Ok(text)
            }
            Err(why) => {
                self.fail(why.clone(), 0);
                Err(why)
            }
        }
    }

    fn checkpoint_when_due(&mut self) {
        let uncovered = self.log.uncovered();
        if self.failure.is_some() || uncovered == 0 {
            self.uncovered_since = None;
            if self.failure.is_none() && self.beat_at.elapsed() >= self.heartbeat {
                self.beat();
            }
            return;
        }
        let since = *self.uncovered_since.get_or_insert_with(Instant::now);
        if uncovered >= self.checkpoint_records || since.elapsed() >= self.checkpoint_pause {
            // An error is told by the state of the log.
            drop(self.checkpoint(Kind::Interval));
        }
    }

    /// Nothing happened, and that is signed: silence is told from a log that has stopped.
    fn beat(&mut self) {
        self.beat_at = Instant::now();
        match self.log.beat() {
            // So many may have come together that the segment is full of them.
            Ok(()) => self.committed(),
            Err(why) => self.fail(why, 0),
        }
    }

    fn write(&mut self, batch: &mut Vec<Append>) {
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

    /// What is durable is told: in the head file, and to whoever asks. A segment that
    /// is full now is sealed.
    fn committed(&mut self) {
        let told = self.log.write_head().and_then(|()| {
            if self.log.rotate_when_full()? {
                self.journal.send(self.log.last_batch().records());
            }
            Ok(())
        });
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
    /// record is the proof that writing works again, but not after a failed fsync.
    fn try_again(&mut self) {
        let due =
            |failure: &mut Failure| failure.retry_at <= Instant::now() && !failure.why.is_final();
        let Some(failure) = self.failure.take_if(due) else { return };
        let gap = own_record(Event::LogResumed, "resume")
            .detail("seconds", failure.since.elapsed().as_secs())
            .detail("refused", failure.refused)
            .detail("reason", &failure.why);
        // What else must be written first: no record says that it works when it does not.
        let resumed = self.log.reopen().and_then(|()| self.log.write_head()).and_then(|()| {
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

fn refuse(batch: &mut Vec<Append>, why: &AuditError) {
    for request in batch.drain(..) {
        drop(request.reply.send(Err(why.clone())));
    }
}
