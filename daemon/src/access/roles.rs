//! Who has which role. Roles are groups of the machine, which others change; what
//! changed since it was last looked at is recorded.

use super::decide::{ANALYSTS, GROUP};
use crate::engine::ledger::Ledger;
use crate::engine::records;
use nix::unistd::Group;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// In the state directory: one line for each member, `ROLE USER`.
const FILE: &str = "roles";

/// A role and the group that gives it.
const ROLES: [(&str, &str); 2] = [("researcher", GROUP), ("analyst", ANALYSTS)];

/// Members of the roles' groups, by role and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Members(BTreeSet<(String, String)>);

/// Somebody got a role or lost it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The user's name.
    pub user: String,
    /// The role.
    pub role: String,
    /// Whether they have it now.
    pub given: bool,
}

impl Members {
    /// As the account database lists them. Whose primary group it is, it does not list.
    /// An account database that does not answer is no group without members.
    fn now() -> io::Result<Self> {
        let mut members = BTreeSet::new();
        for (role, group) in ROLES {
            let listed = Group::from_name(group)?.map(|group| group.mem);
            let listed = listed.unwrap_or_default().into_iter();
            members.extend(listed.map(|user| (role.to_owned(), user)));
        }
        Ok(Self(members))
    }

    fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(Some(Self(pairs.map(|(role, user)| (role.to_owned(), user.to_owned())).collect())))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        for (role, user) in &self.0 {
            writeln!(file, "{role} {user}")?;
        }
        file.sync_all()?;
        fs::rename(new, path)
    }

    fn changes_since(&self, before: &Self) -> Vec<RoleChange> {
        let change = |given| {
            move |(role, user): &(String, String)| RoleChange {
                user: user.clone(),
                role: role.clone(),
                given,
            }
        };
        let taken = before.0.difference(&self.0).map(change(false));
        let given = self.0.difference(&before.0).map(change(true));
        taken.chain(given).collect()
    }
}

/// Records what changed since the last look, then keeps what is. What was found at the
/// very first look is no change.
///
/// # Errors
/// What cannot be recorded or kept; then it is a change the next time.
pub async fn record_changes(
    state_dir: &Path,
    ledger: &dyn Ledger,
    occasion: &str,
) -> Result<(), String> {
    match Members::now() {
        Ok(now) => record_between(&state_dir.join(FILE), &now, ledger, occasion).await,
        Err(error) => {
            tracing::warn!(%error, "who has which role cannot be told now; it is asked again later");
            Ok(())
        }
    }
}

async fn record_between(
    file: &Path,
    now: &Members,
    ledger: &dyn Ledger,
    occasion: &str,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let before = Members::read(file).map_err(failed)?;
    if before.as_ref() == Some(now) {
        return Ok(());
    }
    for change in before.map(|before| now.changes_since(&before)).unwrap_or_default() {
        ledger.append(records::role_changed(&change, occasion)).await?;
    }
    now.write(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Audit, Options};

    fn members(pairs: &[(&str, &str)]) -> Members {
        Members(pairs.iter().map(|(role, user)| ((*role).into(), (*user).into())).collect())
    }

    #[tokio::test]
    async fn each_change_is_recorded_once_and_the_first_look_is_none() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options::with_key_file(dir.path().join("key"));
        let (audit, _) = Audit::open(&dir.path().join("audit"), &options).expect("a log");
        let file = dir.path().join(FILE);
        let looks = [
            members(&[("researcher", "alice"), ("researcher", "bob")]),
            members(&[("researcher", "alice"), ("analyst", "bob")]),
            members(&[("researcher", "alice"), ("analyst", "bob")]),
        ];
        for look in &looks {
            record_between(&file, look, &audit, "reload").await.expect("recorded");
        }
        let log = fs::read_to_string(dir.path().join("audit/000000000001.log")).expect("a log");
        let told: Vec<(String, String, String)> = log
            .lines()
            .map(|line| fetchml_api::audit::Record::parse(line.as_bytes()).expect("a record"))
            .filter(|record| &*record.event == "role_changed")
            .map(|record| {
                let role = record.details[&"role".into()].to_string();
                (record.action.to_string(), record.resource.to_string(), role)
            })
            .collect();
        let change = |action: &str, role: &str| (action.into(), "user/bob".into(), role.into());
        assert_eq!(told, [change("take-role", "researcher"), change("give-role", "analyst")]);
    }
}
