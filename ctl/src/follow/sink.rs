//! Where a job's output goes: this program's own standard streams, byte for
//! byte, unless one of them is a terminal.

use crate::view::terminal::Filter;
use fetchml_api::log::{FrameHeader, Stream};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;

/// What is collected before a write.
const BATCH_BYTES: usize = 64 * 1024;

/// What takes frames of a log.
pub(crate) trait Sink: Send {
    /// Takes one frame.
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> io::Result<()>;
    /// Everything taken is with the reader when this returns.
    fn flush(&mut self) -> io::Result<()>;
    /// No frame will follow.
    fn finish(&mut self) -> io::Result<()>;
}

/// One standard stream.
#[derive(Debug)]
pub(crate) struct Lane {
    file: File,
    batch: Vec<u8>,
    filter: Option<Filter>,
    /// Nobody reads it any more.
    closed: bool,
    /// The last byte was not the end of a line.
    open_line: bool,
}

impl Lane {
    pub(crate) fn new(stream: impl AsFd + io::IsTerminal) -> io::Result<Self> {
        Ok(Self {
            filter: stream.is_terminal().then(Filter::default),
            file: stream.as_fd().try_clone_to_owned()?.into(),
            batch: Vec::with_capacity(BATCH_BYTES),
            closed: false,
            open_line: false,
        })
    }

    pub(crate) fn take(&mut self, payload: &[u8]) -> io::Result<()> {
        let Some(last) = payload.last() else {
            return Ok(());
        };
        self.open_line = *last != b'\n';
        match &mut self.filter {
            Some(filter) => filter.push(payload, &mut self.batch),
            None if payload.len() >= BATCH_BYTES / 2 => {
                self.flush()?;
                return self.write_through(payload);
            }
            None => self.batch.extend_from_slice(payload),
        }
        if self.batch.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let done = self.write_through(&batch);
        self.batch = batch;
        self.batch.clear();
        done
    }

    /// No byte will follow: nothing is held back, no colour is left on.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(filter) = &mut self.filter {
            filter.finish(&mut self.batch);
        }
        self.flush()
    }

    fn write_through(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed { Ok(()) } else { self.file.write_all(bytes) }
    }
}

/// Both standard streams of this program.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Lane,
    stderr: Lane,
    /// Both lead to the same place, so their order is worth a write each.
    joined: bool,
    last: Stream,
}

impl Streams {
    /// The streams this program was started with.
    pub(crate) fn standard() -> io::Result<Self> {
        let (stdout, stderr) = (Lane::new(io::stdout())?, Lane::new(io::stderr())?);
        let place = |f: &File| rustix::fs::fstat(f).map(|s| (s.st_dev, s.st_ino, s.st_rdev)).ok();
        let joined = place(&stdout.file) == place(&stderr.file);
        Ok(Self { stdout, stderr, joined, last: Stream::Stdout })
    }

    /// A reader of standard error that went away is no reason to end the job.
    fn forgive_stderr(lane: &mut Lane, done: io::Result<()>) -> io::Result<()> {
        match done {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                lane.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

impl Sink for Streams {
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> io::Result<()> {
        if self.joined && header.stream != self.last {
            self.flush()?;
        }
        self.last = header.stream;
        match header.stream {
            Stream::Stdout => self.stdout.take(payload),
            Stream::Stderr => {
                let done = self.stderr.take(payload);
                Self::forgive_stderr(&mut self.stderr, done)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()?;
        let done = self.stderr.flush();
        Self::forgive_stderr(&mut self.stderr, done)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stdout.finish()?;
        let done = self.stderr.finish();
        Self::forgive_stderr(&mut self.stderr, done)?;
        // What this program says next begins on a line of its own.
        let shares_line =
            self.joined || (self.stdout.filter.is_some() && self.stderr.filter.is_some());
        let lane = match self.last {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if lane.open_line && lane.filter.is_some() && shares_line {
            lane.batch.push(b'\n');
        }
        self.flush()
    }
}
