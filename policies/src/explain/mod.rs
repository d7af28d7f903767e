//! Would this be allowed, and who says so? Answers from the profile alone: they
//! look at no host and no running job.

mod address;
mod call;
mod path;

pub use address::{Destination, address};
pub use call::call;
pub use call::words as outcome_words;
pub use path::{Access, path};

use serde::{Deserialize, Serialize};

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked, in full: `socket`, `write /usr/lib`, `connect 127.0.0.1:80`.
    pub question: String,
    /// Name of the profile that was asked.
    pub profile: String,
    /// Whether a job may.
    pub verdict: Verdict,
    /// What happens, in words: `fails with EPERM (Operation not permitted)`.
    pub outcome: String,
    /// Who decides.
    pub by: By,
    /// The rule that decides, where a rule does.
    pub rule: Option<Grounds>,
    /// With [`Verdict::Depends`]: all cases; the first that applies decides.
    pub cases: Vec<Case>,
}

/// Whether a job may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
    /// It depends on the arguments, or on what the host has.
    Depends,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The profile, or a rule of its seccomp profile.
    Profile,
    /// A rule that holds above every profile.
    Ceiling,
    /// No rule says anything: what is not named is refused.
    Default,
    /// What every job has or lacks, whatever its profile.
    Sandbox,
}

/// One case of an answer that depends on arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// When it applies: `argument 0 is AF_UNIX`. Empty: always.
    pub when: String,
    /// Whether a job may.
    pub verdict: Verdict,
    /// What happens.
    pub outcome: String,
    /// Who decides.
    pub by: By,
    /// The rule.
    pub rule: Option<Grounds>,
}

/// A rule and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grounds {
    /// The file, as it was named to the reader.
    pub file: String,
    /// The key in it: `syscalls[12]`, `root.show`.
    pub key: String,
    /// The reason that the file gives; empty where it gives none.
    pub reason: String,
}

#[cfg(test)]
#[path = "../explain_tests.rs"]
mod tests;
