//! The job's output: pipes in, framed log without secrets out.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use fetchml_api::agent::fd;
use fetchml_api::log::{FrameHeader, HEADER_BYTES, MAX_PAYLOAD, Stream, TRAILER_BYTES};
use fetchml_secrets::{Piece, Redactor, Rules};
use fetchml_sys::{Errno, sealed};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::IoSlice;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Room in a pipe, so that a chatty job is rarely put to sleep. A wish: above
/// the user's share of pipe memory (pipe(7)) the kernel leaves the default.
const PIPE_BYTES: usize = 256 * 1024;
/// What is read at once, and the longest payload that is written. So large a block is
/// fresh pages of the kernel's, and of an agent whose job says little hardly one is ever
/// touched.
const ROOM_BYTES: usize = 20 * 1024;
/// What is read at most when the job is over: more than any pipe holds (1 MiB unless an
/// administrator raised `pipe-max-size`, pipe(7)).
const MAX_DRAIN_BYTES: u64 = 16 << 20;
/// How long what can be no secret waits for what follows it, such as half a word.
const HOLD_USEC: u64 = 50_000;

/// The rules for secrets, which lie in memory that all agents share. Hardly any of it
/// is read before the job has written something.
pub(super) fn rules() -> Result<Rules, Errno> {
    let file = super::borrowed(fd::RULES);
    let bytes = sealed::map(file)?;
    let mut header = [0; Rules::HEADER_BYTES];
    let read = rustix::io::pread(file, &mut header, 0)?;
    let header = header.get(..read).unwrap_or_default();
    Rules::in_place(header, bytes).ok_or(Errno::BADMSG)
}

/// The read end of one of the job's streams.
pub(super) struct Pipe {
    end: Option<OwnedFd>,
    stream: Stream,
    redactor: Redactor,
    /// When what is held back is shown, as far as it can be no secret.
    pub(super) shows_at_usec: Option<u64>,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

impl Pipe {
    /// A pipe and the end that the command writes to. `secrets` are taken out of it as
    /// well as what the rules tell.
    pub(super) fn new(
        stream: Stream,
        rules: &Rules,
        secrets: &[Vec<u8>],
    ) -> Result<(Self, OwnedFd), Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        let _ = fcntl_setpipe_size(&read, PIPE_BYTES);
        let redactor = Redactor::new(rules, secrets);
        let pipe = Self { end: Some(read), stream, redactor, shows_at_usec: None, bytes: 0 };
        Ok((pipe, write))
    }

    pub(super) fn is_open(&self) -> bool {
        self.end.is_some()
    }

    /// What poll(2) should watch; for a closed pipe, `other` for nothing.
    pub(super) fn poll_fd<'a>(&'a self, other: &'a OwnedFd) -> PollFd<'a> {
        match &self.end {
            Some(end) => PollFd::new(end, PollFlags::IN),
            None => PollFd::new(other, PollFlags::empty()),
        }
    }

    /// Moves one piece of output into the log; says whether there may be more.
    pub(super) fn relay(&mut self, log: &mut Log) -> bool {
        let Some(end) = &self.end else { return false };
        match rustix::io::read(end, log.room.as_mut()) {
            Ok(n @ 1..) => {
                self.bytes += n as u64;
                log.take(self.stream, &mut self.redactor, n);
                self.shows_at_usec = match self.shows_at_usec {
                    _ if !self.redactor.can_release() => None,
                    None => Some(super::elapsed_usec().saturating_add(HOLD_USEC)),
                    waiting => waiting,
                };
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // End of file, or a pipe that cannot be read any more.
            Ok(0) | Err(_) => {
                self.finish(log);
                false
            }
        }
    }

    /// Shows what has waited long enough.
    pub(super) fn show_waiting(&mut self, log: &mut Log) {
        if self.shows_at_usec.is_some_and(|at| at <= super::elapsed_usec()) {
            self.shows_at_usec = None;
            log.show(self.stream, &mut self.redactor);
        }
    }

    /// Moves all that is left. Whoever was given the other end by the job, through a
    /// directory that jobs share, may write for ever.
    pub(super) fn drain(&mut self, log: &mut Log) {
        let until = self.bytes.saturating_add(MAX_DRAIN_BYTES);
        while self.bytes < until && self.relay(log) {}
        self.finish(log);
    }

    fn finish(&mut self, log: &mut Log) {
        if self.end.take().is_some() {
            self.shows_at_usec = None;
            log.finish(self.stream, &mut self.redactor);
        }
    }
}

/// The log: what is read, without its secrets.
pub(super) struct Log {
    rules: Rules,
    /// Where output is read to.
    room: Box<[u8]>,
    pub(super) frames: Frames,
}

impl Log {
    /// The log, which grows up to its limit.
    pub(super) fn new(
        file: BorrowedFd<'static>,
        limit_bytes: u64,
        rules: Rules,
    ) -> Result<Self, Errno> {
        let room = vec![0; ROOM_BYTES].into_boxed_slice();
        Ok(Self { rules, room, frames: Frames::new(file, limit_bytes)? })
    }

    /// Takes the first `read` bytes of the room.
    fn take(&mut self, stream: Stream, redactor: &mut Redactor, read: usize) {
        let Self { rules, room, frames } = self;
        if frames.is_full {
            frames.lost_bytes += read as u64;
            return;
        }
        let text = room.get(..read).unwrap_or_default();
        redactor.feed(rules, text, |piece| frames.put(stream, rules, piece));
        frames.write(stream);
    }

