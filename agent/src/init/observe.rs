//! The sandbox as seen from inside: what the agent reads of itself before it
//! starts anything. A layer that is not there refuses the job.

use fetchml_api::agent::{AgentPlan, Observed};
use fetchml_sys::Errno;
use rustix::fs::{Mode, OFlags, open};

/// Reads `/proc/self/status` (proc_pid_status(5)).
pub(super) fn own_status() -> Result<Observed, Errno> {
    let file = open(c"/proc/self/status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0u8; 8192];
    let mut len = 0;
    loop {
        match rustix::io::read(&file, buffer.get_mut(len..).ok_or(Errno::FBIG)?)? {
            0 => break,
            n => len += n,
        }
    }
    let text = buffer.get(..len).and_then(|b| core::str::from_utf8(b).ok()).ok_or(Errno::INVAL)?;
    parse(text).ok_or(Errno::INVAL)
}

fn parse(status: &str) -> Option<Observed> {
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let same_ids = |name: &str| {
        let mut ids = field(name)?.split_ascii_whitespace().map(|w| w.parse::<u32>().ok());
        let first = ids.next()??;
        ids.all(|id| id == Some(first)).then_some(first)
    };
    let mut capabilities = 0;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        capabilities |= u64::from_str_radix(field(set)?, 16).ok()?;
    }
    Some(Observed {
        pid: field("Pid")?.parse().ok()?,
        uid: same_ids("Uid")?,
        gid: same_ids("Gid")?,
        groups: u32::try_from(field("Groups")?.split_ascii_whitespace().count()).ok()?,
        capabilities,
        no_new_privs: field("NoNewPrivs")? == "1",
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
    use alloc::vec;

    const LOCKED_IN: &str = "Name:\tfetchml-agent\nPid:\t1\nUid:\t1000\t1000\t1000\t1000\n\
        Gid:\t1000\t1000\t1000\t1000\nGroups:\t \nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

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
        let seen = parse(LOCKED_IN).expect("parses");
        assert_eq!(verify(&seen, &plan()), Ok(()));
    }

    #[test]
    fn each_missing_layer_refuses() {
        for (was, is) in [
            ("Pid:\t1\n", "Pid:\t17\n"),
            ("Uid:\t1000", "Uid:\t0"),
            ("Gid:\t1000\t1000\t1000\t1000", "Gid:\t5\t5\t5\t5"),
            ("Groups:\t ", "Groups:\t4 27"),
            ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000400"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        ] {
            let seen = parse(&LOCKED_IN.replace(was, is));
            let accepted = seen.is_some_and(|s| verify(&s, &plan()).is_ok());
            assert!(!accepted, "{is:?} was accepted");
        }
    }
}
