//! The journal's copy: after a record is durable, on a thread of its own,
//! because tracing-journald waits for a stuck journald and hides its errors.
//! A copy that finds no room is dropped and counted; the next one says so.

use super::mirror::Lost;
use fetchml_api::audit::{Event, Head, Outcome, Record};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

const WAITING_COPIES: usize = 1024;
/// How long closing the log waits for a journald that does not read.
const PATIENCE: Duration = Duration::from_millis(500);
/// Facility of security messages, `authpriv` (syslog(3)).
const FACILITY: &str = "10";

/// Whether the journal gets a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalCopy {
    /// Not wanted.
    Off,
    /// No journald to be reached, and why.
    Absent(String),
    /// It does.
    Connected {
        /// Copies that were not sent because journald did not take them in time.
        dropped: u64,
    },
}

struct Copy {
    head: Head,
    /// The journal had lost it.
    again: bool,
    line: Box<[u8]>,
    /// Copies dropped before this one.
    dropped: u64,
}

#[derive(Debug)]
enum Way {
    None(JournalCopy),
    Thread { copies: SyncSender<Vec<Copy>>, done: Receiver<Infallible> },
}

/// Sends copies without ever waiting.
#[derive(Debug)]
pub(super) struct Journal {
    way: Way,
    dropped: u64,
    untold: u64,
}

impl Journal {
    pub(super) fn off() -> Self {
        Self { way: Way::None(JournalCopy::Off), dropped: 0, untold: 0 }
    }

    pub(super) fn connect() -> Self {
        let way = match start() {
            Ok((copies, done)) => Way::Thread { copies, done },
            Err(error) => Way::None(JournalCopy::Absent(error.to_string())),
        };
        Self { way, dropped: 0, untold: 0 }
    }

    pub(super) fn copy(&self) -> JournalCopy {
        match &self.way {
            Way::None(copy) => copy.clone(),
            Way::Thread { .. } => JournalCopy::Connected { dropped: self.dropped },
        }
    }

    /// Sends what the journal had lost, before anything else.
    pub(super) fn send_again(&mut self, lost: VecDeque<Lost>) {
        let Way::Thread { copies, .. } = &self.way else { return };
        let copy = |(head, line)| Copy { head, again: true, line, dropped: 0 };
        // The first of all has room; it goes as one, so that it takes none from others.
        drop(copies.try_send(lost.into_iter().map(copy).collect()));
    }

    pub(super) fn send<'a>(&mut self, records: impl Iterator<Item = (Head, &'a [u8])>) {
        let Way::Thread { copies, .. } = &self.way else { return };
        for (head, line) in records {
            let copy = Copy { head, again: false, line: line.into(), dropped: self.untold };
            if copies.try_send(vec![copy]).is_ok() {
                self.untold = 0;
            } else {
                self.untold += 1;
                self.dropped += 1;
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let way = std::mem::replace(&mut self.way, Way::None(JournalCopy::Off));
        if let Way::Thread { copies, done } = way {
            drop(copies);
            if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!("journald does not take the last audit records; the file has them");
            }
        }
    }
}

fn start() -> std::io::Result<(SyncSender<Vec<Copy>>, Receiver<Infallible>)> {
    let layer = tracing_journald::layer()?
        .with_field_prefix(None)
        .with_syslog_identifier("fetchmld".to_owned())
        .with_custom_fields([("SYSLOG_FACILITY", FACILITY)]);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let (copies, waiting) = sync_channel::<Vec<Copy>>(WAITING_COPIES);
    let (finished, done) = sync_channel(0);
    std::thread::Builder::new().name("audit-journal".to_owned()).spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || {
            for copy in waiting.iter().flatten() {
                emit(&copy);
            }
        });
        // Dropped, not sent: whoever waits sees that the thread is through.
        drop(finished);
    })?;
    Ok((copies, done))
}

/// Field names in capitals are journal fields; `message` becomes MESSAGE.
macro_rules! to_journal {
    ($level:ident, $copy:expr, $record:expr, $line:expr, $message:expr) => {
        tracing::$level!(
            target: "fetchml::audit",
            MESSAGE_ID = $record.kind().map(Event::message_id),
            FETCHML_SEQ = $copy.head.seq,
            FETCHML_HASH = %$copy.head.hash,
            FETCHML_EVENT = &*$record.event,
            FETCHML_ACTOR_UID = $record.actor.uid,
            FETCHML_JOB = $record.job,
            FETCHML_RESULT = %$record.result,
            FETCHML_RECORD = $line,
            FETCHML_REPLAYED = $copy.again.then_some(1),
            FETCHML_DROPPED = ($copy.dropped > 0).then_some($copy.dropped),
            message = $message.as_str(),
        )
    };
}

fn emit(copy: &Copy) {
    // Our own line, just written: both hold.
    let (Ok(record), Ok(line)) = (Record::parse(&copy.line), std::str::from_utf8(&copy.line))
    else {
        return;
    };
    let again = if copy.again { " (sent again: the journal had lost it)" } else { "" };
    let message = sentence(&record) + again;
    match record.result {
        Outcome::Success => to_journal!(info, copy, record, line, message),
        Outcome::Failure | Outcome::Denied => to_journal!(warn, copy, record, line, message),
    }
}

/// `job_started: start job/12 by alice (uid 1000): success`, harmless on a terminal.
fn sentence(record: &Record<'_>) -> String {
    let user = record.actor.user.as_deref().map(|user| format!("{user} ")).unwrap_or_default();
    let text = format!(
        "{}: {} {} by {user}(uid {}): {}",
        record.event, record.action, record.resource, record.actor.uid, record.result
    );
    text.replace(char::is_control, "\u{fffd}")
}
