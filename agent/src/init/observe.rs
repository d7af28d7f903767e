//! The sandbox as seen from inside: what the agent reads of itself before it
//! starts anything. A layer that is not there refuses the job.

use fetchml_api::agent::{AgentPlan, Observed};
use fetchml_sys::Errno;
use fetchml_sys::process::{group_ids, user_ids};
use rustix::process::{getgroups, getpid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set, no_new_privs};

/// What the kernel says of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    pid: i32,
    /// Real, effective, saved, of the file system.
    uids: [u32; 4],
    gids: [u32; 4],
    groups: usize,
    /// Effective, permitted, inheritable, bounding. The ambient ones are among the
    /// permitted (capabilities(7)).
    capabilities: [u64; 4],
    no_new_privs: bool,
}

/// What this process is, by system calls of its own: /proc/self/status, which says the
/// same, takes three times as long.
///
/// # Errors
/// EINVAL for several user ids at once, or group ids.
pub(super) fn own_status() -> Result<Observed, Errno> {
    observed(&facts()?).ok_or(Errno::INVAL)
}

fn facts() -> Result<Facts, Errno> {
    let sets = capabilities(None)?;
    Ok(Facts {
        pid: getpid().as_raw_nonzero().get(),
        uids: user_ids()?,
        gids: group_ids()?,
        groups: getgroups()?.len(),
        capabilities: [
            sets.effective.bits(),
            sets.permitted.bits(),
            sets.inheritable.bits(),
            bounding_set()?,
        ],
        no_new_privs: no_new_privs()?,
    })
}

fn bounding_set() -> Result<u64, Errno> {
    let mut bits = 0;
    for bit in (0..u64::BITS).map(|number| 1 << number) {
        match capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(true) => bits |= bit,
            Ok(false) => {}
            // This kernel has no such capability, nor a later one.
            Err(Errno::INVAL) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(bits)
}

fn observed(facts: &Facts) -> Option<Observed> {
    let same = |[first, rest @ ..]: [u32; 4]| rest.iter().all(|id| *id == first).then_some(first);
    Some(Observed {
        pid: u32::try_from(facts.pid).ok()?,
        uid: same(facts.uids)?,
        gid: same(facts.gids)?,
        groups: u32::try_from(facts.groups).ok()?,
        capabilities: facts.capabilities.iter().fold(0, |all, set| all | set),
        no_new_privs: facts.no_new_privs,
    })
}

/// Compares what is with what was planned.
pub(super) fn verify(seen: &Observed, plan: &AgentPlan) -> Result<(), Errno> {
    let holds = seen.pid == 1
        && seen.uid == plan.uid
        && seen.gid == plan.gid
        && seen.groups == 0
        && seen.capabilities == plan.capabilities
        && seen.no_new_privs
        && !plan.filter.is_empty()
        && !plan.own_filter.is_empty();
    if holds { Ok(()) } else { Err(Errno::PERM) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    fn locked_in() -> Facts {
        Facts {
            pid: 1,
            uids: [1000; 4],
            gids: [1000; 4],
            groups: 0,
            capabilities: [0; 4],
            no_new_privs: true,
        }
    }

    fn plan() -> AgentPlan {
        AgentPlan {
            argv: vec![],
            env: vec![],
            search_path: vec![],
            cwd: vec![],
            time_limit_usec: None,
            grace_usec: 0,
            log_limit_bytes: 0,
            filter: vec![0; 8],
            refusals: None,
            own_filter: vec![0; 8],
            uid: 1000,
            gid: 1000,
            capabilities: 0,
            secrets: vec![],
        }
    }

    #[test]
    fn a_whole_sandbox_is_accepted() {
        let seen = observed(&locked_in()).expect("one user");
        assert_eq!(verify(&seen, &plan()), Ok(()));
    }

    #[test]
    fn each_missing_layer_refuses() {
        let whole = locked_in();
        let with = |at: usize, bits| {
            let mut capabilities = [0; 4];
            capabilities[at] = bits;
            Facts { capabilities, ..locked_in() }
        };
        for facts in [
            Facts { pid: 17, ..whole.clone() },
            Facts { uids: [0, 1000, 1000, 1000], ..whole.clone() },
            Facts { uids: [1000, 1000, 0, 1000], ..whole.clone() },
            Facts { gids: [5; 4], ..whole.clone() },
            Facts { groups: 2, ..whole.clone() },
            with(0, 1 << 21),
            with(1, 1),
            with(2, 1 << 10),
            with(3, 0x1ff_ffff_ffff),
            Facts { no_new_privs: false, ..whole },
        ] {
            let accepted = observed(&facts).is_some_and(|seen| verify(&seen, &plan()).is_ok());
            assert!(!accepted, "{facts:?} was accepted");
        }
    }

    /// proc_pid_status(5) is the other witness.
    #[test]
    fn the_kernel_is_asked_for_what_it_shows_elsewhere() {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("there is /proc");
        let field = |name: &str| -> Vec<String> {
            let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
            line.expect("it is there").split_whitespace().map(String::from).collect()
        };
        let ids = |name| field(name).iter().map(|id| id.parse().expect("an id")).collect();
        let seen = facts().expect("the kernel answers");
        let (uids, gids): (Vec<u32>, Vec<u32>) = (ids("Uid"), ids("Gid"));
        assert_eq!((&seen.uids[..], &seen.gids[..]), (&uids[..], &gids[..]));
        assert_eq!(seen.groups, field("Groups").len());
        let sets = ["CapEff", "CapPrm", "CapInh", "CapBnd"];
        let sets = sets.map(|name| u64::from_str_radix(&field(name)[0], 16).expect("a set"));
        assert_eq!(seen.capabilities, sets);
        assert_eq!(field("NoNewPrivs"), [if seen.no_new_privs { "1" } else { "0" }]);
    }
}
