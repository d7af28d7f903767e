//! The private socket below zbus, which believes every length that a header claims and
//! holds every call until it is answered. Here a message has a size and a number of
//! descriptors that it may have before anything is set aside for it, and a connection
//! whose calls are not answered is not read further.

mod flow;
mod reader;
mod writer;

use super::held::Held;
use super::spec::MAX_MOUNTS;
use fetchml_api::names::MAX_SPEC_BYTES;
use flow::Flow;
use reader::Reader;
use std::sync::Arc;
use tokio::net::UnixStream;
use writer::Writer;
use zbus::connection::socket::{Socket, Split};

/// Longest message: twice the longest specification, so that who sends one that is too
/// long is told so.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_SPEC_BYTES;

/// Most descriptors of one message: twice what a job may have mounts, for the same reason.
const MAX_MESSAGE_FDS: usize = 2 * MAX_MOUNTS;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UnixStream,
    uid: u32,
    held: Arc<Held>,
}

impl Wire {
    /// Takes a socket over, whose other end is this user's.
    ///
    /// # Errors
    /// When the event loop cannot watch it.
    pub(super) fn new(
        socket: std::os::unix::net::UnixStream,
        uid: u32,
        held: Arc<Held>,
    ) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, uid, held })
    }
}

impl Socket for Wire {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (socket, flow) = (Arc::new(self.socket), Arc::new(Flow::default()));
        let reader = Reader::new(socket.clone(), flow.clone(), self.uid, self.held);
        Split::new(reader, Writer::new(socket, flow))
    }
}
