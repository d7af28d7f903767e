//! Resource limits (setrlimit(2)). Set before the ids change: raising a hard
//! limit that the supervisor had lowered needs CAP_SYS_RESOURCE.

use super::{Failure, Step};
use crate::plan::Plan;
use rustix::process::setrlimit;

pub(super) fn apply(plan: &Plan) -> Result<(), Failure> {
    for (item, (resource, limit)) in plan.rlimits.iter().enumerate() {
        Step::ResourceLimit.of_item(item, setrlimit(*resource, *limit))?;
    }
    Ok(())
}
