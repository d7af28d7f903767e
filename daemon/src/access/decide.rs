//! What callers may. Everything not allowed here is denied.

use super::polkit::{Answer, Polkit};
use super::{Caller, Transport};
use crate::engine::Scope;
use fetchml_policies::profile::in_words;
use nix::unistd::{Gid, Group};

/// Members of this group may submit jobs and use the socket.
pub(super) const GROUP: &str = "fetchml";

const ACTION_SUBMIT: &str = "org.fetchml.submit";
const ACTION_MANAGE_ANY: &str = "org.fetchml.manage-any";
const ACTION_PRIVILEGED_PROFILE: &str = "org.fetchml.use-privileged-profile";
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
    polkit: Option<Polkit>,
}

impl Access {
    /// Decisions of a private supervisor.
    #[must_use]
    pub fn private(owner: u32) -> Self {
        Self { mode: Mode::Private { owner }, group: None, polkit: None }
    }

    /// Decisions of the machine's supervisor; `bus` is where polkit is asked.
    #[must_use]
    pub fn system(bus: Option<&zbus::Connection>) -> Self {
        let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid);
        Self { mode: Mode::System, group, polkit: bus.map(Polkit::new) }
    }

    /// Decisions of a machine's supervisor whose group is this, without polkit.
    #[cfg(test)]
    pub(crate) fn for_test(group: u32) -> Self {
        Self { mode: Mode::System, group: Some(Gid::from_raw(group)), polkit: None }
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
            Mode::System if self.is_known(caller) => Ok(()),
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
                    Denied::Forbidden(_) => not_a_member(),
                    other => other,
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

    /// Whose jobs the caller may see and handle without asking anybody.
    #[must_use]
    pub fn scope(&self, caller: &Caller) -> Scope {
        match (self.mode, caller.uid()) {
            (Mode::System, 0) => Scope::All,
            (Mode::Private { owner }, uid) if uid == owner => Scope::All,
            (_, uid) => Scope::Own(uid),
        }
    }

    /// Everybody's jobs, if the caller may handle them.
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
        self.ask(caller, ACTION_MANAGE_ANY, interactive).await.map(|()| Scope::All)
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
            Ok(Answer::Yes) => Ok(()),
            Ok(Answer::Challenge) => Err(Denied::NeedsAuthentication),
            Ok(Answer::No) => Err(forbidden("")),
            Err(error) => Err(forbidden(&format!(" (polkit does not answer: {error})"))),
        }
    }
}

fn not_a_member() -> Denied {
    Denied::Forbidden(format!(
        "you may not use FetchML: an administrator can add you to the group {GROUP}"
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
        let access = Access::for_test(77);
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
        let access = Access::for_test(77);
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
        let access = Access::for_test(77);
        let member = peer(1000, &[77]);
        assert_eq!(access.scope(&member), Scope::Own(1000));
        assert!(access.scope_of_everybody(&member, true).await.is_err());
        assert!(access.may_read_audit(&member, true).await.is_err());
        let root = peer(0, &[]);
        assert_eq!(access.scope(&root), Scope::All);
        assert_eq!(access.scope_of_everybody(&root, false).await, Ok(Scope::All));
        assert!(access.may_read_audit(&root, false).await.is_ok());
    }
}
