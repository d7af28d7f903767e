//! Who the job is: no groups, the job's user namespace, one unprivileged id that
//! no other job shares, an empty keyring.

use super::{Failure, Step};
use crate::plan::Plan;
use fetchml_sys::{namespace, process};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

pub(super) fn become_unprivileged(plan: &Plan) -> Result<(), Failure> {
    // In the new namespace setgroups(2) is denied for good, so this comes first.
    Step::Groups.of(set_thread_groups(&[]))?;
    Step::UserNamespace.of(namespace::enter_user(plan.account.user_namespace()))?;
    Step::GroupId.of(set_thread_res_gid(plan.gid, plan.gid, plan.gid))?;
    Step::UserId.of(set_thread_res_uid(plan.uid, plan.uid, plan.uid))?;
    Step::Keyring.of(process::start_empty_session_keyring())
}
