//! What a job asks of the queue: its place in it, what must happen before it,
//! how often it is tried, and the array that it is a part of.

use crate::job::{FailureClass, JobId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Lowest priority a job may have.
pub const MIN_PRIORITY: i32 = -1000;
/// Highest priority a job may have. Above 0 needs the role for it.
pub const MAX_PRIORITY: i32 = 1000;
/// Most jobs that one job may wait for.
pub const MAX_DEPENDENCIES: usize = 256;
/// Most tries of one job that a policy or a user may ask for.
pub const MAX_ATTEMPTS: u32 = 100;

/// What a job asks of the queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queueing {
    /// Jobs of a higher one go first; 0 unless asked otherwise.
    pub priority: i32,
    /// Waits until somebody releases it.
    pub held: bool,
    /// What must be over before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Dependency>,
    /// How often it is tried after a failure of each class, where that is to
    /// differ from the site's policy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub retry: BTreeMap<FailureClass, u32>,
    /// The array that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayPlace>,
}

/// A job that another one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Which job.
    pub job: JobId,
    /// How it must have ended.
    pub condition: Condition,
}

/// How a job must have ended for another one to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// In whatever way.
    Any,
    /// Successfully. A job that waits for one that failed fails as well, with
    /// class [`FailureClass::Dependency`].
    Ok,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Condition::Any => write!(f, "after job {}", self.job),
            Condition::Ok => write!(f, "after success of job {}", self.job),
        }
    }
}

/// A job's place in its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayPlace {
    /// The number of the array, which is that of its first job.
    pub array: JobId,
    /// The job's index, as the user counts.
    pub index: u64,
    /// Jobs in the array.
    pub count: u64,
    /// Most of them that run at once; 0 for no limit.
    pub at_once: u32,
}

/// Accelerators that a job asks for. It sees these and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuRequest {
    /// How many.
    pub count: u32,
    /// Part of the model's name that they must have, in any case; `None` takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 11] = [
        Self::Infrastructure,
        Self::UserError,
        Self::OutOfMemory,
        Self::Timeout,
        Self::ProcessLimit,
        Self::DiskLimit,
        Self::LogLimit,
        Self::PolicyDenied,
        Self::Cancelled,
        Self::Lost,
        Self::Dependency,
    ];

    /// Reads [`FailureClass::as_str`] back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// Whether a further try can be asked for. Who cancelled a job wants no other,
    /// and what a job depended on does not change.
    #[must_use]
    pub fn can_be_retried(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Dependency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_as_they_are_written() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::parse(class.as_str()), Some(class));
            assert_eq!(serde_json::to_value(class).expect("JSON"), class.as_str());
        }
        assert_eq!(FailureClass::parse("no-class"), None);
    }

    #[test]
    fn a_job_that_asks_nothing_of_the_queue_says_nothing() {
        let text = serde_json::to_string(&Queueing::default()).expect("JSON");
        assert_eq!(text, r#"{"priority":0,"held":false}"#);
        let read: Queueing = serde_json::from_str("{}").expect("all is optional");
        assert_eq!(read, Queueing::default());
    }
}