    fn show(&mut self, stream: Stream, redactor: &mut Redactor) {
        let Self { rules, frames, .. } = self;
        redactor.release(|piece| frames.put(stream, rules, piece));
        frames.write(stream);
    }

    fn finish(&mut self, stream: Stream, redactor: &mut Redactor) {
        let Self { rules, frames, .. } = self;
        redactor.finish(rules, |piece| frames.put(stream, rules, piece));
        frames.write(stream);
    }
}

/// The log file. Only whole frames stay in it.
pub(super) struct Frames {
    file: BorrowedFd<'static>,
    /// The payload of the next frame, and how much of it is there.
    payload: Box<[u8]>,
    len: usize,
    end_of_last_frame: u64,
    limit_bytes: u64,
    /// It has all the bytes that it may have, and takes no more.
    pub(super) is_full: bool,
    /// Bytes of output that could not be written.
    pub(super) lost_bytes: u64,
    /// Why, the first time.
    pub(super) first_error: Option<Errno>,
}

impl Frames {
    fn new(file: BorrowedFd<'static>, limit_bytes: u64) -> Result<Self, Errno> {
        const { assert!(ROOM_BYTES <= MAX_PAYLOAD) };
        let size = rustix::fs::fstat(file)?.st_size;
        Ok(Self {
            file,
            payload: vec![0; ROOM_BYTES].into_boxed_slice(),
            len: 0,
            end_of_last_frame: u64::try_from(size).unwrap_or(0),
            limit_bytes,
            is_full: false,
            lost_bytes: 0,
            first_error: None,
        })
    }

    /// Adds a piece to the payload, of which full ones are written.
    fn put(&mut self, stream: Stream, rules: &Rules, piece: Piece<'_>) {
        match piece {
            Piece::Text(text) => self.put_bytes(stream, text),
            Piece::Secret(rule) => self.put_bytes(stream, rules.marker(rule).as_bytes()),
        }
    }

    fn put_bytes(&mut self, stream: Stream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let free = self.payload.get_mut(self.len..).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(free.len()));
            if let Some(place) = free.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            self.len += now.len();
            bytes = later;
            if !bytes.is_empty() {
                self.write(stream);
            }
        }
    }

    /// Appends the payload as one frame, as far as the limit leaves room for it.
    fn write(&mut self, stream: Stream) {
        let all = core::mem::take(&mut self.len);
        let len = all.min(self.room_for_payload());
        if len < all {
            self.is_full = true;
            self.lost_bytes += (all - len) as u64;
        }
        if len > 0 {
            self.write_whole(stream, len);
        }
    }

    fn room_for_payload(&self) -> usize {
        let left = self.limit_bytes.saturating_sub(self.end_of_last_frame);
        let payload = left.saturating_sub((HEADER_BYTES + TRAILER_BYTES) as u64);
        if self.is_full { 0 } else { usize::try_from(payload).unwrap_or(usize::MAX) }
    }

    fn write_whole(&mut self, stream: Stream, len: usize) {
        let header = FrameHeader { len, stream, time_usec: super::now_usec() }.encode();
        let trailer = [header[0], header[1], header[2], header[3]];
        let frame_bytes = HEADER_BYTES + len + TRAILER_BYTES;
        let payload = self.payload.get(..len).unwrap_or_default();
        let parts = [IoSlice::new(&header), IoSlice::new(payload), IoSlice::new(&trailer)];
        let error = match rustix::io::writev(self.file.as_fd(), &parts) {
            Ok(n) if n == frame_bytes => {
                self.end_of_last_frame += frame_bytes as u64;
                return;
            }
            // A short write to a file means that the disk is full.
            Ok(_) => Errno::NOSPC,
            Err(e) => e,
        };
        // The job must not wait for a full disk: its output is lost, which the
        // report says, but what is in the log stays readable.
        self.lost_bytes += len as u64;
        self.first_error.get_or_insert(error);
        let _ = rustix::fs::ftruncate(self.file, self.end_of_last_frame);
    }

    /// Waits until the log is on the disk.
    pub(super) fn sync(&mut self) {
        if let Err(e) = rustix::fs::fdatasync(self.file) {
            self.first_error.get_or_insert(e);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_secrets::Source;
    use rustix::fs::MemfdFlags;
    use std::fs::File;

    #[test]
    fn an_output_that_never_ends_is_not_read_for_ever() {
        let rules = || Rules::new(&Source::default()).expect("there are none");
        let file = rustix::fs::memfd_create(c"log", MemfdFlags::CLOEXEC).expect("a file");
        let file: &'static OwnedFd = Box::leak(Box::new(file));
        let mut log = Log::new(file.as_fd(), 1 << 20, rules()).expect("a log");
        let (mut pipe, _) = Pipe::new(Stream::Stdout, &rules(), &[]).expect("a pipe");
        pipe.end = Some(File::open("/dev/zero").expect("it is there").into());
        pipe.drain(&mut log);
        assert!(!pipe.is_open() && pipe.bytes >= MAX_DRAIN_BYTES, "{}", pipe.bytes);
    }
}
