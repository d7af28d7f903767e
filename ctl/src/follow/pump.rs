//! The thread that carries a log to a sink, so that a slow reader of our output
//! never keeps Ctrl-C or the supervisor waiting.

use super::frames::Decoder;
use super::sink::Sink;
use super::watch::{Bell, Watch};
use fetchml_api::log::FrameError;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// Why a log could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Read(#[source] io::Error),
    /// The log holds bytes that no agent writes.
    #[error("the log is damaged at byte {offset}")]
    Damaged {
        /// Where the bad frame begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        error: FrameError,
    },
    /// Our own output cannot be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// The thread could not be started, or ended without a word.
    #[error("the thread that follows the log failed")]
    Thread,
}

/// A log that is read as far as it goes.
#[derive(Debug)]
pub(crate) struct Reader {
    log: File,
    decoder: Decoder,
    /// Bytes of the first frame's payload to leave out, for a tail that begins
    /// inside a frame.
    skip: usize,
}

impl Reader {
    /// Reads from a frame's beginning, leaving out the first bytes of its payload.
    pub(crate) fn new(log: OwnedFd, offset: u64, skip: usize) -> Self {
        Self { log: log.into(), decoder: Decoder::at(offset), skip }
    }

    /// Carries everything that is there now.
    pub(crate) fn drain(&mut self, sink: &mut impl Sink) -> Result<(), PumpError> {
        loop {
            let place = self.decoder.offset() + self.decoder.pending() as u64;
            let count = match self.log.read_at(self.decoder.space(), place) {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(PumpError::Read(e)),
            };
            self.decoder.filled(count);
            self.frames(sink)?;
            if count == 0 {
                return sink.flush().map_err(PumpError::Write);
            }
        }
    }

    fn frames(&mut self, sink: &mut impl Sink) -> Result<(), PumpError> {
        loop {
            let offset = self.decoder.offset();
            match self.decoder.next() {
                Ok(None) => return Ok(()),
                Ok(Some((header, payload))) => {
                    let skip = std::mem::take(&mut self.skip).min(payload.len());
                    sink.frame(header, &payload[skip..]).map_err(PumpError::Write)?;
                }
                Err(error) => return Err(PumpError::Damaged { offset, error }),
            }
        }
    }
}

/// A thread that follows a log.
#[derive(Debug)]
pub(crate) struct Pump {
    ended: Arc<AtomicBool>,
    bell: Bell,
    pub(crate) result: oneshot::Receiver<Result<(), PumpError>>,
}

impl Pump {
    /// Starts to carry `reader` into `sink`.
    pub(crate) fn start(
        mut reader: Reader,
        mut sink: impl Sink + 'static,
    ) -> Result<Self, PumpError> {
        let bell = Bell::new().map_err(PumpError::Read)?;
        let mut watch = Watch::new(bell.clone());
        let ended = Arc::new(AtomicBool::new(false));
        let (tell, result) = oneshot::channel();
        let seen = Arc::clone(&ended);
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                // Nobody listens after a second Ctrl-C.
                let _ = tell.send(carry(&mut reader, &mut sink, &mut watch, &seen));
            })
            .map_err(|_| PumpError::Thread)?;
        Ok(Self { ended, bell, result })
    }

    /// The job is over: what is in the log now is all there will be.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.bell.ring();
    }
}

fn carry(
    reader: &mut Reader,
    sink: &mut impl Sink,
    watch: &mut Watch,
    ended: &AtomicBool,
) -> Result<(), PumpError> {
    loop {
        // Read before the log is: what the job wrote was there before its end
        // was known, so this last look sees all of it.
        let last = ended.load(Ordering::Acquire);
        reader.drain(sink)?;
        if last {
            return sink.finish().map_err(PumpError::Write);
        }
        watch.sleep(&reader.log).map_err(PumpError::Read)?;
    }
}
