//! The same interfaces on the system bus, for everybody there.

use super::announce;
use super::audit::Audit;
use super::door::{BusCallers, Desk, Door};
use super::manager::Manager;
use super::objects::{self, Objects};
use super::veil;
use crate::engine::{MOST_SHOWN, Scope};
use fetchml_api::names::{BUS_NAME, ROOT_PATH};
use futures_util::StreamExt;
use std::sync::Arc;
use zbus::Connection;

/// Serves the desk on this connection and takes the well-known name.
///
/// # Errors
/// When the name is taken or the bus refuses it to us.
pub async fn serve_system(desk: Desk, bus: &Connection) -> zbus::Result<()> {
    let callers = Arc::new(BusCallers::default());
    let door = Door::of_bus(desk, callers.clone());
    let events = door.engine().subscribe();
    let server = bus.object_server();
    server.at(ROOT_PATH, Objects { door: door.clone() }).await?;
    server.at(ROOT_PATH, Audit { door: door.clone() }).await?;
    server.at(ROOT_PATH, Manager { door: door.clone() }).await?;
    veil::cover_tree(&door, bus).await?;
    let shown = door.engine().shown(Scope::All, MOST_SHOWN).await;
    for job in shown.map_err(|error| zbus::Error::Failure(error.to_string()))? {
        objects::publish(&door, bus, job.id)
            .await
            .map_err(|error| zbus::Error::Failure(error.message))?;
    }
    tokio::spawn(forget_the_gone(bus.clone(), callers));
    tokio::spawn(announce::follow(door, bus.clone(), events));
    // Last: whoever sees the name finds everything in place.
    bus.request_name(BUS_NAME).await
}

/// Forgets callers that left the bus.
async fn forget_the_gone(bus: Connection, callers: Arc<BusCallers>) {
    let changes =
        async { zbus::fdo::DBusProxy::new(&bus).await?.receive_name_owner_changed().await };
    let mut changes = match changes.await {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!(%error, "callers that leave the bus are not noticed");
            return;
        }
    };
    while let Some(change) = changes.next().await {
        if let Ok(change) = change.args()
            && change.new_owner().is_none()
        {
            callers.forget(change.name().as_str());
        }
    }
}
