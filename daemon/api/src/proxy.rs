//! The client side of the D-Bus interfaces. The served introspection is tested
//! against these, so this file is the contract.
//!
//! Documents (`Describe…`, `WaitJob`) are JSON texts of the types in
//! [`crate::job`], as systemd's own `Describe` methods do it: they grow without
//! breaking callers. Times are microseconds since the epoch, sizes bytes.

use std::collections::HashMap;
use zbus::{Fd, ObjectPath, OwnedFd, OwnedObjectPath, Variant};

/// Jobs for which it did not work: the name and the words of each one's error.
pub type Failures = HashMap<u64, (String, String)>;

/// `org.fetchml.FetchML1.Manager` on [`crate::names::ROOT_PATH`].
#[zbus::proxy(
    interface = "org.fetchml.FetchML1.Manager",
    default_service = "org.fetchml.FetchML1",
    default_path = "/org/fetchml/FetchML1"
)]
pub trait Manager {
    /// Submits a job.
    ///
    /// `spec` has the keys `command` (as, required), `env` (a{ss}), `name` (s),
    /// `experiment` (s), `profile` (s), `network` (s: none, loopback),
    /// `time-limit-usec` (t), `memory-bytes` (t), `cpus` (d), `cpuset` (s: `0-3,8`),
    /// `pids` (t), `disk-bytes` (t), `log-bytes` (t), `cpu-weight` (u), `io-weight` (u), `gpus` (u), `gpu-type` (s),
    /// `priority` (i), `hold` (b), `after` (a(ts): job, `any` or `ok`), `retry` (a{su}:
    /// failure class, further tries); an unknown key or a wrong type is an error.
    /// `mounts` are directories that the caller opened: path in the job, mode
    /// (`project`, `ro`, `rw`), a label for display, and the descriptor. Returns the
    /// number and the object path.
    #[zbus(allow_interactive_auth)]
    fn submit_job(
        &self,
        spec: HashMap<&str, Variant<'_>>,
        mounts: Vec<(&str, &str, &str, Fd<'_>)>,
    ) -> zbus::Result<(u64, OwnedObjectPath)>;

    /// Submits many jobs at once, all or none. `spec` has the keys of `SubmitJob` and
    /// `array` (s: `1-100`, `1-100:2`, `3,7,9-12`, each with `%4` for at most four at
    /// once), or `sweep` (a(sas): name, values), or `sweep` and an `array` of `%4`
    /// alone ([`crate::array`]). Returns the number of the array, which is that of its
    /// first job, and how many jobs there are; their numbers follow each other.
    #[zbus(allow_interactive_auth)]
    fn submit_array(
        &self,
        spec: HashMap<&str, Variant<'_>>,
        mounts: Vec<(&str, &str, &str, Fd<'_>)>,
    ) -> zbus::Result<(u64, u64)>;

    /// Jobs that the caller may see, newest last: id, uid, name, experiment,
    /// profile, state, time of submission, object path (`/` when it is over).
    /// `filter` keys: `all-users` (b), `state` (s), `limit` (u), `before` (t: job id).
    #[zbus(allow_interactive_auth)]
    #[allow(clippy::type_complexity)]
    fn list_jobs(
        &self,
        filter: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<Vec<(u64, u32, String, String, String, String, u64, OwnedObjectPath)>>;

    /// The same jobs as `ListJobs`, as a JSON array of job descriptions.
    #[zbus(allow_interactive_auth)]
    fn describe_jobs(&self, filter: HashMap<&str, Variant<'_>>) -> zbus::Result<String>;

    /// One job as JSON ([`crate::job::JobDescription`]).
    fn describe_job(&self, id: u64) -> zbus::Result<String>;

    /// Object path of a job that is not over.
    fn get_job(&self, id: u64) -> zbus::Result<OwnedObjectPath>;

    /// Answers with the job's description when it is over. No time limit of
    /// its own: set one in the client.
    fn wait_job(&self, id: u64) -> zbus::Result<String>;

    /// Asks for the end of a job: TERM, a grace period, KILL. Returns at once;
    /// succeeds for a job that is over.
    #[zbus(allow_interactive_auth)]
    fn cancel_job(&self, id: u64) -> zbus::Result<()>;

    /// The same for each job of an array that is not over. Returns how many those are.
    #[zbus(allow_interactive_auth)]
    fn cancel_array(&self, array: u64) -> zbus::Result<u64>;

    /// An array as JSON: `{version, array, name, count, at_once, states, reason}`, with the
    /// number of its jobs in each state, and why those that wait do if one thing keeps them.
    fn describe_array(&self, array: u64) -> zbus::Result<String>;

    /// Moves waiting jobs in the queue, at most [`crate::names::MAX_IDS`] at once.
    /// Returns for each that was not moved the error's name and words.
    #[zbus(allow_interactive_auth)]
    fn set_priority(&self, jobs: &[u64], priority: i32) -> zbus::Result<Failures>;

    /// Keeps waiting jobs from starting, as `SetPriority`.
    #[zbus(allow_interactive_auth)]
    fn hold_jobs(&self, jobs: &[u64]) -> zbus::Result<Failures>;

    /// Lets held jobs start when it is their turn, as `SetPriority`.
    #[zbus(allow_interactive_auth)]
    fn release_jobs(&self, jobs: &[u64]) -> zbus::Result<Failures>;

    /// The dead-letter list: jobs that failed and whose tries are used up, as a JSON
    /// array of job descriptions. `filter` as for `ListJobs`.
    #[zbus(allow_interactive_auth)]
    fn list_dead(&self, filter: HashMap<&str, Variant<'_>>) -> zbus::Result<String>;

    /// Puts jobs of the dead-letter list into the queue again, with all their tries,
    /// as `SetPriority`.
    #[zbus(allow_interactive_auth)]
    fn requeue_dead(&self, jobs: &[u64]) -> zbus::Result<Failures>;

    /// Takes jobs out of the dead-letter list; what they left stays. As `SetPriority`.
    #[zbus(allow_interactive_auth)]
    fn drop_dead(&self, jobs: &[u64]) -> zbus::Result<Failures>;

    /// The attempts of a job in order, as a JSON array of `{number, state,
    /// started_usec, finished_usec, host_uid, layers, report}`.
    fn list_attempts(&self, id: u64) -> zbus::Result<String>;

    /// What the machine has for jobs, what is taken, and who waits, as JSON:
    /// `{running, queued, draining, slots, taken, capacity, users}`. Users are those
    /// whose jobs the caller may see.
    fn describe_queue(&self) -> zbus::Result<String>;

    /// Starts no job from now on (true), or again (false); what runs goes on. Ends with
    /// the supervisor.
    #[zbus(allow_interactive_auth)]
    fn drain(&self, draining: bool) -> zbus::Result<()>;

    /// Keeps a secret for jobs. `value` is a sealed memory file (memfd_create(2) with
    /// `F_SEAL_WRITE` and `F_SEAL_SHRINK`) of 6 to 8,192 bytes; `holders` are users and
    /// groups that may use it beside root: `alice`, `user:alice`, `group:lab`.
    #[zbus(allow_interactive_auth)]
    fn add_secret(&self, name: &str, holders: &[&str], value: Fd<'_>) -> zbus::Result<()>;

    /// Replaces the value of a secret; jobs that run keep the old one.
    #[zbus(allow_interactive_auth)]
    fn rotate_secret(&self, name: &str, value: Fd<'_>) -> zbus::Result<()>;

    /// Forgets a secret.
    #[zbus(allow_interactive_auth)]
    fn remove_secret(&self, name: &str) -> zbus::Result<()>;

    /// The secrets, without their values, as a JSON array of `{name, for, added_usec,
    /// rotated_usec, kept}`.
    #[zbus(allow_interactive_auth)]
    fn list_secrets(&self) -> zbus::Result<String>;

    /// A copy of the job store as it is now (an SQLite database), opened for reading.
    #[zbus(allow_interactive_auth)]
    fn back_up(&self) -> zbus::Result<OwnedFd>;

    /// Ends the supervisor; with `jobs`, the jobs that run first, and answers when they
    /// are over. Jobs that wait do so until there is a supervisor again.
    #[zbus(allow_interactive_auth)]
    fn shutdown(&self, jobs: bool) -> zbus::Result<()>;

    /// The log ([`crate::log`]) of the job's newest attempt, opened for reading.
    fn open_log(&self, id: u64) -> zbus::Result<OwnedFd>;

    /// The same of one attempt; the first is 1.
    fn open_attempt_log(&self, id: u64, attempt: u32) -> zbus::Result<OwnedFd>;

    /// The directory the job saw as `/outputs`.
    fn open_outputs(&self, id: u64) -> zbus::Result<OwnedFd>;

    /// The directory of what the job wrote in `/work` (overlay upper layer).
    fn open_work(&self, id: u64) -> zbus::Result<OwnedFd>;

    /// One line about each profile, as JSON: an array of `{name, description,
    /// default, network, privileges}`.
    fn list_profiles(&self) -> zbus::Result<String>;

    /// A profile after inheritance with the rules of its filter, and what this
    /// machine makes of it, as JSON: `{version, default, privileges, profile,
    /// filter, machine}`.
    fn get_profile(&self, name: &str) -> zbus::Result<String>;

    /// Whether a job of a profile may, by which rule, and which other profiles
    /// do not refuse it, as JSON. `kind` is `call` (`what`: `ptrace`,
    /// `socket(AF_INET, 1)`), `read`, `write`, `execute` (a path of the job) or
    /// `connect` (`127.0.0.1:80`, `/run/x.sock`, `@name`).
    fn explain_profile(&self, profile: &str, kind: &str, what: &str) -> zbus::Result<String>;

    /// What distinguishes two profiles, as a JSON array of `{subject, name,
    /// before, after}`.
    fn diff_profiles(&self, before: &str, after: &str) -> zbus::Result<String>;

    /// What the supervisor found on this machine, as JSON: an array of
    /// [`crate::host::Finding`].
    fn describe_host(&self) -> zbus::Result<String>;

    /// A new job was accepted.
    #[zbus(signal)]
    fn job_new(&self, id: u64, job: ObjectPath<'_>) -> zbus::Result<()>;

    /// A job changed its state.
    #[zbus(signal)]
    fn job_state_changed(&self, id: u64, state: &str) -> zbus::Result<()>;

    /// A job is over; its object is gone.
    #[zbus(signal)]
    fn job_removed(&self, id: u64, job: ObjectPath<'_>, result: &str) -> zbus::Result<()>;

    /// Version of the supervisor.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// `system` or `private`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn mode(&self) -> zbus::Result<String>;

    /// Jobs that run now.
    #[zbus(property(emits_changed_signal = "false"))]
    fn jobs_running(&self) -> zbus::Result<u32>;

    /// Jobs that wait now.
    #[zbus(property(emits_changed_signal = "false"))]
    fn jobs_queued(&self) -> zbus::Result<u32>;
}

/// `org.fetchml.FetchML1.Job` on the object of a job that is not over.
#[zbus::proxy(interface = "org.fetchml.FetchML1.Job", default_service = "org.fetchml.FetchML1")]
pub trait Job {
    /// The job as JSON.
    fn describe(&self) -> zbus::Result<String>;

    /// As `Manager.CancelJob`.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self) -> zbus::Result<()>;

    /// As `Manager.OpenLog`.
    fn open_log(&self) -> zbus::Result<OwnedFd>;

    /// Number of the job.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> zbus::Result<u64>;

    /// Name of the job.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> zbus::Result<String>;

    /// Host user id of the submitter.
    #[zbus(property(emits_changed_signal = "const"), name = "UID")]
    fn uid(&self) -> zbus::Result<u32>;

    /// Current state.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
}

/// `org.fetchml.FetchML1.Audit` on [`crate::names::ROOT_PATH`].
#[zbus::proxy(
    interface = "org.fetchml.FetchML1.Audit",
    default_service = "org.fetchml.FetchML1",
    default_path = "/org/fetchml/FetchML1"
)]
pub trait Audit {
    /// The segment files in order, file name and a descriptor opened for reading.
    #[zbus(allow_interactive_auth)]
    fn open_segments(&self) -> zbus::Result<Vec<(String, OwnedFd)>>;

    /// Segments (`.log`) and checkpoints (`.notes`) in the order of their names, those
    /// after this name, at most 16 at once: ask again with the last name until there
    /// are none. The first call, with an empty name, is recorded.
    #[zbus(allow_interactive_auth)]
    fn open_files(&self, after: &str) -> zbus::Result<Vec<(String, OwnedFd)>>;

    /// Sequence number and hash (hexadecimal) of the last durable record.
    #[zbus(allow_interactive_auth)]
    fn head(&self) -> zbus::Result<(u64, String)>;

    /// Signs what the log is now and answers with the signed note ([`crate::audit::Note`]).
    #[zbus(allow_interactive_auth)]
    fn checkpoint(&self) -> zbus::Result<String>;

    /// Public keys by which the log is known, the one in use last.
    fn public_keys(&self) -> zbus::Result<Vec<String>>;

    /// Records that the caller verified the log: exit status (0 intact, 1 tampered,
    /// 2 incomplete, 3 unreadable) and words.
    #[zbus(allow_interactive_auth)]
    fn report_verification(&self, status: u8, words: &str) -> zbus::Result<()>;
}
