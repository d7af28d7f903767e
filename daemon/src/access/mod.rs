//! Who is asking, and what they may. Identity comes from the kernel (socket
//! credentials) or from the bus daemon that took it from the kernel; a
//! [`Caller`] can be built nowhere else, and no field of a message adds to it.

mod caller;
mod decide;
mod names;
mod polkit;
mod roles;

pub(crate) use decide::only_reads;

pub use caller::{Caller, CallerError, Transport};
pub use decide::{Access, Denied, Mode};
pub use names::user_name;
pub use roles::{RoleChange, record_changes as record_role_changes};
