//! The network namespace came with the clone and holds nothing but a loopback
//! that is down.

use super::{Failure, Step};
use crate::plan::Plan;

pub(super) fn set_up(plan: &Plan) -> Result<(), Failure> {
    if plan.loopback {
        Step::Loopback.of(fetchml_sys::net::loopback_up())?;
    }
    Ok(())
}
