//! Names of users, for people. Never used to decide anything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The user's name, if it has one. Looked up once: a list of ten thousand jobs
/// must not read the account database ten thousand times.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    static KNOWN: Mutex<Option<HashMap<u32, Option<String>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .get_or_insert_default()
        .entry(uid)
        .or_insert_with(|| {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
            user.ok().flatten().map(|user| user.name)
        })
        .clone()
}
