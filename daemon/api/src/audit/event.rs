//! What can be recorded.

/// One table, so that a kind of event cannot be without its name, its message
/// id or its place in [`Event::ALL`].
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident, $constant:ident, $name:literal, $id:literal;)+) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Event { $($(#[$doc])* $variant,)+ }

        /// `MESSAGE_ID` of each kind of event in the journal: 128 random bits
        /// that never change, by which `journalctl` finds the catalog entry.
        pub mod message_id {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: &str = $id;)+
        }

        impl Event {
            /// All kinds, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Name in a record.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// `MESSAGE_ID` in the journal.
            #[must_use]
            pub const fn message_id(self) -> &'static str {
                match self { $(Self::$variant => message_id::$constant,)+ }
            }
        }
    };
}

events! {
    /// The log begins; always its first record.
    LogOpened, LOG_OPENED, "log_opened", "6cc0e3532b014245be04fc03468f4a3d";
    /// A torn last record, left by a crash, was set aside.
    LogRepaired, LOG_REPAIRED, "log_repaired", "4a2b7d5b658349ada530dd28ecbe20fa";
    /// Audit could not be written for a while and can be again.
    LogResumed, LOG_RESUMED, "log_resumed", "85d7172ee6c9462cae2f2749e4191341";
    /// A segment is complete and sealed; this record is the first of the next one.
    LogRotated, LOG_ROTATED, "log_rotated", "794a76b251039f2164a2339026096f42";
    /// Old segments were deleted; says how far, so that the rest still verifies.
    LogPruned, LOG_PRUNED, "log_pruned", "171abea2ab4304669713f86cdb380d84";
    /// The supervisor takes work.
    DaemonStarted, DAEMON_STARTED, "daemon_started", "c588bddc15b64af4bcfd537109821c14";
    /// The supervisor stops in an orderly way.
    DaemonStopped, DAEMON_STOPPED, "daemon_stopped", "d4a79914c1ea4629b2adf74079baf1a8";
    /// Configuration was read and is in force.
    ConfigLoaded, CONFIG_LOADED, "config_loaded", "481a335e1bf94b92b63c22139d60b97a";
    /// A job was accepted.
    JobQueued, JOB_QUEUED, "job_queued", "50355b369d3e4f31a53b13c7c6d2ea8e";
    /// A job's command is about to be executed.
    JobStarted, JOB_STARTED, "job_started", "d9a9a57b91f840b680735fc593f8bd00";
    /// A job is over.
    JobCompleted, JOB_COMPLETED, "job_completed", "e57555db73de48b5a384c0f96423d992";
    /// Somebody asked for the end of a job.
    JobCancelled, JOB_CANCELLED, "job_cancelled", "170d9a9de29647a6884c34edcac2619a";
    /// A job is tried again.
    JobRetried, JOB_RETRIED, "job_retried", "c4c2066326d4458facf56e311051a61c";
    /// The site's policy refused something.
    PolicyDenied, POLICY_DENIED, "policy_denied", "e85ce4f1f7684eca930deeca6c7ee379";
    /// A caller proved who it is.
    AuthSuccess, AUTH_SUCCESS, "auth_success", "ab42ef2208594f31af1658b42fd9a4e3";
    /// A caller could not prove who it is, or may not do what it asked for.
    AuthFailure, AUTH_FAILURE, "auth_failure", "18babb91d7b34dfaacc54bbee6771f55";
    /// A file of an audited data set was read.
    FileRead, FILE_READ, "file_read", "b03763bd9f834dd4b7ef2fcba41b6680";
    /// A file of an audited data set was written.
    FileWrite, FILE_WRITE, "file_write", "37bbf84081744044878eac67be82bd12";
    /// A file of an audited data set was deleted.
    FileDelete, FILE_DELETE, "file_delete", "4891c48770c54297954561ff89660ce4";
    /// A key was created.
    KeyCreated, KEY_CREATED, "key_created", "a3d226c4d8bf47e2a9fb45fc1dbd866c";
    /// A key was revoked.
    KeyRevoked, KEY_REVOKED, "key_revoked", "ea5202b35aed491386371ccd60be23ba";
    /// Somebody's role was changed.
    RoleChanged, ROLE_CHANGED, "role_changed", "a55af39dffba406691fc51bc8d589a0d";
    /// Somebody read the log, or took a copy of some of it.
    AuditRead, AUDIT_READ, "audit_read", "f12037fbe1f15f3e61b3b05dc187d163";
    /// Somebody verified the log.
    AuditVerified, AUDIT_VERIFIED, "audit_verified", "b54c2d2533644f6fa205509e8e0d2a29";
    /// New jobs are not started from now on, or are again.
    QueueDrained, QUEUE_DRAINED, "queue_drained", "3c106e809e87dc834c0fdc40c44dbefa";
    /// A job that waits or has failed was changed: moved, held, put back, dropped.
    JobChanged, JOB_CHANGED, "job_changed", "5bad2467e54a90c2d4283797fbca9b3e";
    /// A secret was added for jobs. Its value is in no record.
    SecretAdded, SECRET_ADDED, "secret_added", "3687749c214ea7e915684afb6ad73fac";
    /// The value of a secret was replaced.
    SecretRotated, SECRET_ROTATED, "secret_rotated", "7ca3834d7d4d4af1da314c6fadcdb9a4";
    /// A secret was removed.
    SecretRemoved, SECRET_REMOVED, "secret_removed", "97e79caee8d39a20fa2613dd810ecddf";
}

impl Event {
    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_message_ids_are_distinct_and_well_formed() {
        let names: BTreeSet<_> = Event::ALL.iter().map(|e| e.name()).collect();
        let ids: BTreeSet<_> = Event::ALL.iter().map(|e| e.message_id()).collect();
        assert_eq!((names.len(), ids.len()), (Event::ALL.len(), Event::ALL.len()));
        for event in Event::ALL {
            assert_eq!(Event::from_name(event.name()), Some(*event));
            assert!(event.message_id().parse::<crate::audit::Id128>().is_ok(), "{event:?}");
        }
    }
}
