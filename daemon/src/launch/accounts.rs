//! Who a job is: a host id that no other running job has, the user namespace in
//! which it is the job's own id, and two more that translate between that id and
//! the submitter's on the disk.

use super::{Ahead, HostId, HostIds};
use crate::plan::failed;
use crate::supervise::{Refusal, Submitter};
use fetchml_sys::namespace::{self, IdMapping};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// What accounts differ by: jobs with the same ids may have one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Whose files the job writes.
    pub(crate) submitter: Submitter,
    /// Who it is inside.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account of one job.
#[derive(Debug)]
pub(crate) struct Account {
    ids: Ids,
    host_id: HostId,
    /// Of this job alone: keyrings and counts live in it.
    user_namespace: OwnedFd,
    submitter_only: OwnedFd,
    with_root: OwnedFd,
}

impl Account {
    /// A prepared account, or a new one.
    pub(crate) fn take(ahead: &Ahead, host_ids: &HostIds, ids: Ids) -> Result<Self, Refusal> {
        match ahead.account(ids) {
            Some(account) => Ok(account),
            None => Self::make(host_ids, ids),
        }
    }

    pub(super) fn make(host_ids: &HostIds, ids: Ids) -> Result<Self, Refusal> {
        let host_id = host_ids.take()?;
        let number = host_id.number();
        let make = |uids: &[IdMapping], gids: &[IdMapping]| {
            namespace::user(number, uids, gids).map_err(failed("map the submitter's ids"))
        };
        let job = |inside| IdMapping { inside, outside: number, count: 1 };
        let Submitter { uid, gid } = ids.submitter;
        Ok(Self {
            ids,
            user_namespace: own_namespace(ids, &host_id)?,
            submitter_only: make(&[job(uid)], &[job(gid)])?,
            with_root: make(&[job(uid), root_for(uid)], &[job(gid), root_for(gid)])?,
            host_id,
        })
    }

    /// The account for a next job of the same ids, when every process of the last
    /// one is gone. The namespaces that only translate were entered by nobody.
    pub(super) fn renewed(mut self) -> Result<Self, Refusal> {
        self.user_namespace = own_namespace(self.ids, &self.host_id)?;
        Ok(self)
    }

    pub(crate) fn ids(&self) -> Ids {
        self.ids
    }

    pub(crate) fn host_id(&self) -> &HostId {
        &self.host_id
    }

    pub(crate) fn user_namespace(&self) -> BorrowedFd<'_> {
        self.user_namespace.as_fd()
    }

    /// Translates the submitter's ids and nobody else's.
    pub(crate) fn submitter_only(&self) -> BorrowedFd<'_> {
        self.submitter_only.as_fd()
    }

    /// Translates root's besides, for the overlay's own area.
    pub(crate) fn with_root(&self) -> BorrowedFd<'_> {
        self.with_root.as_fd()
    }
}

/// One id inside, one outside, and nothing else exists.
fn own_namespace(ids: Ids, host_id: &HostId) -> Result<OwnedFd, Refusal> {
    let one = |inside| [IdMapping { inside, outside: host_id.number(), count: 1 }];
    let made = namespace::user(host_id.number(), &one(ids.uid), &one(ids.gid));
    made.map_err(failed("make a user namespace"))
}

/// Where root's files of an upper layer are on the disk: root's own, unless the
/// submitter is root, whose id is then the job's.
fn root_for(submitter: u32) -> IdMapping {
    const NOBODY: u32 = 65_534;
    IdMapping { inside: if submitter == 0 { NOBODY } else { 0 }, outside: 0, count: 1 }
}
