//! Capabilities (capabilities(7)). Entering a user namespace grants all of them
//! inside it; nothing of that is kept.

use super::{Failure, Step};
use crate::plan::Plan;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

/// Empties all five sets. The bounding set goes first, while CAP_SETPCAP is held;
/// the secure bits keep user id 0 from ever meaning anything.
pub(super) fn irrevocably_drop_all(plan: &Plan) -> Result<(), Failure> {
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    Step::SecureBits.of(set_capabilities_secure_bits(locked))?;
    for number in 0..=plan.last_capability {
        let one = CapabilitySet::from_bits_retain(1 << number);
        Step::BoundingSet.of(remove_capability_from_bounding_set(one))?;
    }
    Step::AmbientSet.of(clear_ambient_capability_set())?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Step::CapabilitySets.of(set_capabilities(None, sets))
}
