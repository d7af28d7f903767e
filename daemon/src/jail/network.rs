//! The network namespace was made ahead: it holds nothing but a loopback, which
//! is up only where the plan says so, and nobody was ever in it.

use super::{Failure, Step};
use crate::plan::Plan;
use fetchml_sys::namespace::enter_network;
use rustix::fd::AsFd;

pub(super) fn enter(plan: &Plan) -> Result<(), Failure> {
    match &plan.network {
        Some(network) => Step::Network.of(enter_network(network.as_fd())),
        // The profile gives the host's network, which the layers say.
        None => Ok(()),
    }
}
