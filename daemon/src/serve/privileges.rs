//! The supervisor's own capabilities: what it was started with beyond its needs
//! goes at once, whoever started it.

use caps::{CapSet, Capability, CapsHashSet};

/// What the supervisor needs, each with its reason. The unit's bounding set says
/// the same (a test compares them).
const NEEDED: [(Capability, &str); 15] = [
    (Capability::CAP_SYS_ADMIN, "namespaces and mounts"),
    (Capability::CAP_SETUID, "user id maps, becoming the job's user"),
    (Capability::CAP_SETGID, "group id maps, dropping the groups"),
    (Capability::CAP_SETPCAP, "emptying bounding sets"),
    (Capability::CAP_SETFCAP, "id maps that name root"),
    (Capability::CAP_KILL, "ending jobs"),
    (Capability::CAP_CHOWN, "giving outputs to the submitter"),
    (Capability::CAP_FOWNER, "modes of the submitter's directories"),
    (Capability::CAP_DAC_OVERRIDE, "the submitter's directories"),
    (Capability::CAP_DAC_READ_SEARCH, "the submitter's directories"),
    (Capability::CAP_NET_ADMIN, "the loopback of a job"),
    (Capability::CAP_SYS_PTRACE, "opening the namespaces of a process"),
    (Capability::CAP_SYS_CHROOT, "entering the mount namespace of PID 1"),
    (Capability::CAP_SYS_RESOURCE, "raising resource limits"),
    (Capability::CAP_AUDIT_READ, "hearing what Landlock denied"),
];

/// Without the first, limits are only ever lowered, and who can write to /proc can lower
/// its score for the out-of-memory killer; without the other, reports tell less.
const OPTIONAL: [Capability; 2] = [Capability::CAP_SYS_RESOURCE, Capability::CAP_AUDIT_READ];

/// Why the supervisor cannot start with its capabilities.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    /// Some are missing.
    #[error("the supervisor lacks {0}; start it as root, outside a container that drops them")]
    Missing(String),
    /// The kernel refused to change the sets.
    #[error("cannot drop the capabilities that are not needed: {0}")]
    Caps(#[from] caps::errors::CapsError),
}

/// Drops everything that is not needed, in the calling thread: to be called
/// before there is another one.
pub(super) fn keep_only_the_needed() -> Result<(), PrivilegeError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(capability, _)| !OPTIONAL.contains(capability) && !held.contains(capability))
        .map(|(capability, reason)| format!("{capability} ({reason})"))
        .collect();
    if !missing.is_empty() {
        return Err(PrivilegeError::Missing(missing.join(", ")));
    }
    let kept: CapsHashSet =
        NEEDED.iter().map(|(capability, _)| *capability).filter(|c| held.contains(c)).collect();
    for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_grants_exactly_what_is_needed() {
        let unit = include_str!("../../../units/fetchmld.service");
        let line = unit
            .lines()
            .find_map(|l| l.strip_prefix("CapabilityBoundingSet="))
            .expect("the unit has a bounding set");
        let mut granted: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let mut needed: Vec<_> = NEEDED.iter().map(|(c, _)| c.to_string()).collect();
        granted.sort_unstable();
        needed.sort_unstable();
        assert_eq!(granted, needed);
    }
}
