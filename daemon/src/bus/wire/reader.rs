//! The half that hears a client.

use super::flow::{Call, Flow};
use super::{MAX_MESSAGE_BYTES, MAX_MESSAGE_FDS};
use crate::bus::held::{Held, Part};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::Message;
use zbus::connection::socket::ReadHalf;
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;
use zbus::message::{Flags, Header, Type};
use zbus::wire::Endian;
use zbus::wire::serialized::{Context, Data};

/// What every message begins with: it says how long the whole is.
const FIRST_BYTES: usize = 16;
/// Where the flags of a message are.
const FLAGS: usize = 2;
/// Most bytes of a client before its messages begin.
const MAX_HANDSHAKE_BYTES: usize = 16 << 10;
/// Bytes taken from the socket at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Descriptors that the kernel passes with one write.
const SCM_MAX_FD: usize = 253;
/// Descriptors that came and belong to no whole message: those of one that is on its
/// way, and those that a write which ended it brought for the next.
const MAX_FDS_AHEAD: usize = 2 * MAX_MESSAGE_FDS;

#[derive(Debug)]
pub(crate) struct Reader {
    socket: Arc<UnixStream>,
    flow: Arc<Flow>,
    uid: u32,
    held: Arc<Held>,
    handshake_bytes: usize,
    /// What came and is not taken yet.
    bytes: Vec<u8>,
    fds: VecDeque<(OwnedFd, Part)>,
}

impl Reader {
    pub(super) fn new(socket: Arc<UnixStream>, flow: Arc<Flow>, uid: u32, held: Arc<Held>) -> Self {
        let (bytes, fds) = (Vec::new(), VecDeque::new());
        Self { socket, flow, uid, held, handshake_bytes: 0, bytes, fds }
    }

