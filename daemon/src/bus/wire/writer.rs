//! The half that answers.

use super::flow::Flow;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::Message;
use zbus::connection::socket::WriteHalf;
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;
use zbus::message::Type;

/// Descriptors that the kernel passes with one write.
const SCM_MAX_FD: usize = 253;

#[derive(Debug)]
pub(crate) struct Writer {
    socket: Arc<UnixStream>,
    flow: Arc<Flow>,
}

impl Writer {
    pub(super) fn new(socket: Arc<UnixStream>, flow: Arc<Flow>) -> Self {
        Self { socket, flow }
    }

    async fn write(&mut self, message: &Message) -> zbus::Result<()> {
        let data = message.data();
        let fds: Vec<_> = data.fds().iter().map(AsFd::as_fd).collect();
        let mut written = 0;
        while written < data.len() {
            let fds = if written == 0 { fds.as_slice() } else { &[] };
            written += self.sendmsg(&data[written..], fds).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        let answers = matches!(message.message_type(), Type::MethodReturn | Type::Error);
        let answered = message.header().reply_serial().filter(|_| answers);
        let Some(serial) = answered else { return self.write(message).await };
        let sent = match self.flow.wants(serial) {
            true => self.write(message).await,
            false => Ok(()),
        };
        self.flow.end(serial);
        sent
    }

    async fn sendmsg(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        loop {
            self.socket.writable().await?;
            let sent = self.socket.try_io(Interest::WRITABLE, || send(&self.socket, bytes, fds));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&*self.socket, Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        super::reader::credentials(&self.socket)
    }
}

fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        let words = format!("{} descriptors do not go with one message", fds.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}
