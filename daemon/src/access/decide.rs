//! What callers may. Everything not allowed here is denied.

use super::polkit::{Answer, Polkit};
use super::{Caller, Transport};
use crate::engine::ledger::Ledger;
use crate::engine::{Scope, records};
use fetchml_policies::profile::in_words;
use nix::unistd::{Gid, Group};
use std::sync::Arc;

/// Members of this group may submit jobs and use the socket: the role researcher.
pub(super) const GROUP: &str = "fetchml";
/// Members of this group may see everybody's jobs and change none: the role analyst.
pub(super) const ANALYSTS: &str = "fetchml-analysts";

const ACTION_SUBMIT: &str = "org.fetchml.submit";
const ACTION_MANAGE_ANY: &str = "org.fetchml.manage-any";
const ACTION_RAISE_PRIORITY: &str = "org.fetchml.raise-priority";
const ACTION_PRIVILEGED_PROFILE: &str = "org.fetchml.use-privileged-profile";
const ACTION_MANAGE_SECRETS: &str = "org.fetchml.manage-secrets";
const ACTION_READ_AUDIT: &str = "org.fetchml.read-audit";

/// Whose supervisor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The machine's: users by group and polkit.
    System,
    /// One user's own: that user and nobody else.
    Private {
        /// The user.
        owner: u32,
    },
}

impl Mode {
    /// The word of the `Mode` property.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Private { .. } => "private",
        }
    }
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule allows it.
    #[error("{0}")]
    Forbidden(String),
    /// It would be allowed after authenticating, and the caller did not allow us to ask.
    #[error("this needs authentication: allow interactive authorization, or run it as root")]
    NeedsAuthentication,
}

/// Makes the decisions.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    group: Option<Gid>,
    analysts: Option<Gid>,
    polkit: Option<Polkit>,
    /// Where it is recorded what polkit granted.
    ledger: Option<Arc<dyn Ledger>>,
}

impl Access {
    /// Decisions of a private supervisor.
    #[must_use]
    pub fn private(owner: u32) -> Self {
        Self {
            mode: Mode::Private { owner },
            group: None,
            analysts: None,
            polkit: None,
            ledger: None,
        }
    }

    /// Decisions of the machine's supervisor; `bus` is where polkit is asked, and what it
    /// grants is recorded in the ledger before it counts.
    #[must_use]
    pub fn system(bus: Option<&zbus::Connection>, ledger: Arc<dyn Ledger>) -> Self {
        let gid = |name| Group::from_name(name).ok().flatten().map(|group: Group| group.gid);
        Self {
            mode: Mode::System,
            group: gid(GROUP),
            analysts: gid(ANALYSTS),
            polkit: bus.map(Polkit::new),
            ledger: Some(ledger),
        }
    }

    /// Decisions of a machine's supervisor whose groups are these, without polkit.
    #[cfg(test)]
    pub(crate) fn for_test(group: u32, analysts: u32) -> Self {
        let (group, analysts) = (Some(Gid::from_raw(group)), Some(Gid::from_raw(analysts)));
        Self { mode: Mode::System, group, analysts, polkit: None, ledger: None }
    }

    /// Whose supervisor it is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The group whose members may use the socket, where there is one.
    #[must_use]
    pub fn group(&self) -> Option<Gid> {
        self.group
    }

