//! Where callers come from.

use crate::secrets::Holder;
use fetchml_api::audit::Source;
use nix::unistd::{Gid, Uid, User};
use rustix::net::sockopt::socket_peercred;
use std::os::fd::AsFd;
use zbus::names::{BusName, UniqueName};

/// A process that asks for something, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    pid: Option<u32>,
    transport: Transport,
}

/// How a caller reached us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The peer-to-peer socket.
    Peer,
    /// The system bus, under this unique name.
    Bus(String),
}

/// A caller cannot be identified, and so may do nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The kernel gives no credentials for the socket.
    #[error("the peer of a connection cannot be identified: {0}")]
    Socket(std::io::Error),
    /// The bus daemon gives no credentials for the name.
    #[error("the caller {sender} cannot be identified: {source}")]
    Bus {
        /// Its unique name.
        sender: String,
        /// What the bus daemon says.
        source: zbus::fdo::Error,
    },
    /// It gives some, without the user id.
    #[error("the bus does not say which user {0} is")]
    NoUser(String),
    /// A call on the bus without a sender.
    #[error("the call has no sender")]
    NoSender,
}

impl Caller {
    /// The process that connected a unix socket.
    ///
    /// # Errors
    /// [`CallerError::Socket`] when the kernel does not know it.
    pub fn of_socket(socket: impl AsFd) -> Result<Self, CallerError> {
        let fd = socket.as_fd();
        let credentials = socket_peercred(fd).map_err(|error| CallerError::Socket(error.into()))?;
        let groups =
            fetchml_sys::peer::groups(fd).map_err(|error| CallerError::Socket(error.into()))?;
        Ok(Self {
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
            groups,
            pid: u32::try_from(credentials.pid.as_raw_nonzero().get()).ok(),
            transport: Transport::Peer,
        })
    }

    /// The process that owns a unique name on a message bus. Unique names are
    /// not used again and credentials are those of the moment of connecting,
    /// so the answer stays true as long as the name exists.
    ///
    /// # Errors
    /// [`CallerError`] when the bus daemon does not know it.
    pub async fn of_bus_name(
        bus: &zbus::Connection,
        sender: &UniqueName<'_>,
    ) -> Result<Self, CallerError> {
        let name = || sender.to_string();
        let failed = |source| CallerError::Bus { sender: name(), source };
        let proxy = zbus::fdo::DBusProxy::new(bus).await.map_err(|e| failed(e.into()))?;
        let credentials = proxy
            .get_connection_credentials(BusName::Unique(sender.as_ref()))
            .await
            .map_err(failed)?;
        let uid = credentials.unix_user_id().ok_or_else(|| CallerError::NoUser(name()))?;
        let groups = credentials.unix_group_ids().cloned().unwrap_or_default();
        Ok(Self {
            uid,
            gid: primary_group(uid, &groups),
            groups,
            pid: credentials.process_id(),
            transport: Transport::Bus(name()),
        })
    }

    /// User id on the host.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Primary group id on the host.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// How it reached us.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether it is a member of the group.
    #[must_use]
    pub fn is_member(&self, group: Gid) -> bool {
        self.gid == group.as_raw() || self.groups.contains(&group.as_raw())
    }

    /// The same as who wants to use a secret.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let own = std::iter::once(self.gid);
        Holder::new(self.uid, own.chain(self.groups.iter().copied()).collect())
    }

    /// The same for an audit record.
    #[must_use]
    pub fn source(&self) -> Source<'static> {
        let transport = match self.transport {
            Transport::Peer => "peer",
            Transport::Bus(_) => "bus",
        };
        Source::process(transport, self.uid, self.pid)
    }

    /// A caller for tests, which have one user id only.
    #[cfg(test)]
    pub(crate) fn for_test(uid: u32, groups: &[u32], transport: Transport) -> Self {
        Self { uid, gid: uid, groups: groups.to_vec(), pid: None, transport }
    }
}

/// The bus tells the groups as a sorted set without saying which is the primary
/// one. The account database does; its answer counts only if it is in the set.
fn primary_group(uid: u32, groups: &[u32]) -> u32 {
    let listed = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.gid.as_raw());
    match listed {
        Some(gid) if groups.is_empty() || groups.contains(&gid) => gid,
        _ => groups.first().copied().unwrap_or(u32::MAX - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_who_connected() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("socket pair");
        let caller = Caller::of_socket(&ours).expect("identified");
        assert_eq!(caller.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(caller.pid, Some(std::process::id()));
        assert!(caller.is_member(Gid::effective()));
    }

    #[test]
    fn a_socket_without_a_peer_is_nobody() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        assert!(Caller::of_socket(&listener).is_err());
    }
}
