//! Which Landlock rules a job gets, and how much of Landlock this kernel has.

use super::mounts::Mounts;
use super::{c_string, failed};
use crate::supervise::Refusal;
use fetchml_api::job::{Layer, LayerState};
use fetchml_policies::{Demand, Network, Profile};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    Scope, make_bitflags,
};
use rustix::fd::OwnedFd;
use std::ffi::CString;

/// A ruleset and the rules that the child adds once the mounts exist.
#[derive(Debug)]
pub(crate) struct LandlockPlan {
    pub(crate) ruleset: OwnedFd,
    pub(crate) rules: Vec<Rule>,
    /// Denials go to the kernel's audit.
    pub(crate) log: bool,
    /// Access bits for the directories that the root shows of the host.
    pub(crate) shown: u64,
}

/// Access to everything below a path of the job's root.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Relative to the root.
    pub(crate) path: CString,
    /// Access bits of landlock(7).
    pub(crate) access: u64,
}

/// The newest level this code knows how to use; newer kernels are used at it.
const KNOWN: u32 = 7;
/// Level from which every rule of a plan holds.
const RULES: u32 = 6;
/// Level at which denials of programs that a job executes can be told to the kernel's audit
/// (Linux 6.15).
const LOGS: u32 = 7;

/// How much of Landlock the running kernel has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LandlockSupport {
    level: u32,
}

impl LandlockSupport {
    pub(crate) fn detect() -> Self {
        Self { level: fetchml_sys::confine::landlock_level() }
    }

    pub(crate) fn level(self) -> u32 {
        self.level
    }

    fn logs(self) -> bool {
        self.level >= LOGS
    }

    fn abi(self) -> Option<ABI> {
        Some(match self.level.min(RULES) {
            0 => return None,
            1 => ABI::V1,
            2 => ABI::V2,
            3 => ABI::V3,
            4 => ABI::V4,
            5 => ABI::V5,
            _ => ABI::V6,
        })
    }

    /// What of the highest level this kernel lacks, in words; empty when nothing.
    fn missing(self) -> Vec<&'static str> {
        [
            (1, "file access"),
            (2, "renames between directories"),
            (3, "truncation"),
            (4, "TCP ports"),
            (5, "device ioctls"),
            (6, "abstract sockets and signals"),
        ]
        .into_iter()
        .filter(|(level, _)| self.level < *level)
        .map(|(_, what)| what)
        .collect()
    }

    /// The layer in words.
    pub(crate) fn layer(self, applied: bool) -> Layer {
        let missing = self.missing();
        let (state, detail) = match (applied, missing.is_empty()) {
            (false, _) => (LayerState::Missing, "this kernel has no Landlock".to_owned()),
            (true, true) => {
                let audit = "; denials go to the kernel's audit, where that is on";
                let log = if self.logs() { audit } else { "" };
                let level = self.level.min(KNOWN);
                (LayerState::Held, format!("level {level}: files, TCP, scopes{log}"))
            }
            (true, false) => (
                LayerState::Partial,
                format!("level {}; this kernel lacks: {}", self.level, missing.join(", ")),
            ),
        };
        Layer { name: "landlock".into(), state, detail }
    }

    /// A refusal when the profile demands more than there is.
    pub(crate) fn check(self, profile: &Profile) -> Result<(), Refusal> {
        let missing = self.missing();
        if profile.landlock == Demand::Required && !missing.is_empty() {
            return Err(Refusal::BarrierUnavailable(format!(
                "profile `{}` requires Landlock level {RULES} and this kernel has {} (lacks: {}); \
                 use a newer kernel, or a profile with landlock = \"best-effort\"",
                profile.name,
                self.level,
                missing.join(", ")
            )));
        }
        Ok(())
    }

    pub(super) fn plan(
        self,
        profile: &Profile,
        network: Network,
        mounts: &Mounts,
        processes_writable: bool,
    ) -> Result<Option<LandlockPlan>, Refusal> {
        self.check(profile)?;
        let Some(abi) = self.abi() else { return Ok(None) };
        let unusable = failed("make a Landlock ruleset");
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))
            .map_err(&unusable)?;
        // TCP is closed altogether without a network. With a loopback it is not
        // restricted here: the job's own network namespace has nothing else.
        if network == Network::None && self.level >= 4 {
            ruleset = ruleset.handle_access(AccessNet::from_all(abi)).map_err(&unusable)?;
        }
        if self.level >= 6 {
            ruleset = ruleset.scope(Scope::from_all(abi)).map_err(&unusable)?;
        }
        let created = ruleset.create().map_err(&unusable)?;
        let ruleset = Option::<OwnedFd>::from(created).ok_or_else(|| {
            Refusal::BarrierUnavailable("the kernel refused a Landlock ruleset".into())
        })?;
        Ok(Some(LandlockPlan {
            ruleset,
            rules: rules(abi, mounts, processes_writable)?,
            log: self.logs(),
            shown: run().bits(),
        }))
    }
}

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

fn run() -> BitFlags<AccessFs> {
    READ | AccessFs::Execute
}

fn rules(abi: ABI, mounts: &Mounts, processes_writable: bool) -> Result<Vec<Rule>, Refusal> {
    let all = AccessFs::from_all(abi);
    let (read, run) = (READ, run());
    let write = all & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let devices = (read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev) & all;
    let mut rules = Vec::new();
    let mut add = |path: &[u8], access: BitFlags<AccessFs>| -> Result<(), Refusal> {
        rules.push(Rule { path: c_string("path", path)?, access: access.bits() });
        Ok(())
    };
    // Names at the top, but no content.
    add(b".", AccessFs::ReadDir.into())?;
    add(b"etc", read)?;
    add(b"sys", read)?;
    // What is no process's is mounted read-only then.
    let own = (AccessFs::WriteFile | AccessFs::Truncate) & all;
    add(b"proc", if processes_writable { read | own } else { read })?;
    for path in [b"tmp".as_slice(), b"dev/shm", b"work", b"outputs"] {
        add(path, write)?;
    }
    add(b"dev", devices)?;
    for mount in mounts.others.iter().filter(|m| !m.inside_work) {
        add(mount.target.to_bytes(), if mount.writable { write } else { run })?;
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_names_the_level_that_is_used_and_promises_no_audit() {
        let words = |level| LandlockSupport { level }.layer(true).detail;
        assert_eq!(words(6), "level 6: files, TCP, scopes");
        let told =
            "level 7: files, TCP, scopes; denials go to the kernel's audit, where that is on";
        assert_eq!(words(7), told);
        assert_eq!(words(9), told, "what newer ones add is not used");
        assert!(words(2).starts_with("level 2; this kernel lacks: truncation"), "{}", words(2));
    }
}
