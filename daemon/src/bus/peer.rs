//! One peer-to-peer connection, from its handshake to its end.

use super::audit::Audit;
use super::dbus_shim::{self, DBusShim};
use super::door::{Desk, Door, Greeting};
use super::manager::Manager;
use super::objects::Objects;
use super::wire::Wire;
use super::{announce, job};
use crate::access::Caller;
use fetchml_api::names::{ROOT_PATH, job_path};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use zbus::connection::{AuthMechanism, Builder};
use zbus::{Connection, Guid};

/// Serves one client until it hangs up. Returns early when it does not
/// authenticate in time.
///
/// # Errors
/// What went wrong in the handshake.
pub async fn serve_peer(
    desk: Desk,
    caller: Caller,
    socket: UnixStream,
    handshake_timeout: Duration,
) -> zbus::Result<()> {
    let greeting = Greeting::default();
    let wire = Wire::new(socket, caller.uid(), desk.held.clone())?;
    let door = Door::of_peer(desk, Arc::new(caller), greeting.clone());
    // First listen, then look: what happens in between is heard.
    let events = door.engine().subscribe();
    let connection = tokio::time::timeout(handshake_timeout, connect(&door, greeting, wire))
        .await
        .map_err(|_| zbus::Error::Handshake("the client did not authenticate in time".into()))??;
    announce::follow(door, connection, events).await;
    Ok(())
}

async fn connect(door: &Door, greeting: Greeting, wire: Wire) -> zbus::Result<Connection> {
    let mut builder = Builder::socket(wire)
        .server(Guid::generate())
        .p2p()
        .auth_mechanism(AuthMechanism::External)
        .serve_at(dbus_shim::PATH, DBusShim { greeting })
        .serve_at(ROOT_PATH, Objects { door: door.clone() })
        .serve_at(ROOT_PATH, Audit { door: door.clone() })
        .serve_at(ROOT_PATH, Manager { door: door.clone() });
    let visible = announce::visible(door).await;
    for id in visible.map_err(|error| zbus::Error::Failure(error.message))? {
        builder = builder.serve_at(job_path(id), job::Job { door: door.clone(), id });
    }
    let connection = builder.build().await?;
    // Clients take a signal only from whom they believe to own our name. Set
    // earlier, it would make zbus drop calls to the bus daemon's name.
    connection.set_unique_name(dbus_shim::SERVER)?;
    Ok(connection)
}
