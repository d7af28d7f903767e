//! Landlock (landlock(7)): a second opinion on what the mounts already allow.
//! The ruleset was made by the parent; rules name inodes, and those of the job's
//! own mounts exist only now.

use super::{Failure, Step};
use crate::plan::Plan;
use fetchml_sys::Errno;
use fetchml_sys::confine::{landlock_allow_beneath, landlock_restrict_self};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Adds the rules, while this process may still open everything.
pub(super) fn complete_rules(plan: &Plan, shown: &[OwnedFd]) -> Result<(), Failure> {
    let Some(landlock) = &plan.landlock else { return Ok(()) };
    let ruleset = landlock.ruleset.as_fd();
    for directory in shown {
        let allowed = landlock_allow_beneath(ruleset, directory.as_fd(), landlock.shown);
        Step::LandlockRuleOfRoot.of(allowed)?;
    }
    for (item, rule) in landlock.rules.iter().enumerate() {
        let add = || -> Result<(), Errno> {
            let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let parent = openat(CWD, rule.path.as_c_str(), flags, Mode::empty())?;
            landlock_allow_beneath(ruleset, parent.as_fd(), rule.access)
        };
        Step::LandlockRule.of_item(item, add())?;
    }
    Ok(())
}

pub(super) fn restrict(plan: &Plan) -> Result<(), Failure> {
    match &plan.landlock {
        Some(l) => Step::LandlockRestrict.of(landlock_restrict_self(l.ruleset.as_fd(), l.log)),
        None => Ok(()),
    }
}