    /// Whether the caller may talk to us on the socket at all.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub fn may_connect(&self, caller: &Caller) -> Result<(), Denied> {
        match self.mode {
            Mode::Private { owner } if caller.uid() == owner => Ok(()),
            Mode::Private { owner } => {
                Err(Denied::Forbidden(format!("this supervisor is private to user {owner}")))
            }
            Mode::System if self.is_known(caller) || self.is_analyst(caller) => Ok(()),
            Mode::System => Err(not_a_member()),
        }
    }

    /// Whether the caller may submit jobs.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn may_submit(&self, caller: &Caller, interactive: bool) -> Result<(), Denied> {
        match self.mode {
            Mode::Private { .. } => self.may_connect(caller),
            Mode::System if self.is_known(caller) => Ok(()),
            Mode::System => {
                self.ask(caller, ACTION_SUBMIT, interactive).await.map_err(|denied| match denied {
                    Denied::Forbidden(_) if self.is_analyst(caller) => only_reads(),
                    Denied::Forbidden(_) => not_a_member(),
                    other @ Denied::NeedsAuthentication => other,
                })
            }
        }
    }

    /// Whether the caller may use a profile that is weaker than what every user
    /// may use; `privileges` says in which ways.
    ///
    /// # Errors
    /// [`Denied`] with the settings that ask for it and the remedy.
    pub async fn may_use_profile(
        &self,
        caller: &Caller,
        profile: &str,
        privileges: &[String],
        interactive: bool,
    ) -> Result<(), Denied> {
        if privileges.is_empty() || self.scope(caller) == Scope::All {
            return Ok(());
        }
        self.ask(caller, ACTION_PRIVILEGED_PROFILE, interactive).await.map_err(
            |denied| match denied {
                Denied::Forbidden(_) => Denied::Forbidden(format!(
                    "profile {profile:?} {}: only root may use it, and who is authorized for \
                     {ACTION_PRIVILEGED_PROFILE}; choose another profile, or ask an administrator",
                    in_words(privileges)
                )),
                other @ Denied::NeedsAuthentication => other,
            },
        )
    }

    /// Whether the caller may give a job this priority: above 0 it goes before the
    /// jobs of everybody who asked for nothing.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn may_have_priority(
        &self,
        caller: &Caller,
        priority: i32,
        interactive: bool,
    ) -> Result<(), Denied> {
        if priority <= 0 || self.scope(caller) == Scope::All {
            return Ok(());
        }
        self.ask(caller, ACTION_RAISE_PRIORITY, interactive).await.map_err(|denied| match denied {
            Denied::Forbidden(_) => Denied::Forbidden(format!(
                "priority {priority} is above 0: only root may give it, and who is authorized \
                     for {ACTION_RAISE_PRIORITY}; give 0 or less, or ask an administrator"
            )),
            other @ Denied::NeedsAuthentication => other,
        })
    }

    /// Whether the caller may change what the machine does: hold every start, end
    /// the supervisor.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn may_operate(&self, caller: &Caller, interactive: bool) -> Result<(), Denied> {
        self.scope_of_everybody(caller, interactive).await.map(drop)
    }

    /// Whether the caller may add, replace, list and remove secrets for jobs.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn may_keep_secrets(&self, caller: &Caller, interactive: bool) -> Result<(), Denied> {
        if self.scope(caller) == Scope::All {
            return Ok(());
        }
        self.ask(caller, ACTION_MANAGE_SECRETS, interactive).await
    }

    /// Whose jobs the caller may change without asking anybody.
    #[must_use]
    pub fn scope(&self, caller: &Caller) -> Scope {
        match (self.mode, caller.uid()) {
            (Mode::System, 0) => Scope::All,
            (Mode::Private { owner }, uid) if uid == owner => Scope::All,
            (_, uid) => Scope::Own(uid),
        }
    }

    /// Whose jobs the caller may see without asking anybody.
    #[must_use]
    pub fn sight(&self, caller: &Caller) -> Scope {
        if self.is_analyst(caller) { Scope::All } else { self.scope(caller) }
    }

    /// Everybody's jobs, if the caller may change them.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn scope_of_everybody(
        &self,
        caller: &Caller,
        interactive: bool,
    ) -> Result<Scope, Denied> {
        if self.scope(caller) == Scope::All {
            return Ok(Scope::All);
        }
        if self.is_analyst(caller) && !self.is_known(caller) {
            return Err(only_reads());
        }
        self.ask(caller, ACTION_MANAGE_ANY, interactive).await.map(|()| Scope::All)
    }

    /// Everybody's jobs, if the caller may see them.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn sight_of_everybody(
        &self,
        caller: &Caller,
        interactive: bool,
    ) -> Result<Scope, Denied> {
        if self.sight(caller) == Scope::All {
            return Ok(Scope::All);
        }
        self.scope_of_everybody(caller, interactive).await
    }

    /// Whether the caller may read the audit log.
    ///
    /// # Errors
    /// [`Denied`] with the remedy.
    pub async fn may_read_audit(&self, caller: &Caller, interactive: bool) -> Result<(), Denied> {
        if self.scope(caller) == Scope::All {
            return Ok(());
        }
        self.ask(caller, ACTION_READ_AUDIT, interactive).await
    }

    /// Root, or a member of the group.
    fn is_known(&self, caller: &Caller) -> bool {
        caller.uid() == 0 || self.group.is_some_and(|group| caller.is_member(group))
    }

    /// A member of the analysts' group of the machine's supervisor.
    fn is_analyst(&self, caller: &Caller) -> bool {
        self.mode == Mode::System && self.analysts.is_some_and(|group| caller.is_member(group))
    }

    /// polkit knows callers of the bus only: on the socket there is no name by
    /// which it could find the session of the caller.
    async fn ask(&self, caller: &Caller, action: &str, interactive: bool) -> Result<(), Denied> {
        let forbidden = |why: &str| {
            Denied::Forbidden(format!("you are not authorized for {action}{why}: ask as root"))
        };
        let (Some(polkit), Transport::Bus(name)) = (&self.polkit, caller.transport()) else {
            return Err(forbidden(""));
        };
        match polkit.check(name, action, interactive).await {
            Ok(Answer::Yes) => match self.note_grant(caller, action).await {
                Ok(()) => Ok(()),
                Err(error) => Err(forbidden(&format!(" (that cannot be recorded: {error})"))),
            },
            Ok(Answer::Challenge) => Err(Denied::NeedsAuthentication),
            Ok(Answer::No) => Err(forbidden("")),
            Err(error) => Err(forbidden(&format!(" (polkit does not answer: {error})"))),
        }
    }

    /// A grant stands in the log before anything is done by it.
    async fn note_grant(&self, caller: &Caller, action: &str) -> Result<(), String> {
        match &self.ledger {
            Some(ledger) => ledger.append(records::let_in(caller, "authorize", action)).await,
            None => Ok(()),
        }
    }
}

