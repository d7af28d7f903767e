//! Names on the bus. A breaking change gets a new major number in the name
//! and the old one is served beside it for a release cycle.

/// Well-known name on the system bus.
pub const BUS_NAME: &str = "org.fetchml.FetchML1";
/// Object that carries the manager and audit interfaces.
pub const ROOT_PATH: &str = "/org/fetchml/FetchML1";
/// Parent of the job objects; a job's object is this and `/` and its id.
pub const JOB_PATH_PREFIX: &str = "/org/fetchml/FetchML1/job";
/// Interface of the root object: submit, list, cancel, wait.
pub const MANAGER_INTERFACE: &str = "org.fetchml.FetchML1.Manager";
/// Interface of one queued or running job.
pub const JOB_INTERFACE: &str = "org.fetchml.FetchML1.Job";
/// Interface that hands out the audit log.
pub const AUDIT_INTERFACE: &str = "org.fetchml.FetchML1.Audit";

/// Longest job specification, in bytes of the D-Bus message body.
pub const MAX_SPEC_BYTES: usize = 1 << 20;

/// Most jobs that one call describes.
pub const MAX_PAGE_JOBS: u32 = 1000;

/// Bytes of specifications with which a page of descriptions ends early. What ends it
/// is still in it, so that a page of fewer jobs than were asked for, and fewer than
/// [`MAX_PAGE_JOBS`], is the last one unless it is longer than this.
pub const PAGE_BYTES: usize = 4 << 20;

/// Most jobs that one call lists.
pub const MAX_LISTED_JOBS: u32 = 10_000;

/// Most jobs that one call names.
pub const MAX_IDS: usize = 1000;

/// File name of the peer-to-peer socket inside a run-time directory.
pub const SOCKET_FILE: &str = "bus.sock";
/// Run-time directory of the system service.
pub const SYSTEM_RUNTIME_DIR: &str = "/run/fetchml";

/// Object path of a job.
#[must_use]
pub fn job_path(id: crate::job::JobId) -> String {
    format!("{JOB_PATH_PREFIX}/{}", id.0)
}

/// Whether a word means jobs by what it is, wherever a person names some: a number, a
/// range, a job of an array or all of one, or `@last`. A job of such a name could not be
/// meant by it.
#[must_use]
pub fn reads_as_job(word: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().is_ok();
    let range = word.split_once('-').is_some_and(|(from, to)| number(from) && number(to));
    let all = word.ends_with("[]");
    let inside = word.strip_suffix(']').and_then(|word| word.split_once('['));
    let member =
        |(array, index): (&str, &str)| number(array) && (index.is_empty() || number(index));
    word.starts_with('@') || number(word) || range || all || inside.is_some_and(member)
}

/// Error names, as the remote side sees them. The short form (after the last
/// dot) is stable and is what scripts may test for.
pub mod error {
    /// There is no job of that id that the caller may know of.
    pub const NO_SUCH_JOB: &str = "org.fetchml.FetchML1.NoSuchJob";
    /// The profile is not installed.
    pub const NO_SUCH_PROFILE: &str = "org.fetchml.FetchML1.NoSuchProfile";
    /// The specification cannot be accepted as it stands.
    pub const INVALID_SPEC: &str = "org.fetchml.FetchML1.InvalidSpec";
    /// The caller's role or the site's policy forbids it.
    pub const POLICY_DENIED: &str = "org.fetchml.FetchML1.PolicyDenied";
    /// This machine cannot hold a layer or a limit that was asked for.
    pub const BARRIER_UNAVAILABLE: &str = "org.fetchml.FetchML1.BarrierUnavailable";
    /// Audit cannot be written, so no new work is taken.
    pub const AUDIT_UNAVAILABLE: &str = "org.fetchml.FetchML1.AuditUnavailable";
    /// The supervisor is stopping.
    pub const SHUTTING_DOWN: &str = "org.fetchml.FetchML1.ShuttingDown";
    /// Something failed inside the supervisor; the message says what.
    pub const FAILED: &str = "org.fetchml.FetchML1.Failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_a_job_by_itself_is_no_name() {
        for word in ["12", "3-7", "@last", "@x", "12[3]", "12[]", "many[]"] {
            assert!(reads_as_job(word), "{word}");
        }
        for word in ["", "train", "night-3", "3-x", "train[3]", "12[a]", "12]", "1.5", "-3"] {
            assert!(!reads_as_job(word), "{word}");
        }
    }
}
