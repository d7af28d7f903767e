//! Descriptors: the agent finds the few that it needs at fixed numbers, and
//! nothing else of the supervisor's.

use super::{Failure, Step};
use crate::plan::Plan;
use fetchml_api::agent::fd;
use fetchml_sys::Errno;
use fetchml_sys::confine::{close_from, close_from_at_exec, place_descriptor};
use rustix::fd::AsFd;

/// Where the agent's image is until the exec closes it.
pub(super) const AGENT_IMAGE: i32 = fd::FIRST_FREE.cast_signed();

/// Every source lies above the fixed numbers (see [`crate::plan::high`]), so
/// that none is overwritten before it was copied.
pub(super) fn leave_only_the_agents(plan: &Plan) -> Result<(), Failure> {
    let place = || -> Result<(), Errno> {
        for number in fd::NULL {
            place_descriptor(plan.null.as_fd(), number)?;
        }
        place_descriptor(plan.agent_plan.as_fd(), fd::PLAN)?;
        place_descriptor(plan.log.as_fd(), fd::LOG)?;
        place_descriptor(plan.report.as_fd(), fd::REPORT)?;
        place_descriptor(plan.identity.as_fd(), fd::IDENTITY)?;
        place_descriptor(plan.account.host_id().lock(), fd::ID_LOCK)?;
        place_descriptor(plan.rules.as_fd(), fd::RULES)?;
        place_descriptor(plan.bell.as_fd(), fd::BELL)?;
        place_descriptor(plan.agent_image.as_fd(), AGENT_IMAGE)?;
        close_from(fd::FIRST_FREE + 1)?;
        close_from_at_exec(fd::FIRST_FREE)
    };
    Step::Descriptors.of(place())
}