fn not_a_member() -> Denied {
    Denied::Forbidden(format!(
        "you may not use FetchML: an administrator can add you to the group {GROUP}"
    ))
}

/// An analyst asks for more than to read. Nobody is asked for a password: the role
/// says that it changes nothing.
pub(crate) fn only_reads() -> Denied {
    Denied::Forbidden(format!(
        "members of {ANALYSTS} read the jobs of others and change nothing: an administrator can \
         add you to the group {GROUP} to run jobs of your own"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, groups: &[u32]) -> Caller {
        Caller::for_test(uid, groups, Transport::Peer)
    }

    #[tokio::test]
    async fn a_private_supervisor_serves_its_owner_alone() {
        let access = Access::private(1000);
        let (owner, root) = (peer(1000, &[]), peer(0, &[]));
        assert!(access.may_connect(&owner).is_ok());
        assert!(access.may_submit(&owner, true).await.is_ok());
        assert!(access.may_read_audit(&owner, true).await.is_ok());
        assert!(access.may_connect(&root).is_err());
        assert!(access.may_submit(&root, true).await.is_err());
        assert_eq!(access.scope(&root), Scope::Own(0));
    }

    #[tokio::test]
    async fn the_systems_supervisor_serves_root_and_the_group() {
        let access = Access::for_test(77, 88);
        for known in [peer(0, &[]), peer(1000, &[5, 77]), peer(77, &[])] {
            assert!(access.may_connect(&known).is_ok(), "{known:?}");
            assert!(access.may_submit(&known, false).await.is_ok(), "{known:?}");
        }
        let stranger = peer(1000, &[5]);
        assert!(access.may_connect(&stranger).is_err());
        let denied = access.may_submit(&stranger, true).await.expect_err("a stranger");
        assert!(denied.to_string().contains("group fetchml"), "{denied}");
    }

    #[tokio::test]
    async fn weaker_profiles_are_for_root_and_the_owner() {
        let access = Access::for_test(77, 88);
        let weak = ["keeps CAP_NET_RAW (allowed_caps)".to_owned()];
        let member = peer(1000, &[77]);
        assert!(access.may_use_profile(&member, "default", &[], true).await.is_ok());
        let denied = access.may_use_profile(&member, "raw", &weak, true).await;
        let words = denied.expect_err("a member is not root").to_string();
        for part in ["\"raw\"", "CAP_NET_RAW (allowed_caps)", "use-privileged-profile"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(access.may_use_profile(&peer(0, &[]), "raw", &weak, false).await.is_ok());
        let own = Access::private(1000);
        assert!(own.may_use_profile(&peer(1000, &[]), "raw", &weak, false).await.is_ok());
    }

    #[tokio::test]
    async fn only_root_reaches_the_jobs_of_others_and_the_audit_log() {
        let access = Access::for_test(77, 88);
        let member = peer(1000, &[77]);
        assert_eq!(access.scope(&member), Scope::Own(1000));
        assert!(access.scope_of_everybody(&member, true).await.is_err());
        assert!(access.may_read_audit(&member, true).await.is_err());
        assert!(access.may_keep_secrets(&member, true).await.is_err());
        assert!(access.may_keep_secrets(&peer(0, &[]), false).await.is_ok());
        let root = peer(0, &[]);
        assert_eq!(access.scope(&root), Scope::All);
        assert_eq!(access.scope_of_everybody(&root, false).await, Ok(Scope::All));
        assert!(access.may_read_audit(&root, false).await.is_ok());
    }

    #[tokio::test]
    async fn an_analyst_sees_everything_and_changes_nothing() {
        let access = Access::for_test(77, 88);
        let analyst = peer(1000, &[88]);
        assert!(access.may_connect(&analyst).is_ok());
        assert_eq!(access.sight(&analyst), Scope::All);
        assert_eq!(access.sight_of_everybody(&analyst, true).await, Ok(Scope::All));
        assert_eq!(access.scope(&analyst), Scope::Own(1000));
        for denied in [
            access.may_submit(&analyst, true).await,
            access.scope_of_everybody(&analyst, true).await.map(drop),
            access.may_operate(&analyst, true).await,
        ] {
            let words = denied.expect_err("it changes something").to_string();
            assert!(words.contains("fetchml-analysts read"), "{words}");
        }
        assert!(access.may_read_audit(&analyst, true).await.is_err());
        assert!(access.may_have_priority(&analyst, 1, true).await.is_err());
        // Roles add up: who is in both groups runs jobs and reads all.
        let both = peer(1000, &[77, 88]);
        assert!(access.may_submit(&both, false).await.is_ok());
        assert_eq!((access.sight(&both), access.scope(&both)), (Scope::All, Scope::Own(1000)));
        let member = peer(1000, &[77]);
        assert_eq!(access.sight(&member), Scope::Own(1000));
        // A private supervisor has an owner and no roles.
        let private = Access { analysts: Some(Gid::from_raw(88)), ..Access::private(7) };
        assert_eq!(private.sight(&analyst), Scope::Own(1000));
    }

    #[tokio::test]
    async fn going_before_others_is_for_root_and_the_owner() {
        let access = Access::for_test(77, 88);
        let member = peer(1000, &[77]);
        for priority in [-1000, 0] {
            assert!(access.may_have_priority(&member, priority, true).await.is_ok());
        }
        let words = access.may_have_priority(&member, 1, true).await.expect_err("above 0");
        let words = words.to_string();
        assert!(words.contains("priority 1 is above 0"), "{words}");
        assert!(words.contains("org.fetchml.raise-priority"), "{words}");
        assert!(access.may_have_priority(&peer(0, &[]), 1000, false).await.is_ok());
        let own = Access::private(1000);
        assert!(own.may_have_priority(&peer(1000, &[]), 1000, false).await.is_ok());
    }
}
