//! The network and IPC namespaces were made ahead: nobody was ever in them. That of the
//! network holds nothing but a loopback, which is up only where the plan says so.

use super::{Failure, Step};
use crate::plan::Plan;
use fetchml_sys::namespace::{enter_ipc, enter_network};
use rustix::fd::AsFd;

pub(super) fn enter(plan: &Plan) -> Result<(), Failure> {
    Step::Ipc.of(enter_ipc(plan.channels.ipc.as_fd()))?;
    match &plan.channels.network {
        Some(network) => Step::Network.of(enter_network(network.as_fd())),
        // The profile gives the host's network, which the layers say.
        None => Ok(()),
    }
}
