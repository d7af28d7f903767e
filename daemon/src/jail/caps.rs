//! Capabilities (capabilities(7)). Entering a user namespace grants all of them
//! inside it; of that the job keeps what its profile names, mostly nothing.

use super::{Failure, Step};
use crate::plan::Plan;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

/// Leaves in all five sets the planned capabilities alone. The bounding set and
/// the secure bits go while CAP_SETPCAP is held; the bits keep user id 0 from ever
/// meaning anything and the ambient set from growing.
pub(super) fn irrevocably_drop_all_but_planned(plan: &Plan) -> Result<(), Failure> {
    let kept = CapabilitySet::from_bits_retain(plan.capabilities);
    let each =
        (0..=plan.last_capability).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for one in each.clone().filter(|one| !kept.contains(*one)) {
        Step::BoundingSet.of(remove_capability_from_bounding_set(one))?;
    }
    Step::AmbientSet.of(clear_ambient_capability_set())?;
    if !kept.is_empty() {
        // Ambient ones survive the agent's exec; they must be inheritable first.
        let held = Step::CapabilitySets.of(capabilities(None))?;
        let sets = CapabilitySets { inheritable: kept, ..held };
        Step::CapabilitySets.of(set_capabilities(None, sets))?;
        for one in each.filter(|one| kept.contains(*one)) {
            Step::AmbientSet.of(configure_capability_in_ambient_set(one, true))?;
        }
    }
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    Step::SecureBits.of(set_capabilities_secure_bits(locked))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    Step::CapabilitySets.of(set_capabilities(None, sets))
}