    /// Reads what there is, at most this buffer full, as soon as there is something.
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            match self.receive_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    fn receive_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = &self.socket;
        let (count, came) = socket.try_io(Interest::READABLE, || receive(socket, buffer))?;
        for fd in came {
            let Some(part) = self.held.fd(self.uid) else {
                return Err(self.refuse("more descriptors than a user may have on the way"));
            };
            self.fds.push_back((fd, part));
        }
        if self.fds.len() > MAX_FDS_AHEAD {
            let count = self.fds.len();
            return Err(self.refuse(&format!("{count} descriptors ahead of their message")));
        }
        Ok(count)
    }

    /// Sees to it that at least so many bytes are there. What is set aside grows with
    /// what came, not with what was promised.
    async fn have(&mut self, wanted: usize) -> io::Result<()> {
        while self.bytes.len() < wanted {
            self.socket.readable().await?;
            let mut bytes = std::mem::take(&mut self.bytes);
            let begin = bytes.len();
            bytes.resize(begin + CHUNK_BYTES, 0);
            let received = self.receive_now(&mut bytes[begin..]);
            bytes.truncate(begin + received.as_ref().map_or(0, |count| *count));
            self.bytes = bytes;
            match received {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next message as it came.
    async fn next(&mut self) -> zbus::Result<Whole> {
        self.have(FIRST_BYTES).await?;
        let Lengths { endian, header, whole } =
            Lengths::read(&self.bytes).ok_or(zbus::Error::IncorrectEndian)?;
        if whole > MAX_MESSAGE_BYTES {
            return Err(self.refuse(&format!("a message of {whole} bytes")).into());
        }
        let Some(room) = self.held.bytes(self.uid, whole) else {
            return Err(self.refuse("more than a user's messages may have on the way").into());
        };
        self.have(whole).await?;
        let rest = self.bytes.split_off(whole);
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        let head = Data::new(&bytes[..header], Context::new(endian, 0));
        let (head, _): (Header<'_>, usize) = head.deserialize()?;
        let count = head.unix_fds().unwrap_or(0) as usize;
        if count > MAX_MESSAGE_FDS {
            return Err(self.refuse(&format!("a message with {count} descriptors")).into());
        }
        let quiet = head.primary().flags().contains(Flags::NO_REPLY_EXPECTED);
        let (serial, what) = (head.primary().serial_num(), head.message_type());
        let claimed = self.fds.drain(..count.min(self.fds.len()));
        let (fds, mut parts): (Vec<_>, Vec<_>) = claimed.unzip();
        parts.push(room);
        if what == Type::MethodCall {
            self.begin(serial, Call::new(whole, fds.len(), parts, quiet)).await?;
            // Answered in any case: only then it is known when the call is over.
            bytes[FLAGS] &= !Flags::NO_REPLY_EXPECTED.bits();
        }
        Ok(Whole { bytes, taken: 0, fds })
    }

    async fn begin(&self, serial: NonZeroU32, call: Call) -> io::Result<()> {
        if self.flow.begin(serial, call).await {
            return Ok(());
        }
        Err(self.refuse(&format!("a second call {serial} before the first was answered")))
    }

    /// Ends the connection.
    fn refuse(&self, what: &str) -> io::Error {
        let uid = self.uid;
        tracing::warn!(
            uid,
            "a client sent {what}, and its connection is closed: a message has at most \
             {MAX_MESSAGE_BYTES} bytes and {MAX_MESSAGE_FDS} descriptors"
        );
        io::Error::new(io::ErrorKind::InvalidData, what)
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn receive_message(
        &mut self,
        seq: u64,
        already_received_bytes: &mut Vec<u8>,
        _already_received_fds: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        if !already_received_bytes.is_empty() {
            // The handshake read past its end.
            already_received_bytes.append(&mut self.bytes);
            self.bytes = std::mem::take(already_received_bytes);
        }
        let mut whole = self.next().await?;
        // Its own reading of a message is the only way to make one.
        whole.receive_message(seq, &mut Vec::new(), &mut Vec::new()).await
    }

    /// For the handshake alone. Descriptors that came with it wait for a message.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let count = self.receive(buffer).await?;
        self.handshake_bytes += count;
        if self.handshake_bytes > MAX_HANDSHAKE_BYTES {
            return Err(self.refuse(&format!("{} bytes of handshake", self.handshake_bytes)));
        }
        Ok((count, Vec::new()))
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(&self.socket)
    }
}

/// A message that is all there, for zbus to read.
#[derive(Debug)]
struct Whole {
    bytes: Vec<u8>,
    taken: usize,
    fds: Vec<OwnedFd>,
}

#[async_trait]
impl ReadHalf for Whole {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let rest = &self.bytes[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok((count, std::mem::take(&mut self.fds)))
    }
}

/// How long a message says it is.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    endian: Endian,
    /// Of the header, without what fills it up to eight bytes.
    header: usize,
    whole: usize,
}

impl Lengths {
    /// `None` when it does not begin as a message does.
    fn read(first: &[u8]) -> Option<Self> {
        let (endian, number): (_, fn([u8; 4]) -> u32) = match first.first()? {
            b'l' => (Endian::Little, u32::from_le_bytes),
            b'B' => (Endian::Big, u32::from_be_bytes),
            _ => return None,
        };
        let at = |at: usize| {
            let bytes = first.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(number(bytes)).ok()
        };
        let header = FIRST_BYTES.checked_add(at(12)?)?;
        let whole = header.checked_next_multiple_of(8)?.checked_add(at(4)?)?;
        Some(Self { endian, header, whole })
    }
}

pub(super) fn credentials(socket: &UnixStream) -> io::Result<ConnectionCredentials> {
    let peer = socket.peer_cred()?;
    Ok(ConnectionCredentials::default().set_unix_user_id(peer.uid()))
}

fn receive(socket: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut into = [IoSliceMut::new(buffer)];
    let received = rustix::net::recvmsg(socket, &mut into, &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            fds.extend(came);
        }
    }
    Ok((received.bytes, fds))
}
