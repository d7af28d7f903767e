//! The job's output: pipes in, framed log out.

use alloc::boxed::Box;
use alloc::vec;
use fetchml_api::log::{FrameHeader, HEADER_BYTES, MAX_PAYLOAD, Stream, TRAILER_BYTES};
use fetchml_sys::Errno;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::IoSlice;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Room in a pipe, so that a chatty job is rarely put to sleep. A wish: above
/// the user's share of pipe memory (pipe(7)) the kernel leaves the default.
const PIPE_BYTES: usize = 256 * 1024;

/// The read end of one of the job's streams.
pub(super) struct Pipe {
    end: Option<OwnedFd>,
    stream: Stream,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

impl Pipe {
    /// A pipe and the end that the command writes to.
    pub(super) fn new(stream: Stream) -> Result<(Self, OwnedFd), Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        let _ = fcntl_setpipe_size(&read, PIPE_BYTES);
        Ok((Self { end: Some(read), stream, bytes: 0 }, write))
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
        match rustix::io::read(end, log.room()) {
            Ok(n @ 1..) => {
                self.bytes += n as u64;
                log.append(self.stream, n);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // End of file, or a pipe that cannot be read any more.
            Ok(0) | Err(_) => {
                self.end = None;
                false
            }
        }
    }

    /// Moves all that is left.
    pub(super) fn drain(&mut self, log: &mut Log) {
        while self.relay(log) {}
    }
}

/// The log file. Only whole frames stay in it.
pub(super) struct Log {
    file: BorrowedFd<'static>,
    /// Room for one payload. So large a block is fresh pages of the kernel's, and of an
    /// agent whose job says little hardly one is ever touched.
    buffer: Box<[u8]>,
    end_of_last_frame: u64,
    limit_bytes: u64,
    /// It has all the bytes that it may have, and takes no more.
    pub(super) is_full: bool,
    /// Bytes of output that could not be written.
    pub(super) lost_bytes: u64,
    /// Why, the first time.
    pub(super) first_error: Option<Errno>,
}

impl Log {
    /// The log, which grows up to its limit.
    pub(super) fn new(file: BorrowedFd<'static>, limit_bytes: u64) -> Result<Self, Errno> {
        let size = rustix::fs::fstat(file)?.st_size;
        Ok(Self {
            file,
            buffer: vec![0; MAX_PAYLOAD].into_boxed_slice(),
            end_of_last_frame: u64::try_from(size).unwrap_or(0),
            limit_bytes,
            is_full: false,
            lost_bytes: 0,
            first_error: None,
        })
    }

    /// Where the next payload is to be read to.
    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Appends the first `read` bytes of the buffer as one frame, as far as the limit
    /// leaves room for them.
    fn append(&mut self, stream: Stream, read: usize) {
        let len = read.min(self.room_for_payload());
        if len < read {
            self.is_full = true;
            self.lost_bytes += (read - len) as u64;
            if len == 0 {
                return;
            }
        }
        self.append_whole(stream, len);
    }

    fn room_for_payload(&self) -> usize {
        let left = self.limit_bytes.saturating_sub(self.end_of_last_frame);
        let payload = left.saturating_sub((HEADER_BYTES + TRAILER_BYTES) as u64);
        if self.is_full { 0 } else { usize::try_from(payload).unwrap_or(usize::MAX) }
    }

    fn append_whole(&mut self, stream: Stream, len: usize) {
        let header = FrameHeader { len, stream, time_usec: super::now_usec() }.encode();
        let trailer = [header[0], header[1], header[2], header[3]];
        let frame_bytes = HEADER_BYTES + len + TRAILER_BYTES;
        let payload = self.buffer.get(..len).unwrap_or_default();
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
