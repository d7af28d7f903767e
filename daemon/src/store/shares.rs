//! What users have used of late, for their fair share.

use crate::queue::Share;
use rusqlite::{Connection, params};

/// What one user has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UserShare {
    /// Host user id.
    pub uid: u32,
    /// How much, and as of when.
    pub share: Share,
}

pub(super) fn set(db: &Connection, user: &UserShare) -> rusqlite::Result<()> {
    let at_usec = i64::try_from(user.share.at_usec).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT OR REPLACE INTO shares (uid, used, gpu_seconds, at_usec) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![user.uid, user.share.used, user.share.gpu_seconds, at_usec])?;
    Ok(())
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<UserShare>> {
    db.prepare_cached("SELECT uid, used, gpu_seconds, at_usec FROM shares")?
        .query_map([], |row| {
            let at_usec: i64 = row.get(3)?;
            Ok(UserShare {
                uid: row.get(0)?,
                share: Share {
                    used: row.get(1)?,
                    gpu_seconds: row.get(2)?,
                    at_usec: u64::try_from(at_usec).unwrap_or(0),
                },
            })
        })?
        .collect()
}
