//! What is wrong with a policy file, in words a person can act on.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as it was named to the reader.
    pub file: String,
    /// Line and column of the value, from 1, where the format gives them.
    pub place: Option<(usize, usize)>,
    /// The key, with its table: `limits.pids`. Empty when the file itself is at fault.
    pub key: String,
    /// What is wrong, naming the value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

/// A value's fault before it is known where the value stands.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }

    pub(crate) fn in_file(self, file: &str, key: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            place: None,
            key: key.into(),
            message: self.message,
            remedy: self.remedy,
        }
    }
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is no profile of that name.
    #[error("unknown profile {name:?}; {remedy}")]
    UnknownProfile {
        /// The name asked for.
        name: String,
        /// A near name, and all the known ones.
        remedy: String,
    },
    /// There is no seccomp profile of that name.
    #[error("unknown seccomp profile {name:?}; {remedy}")]
    UnknownFilter {
        /// The name asked for.
        name: String,
        /// A near name, and all the known ones.
        remedy: String,
    },
    /// There is no system call of that name.
    #[error("unknown system call {name:?}; {remedy}")]
    UnknownCall {
        /// The name asked for.
        name: String,
        /// A near name, or what to write.
        remedy: String,
    },
    /// Something that cannot be asked of a profile.
    #[error("cannot explain {question:?}: {remedy}")]
    Question {
        /// What was asked.
        question: String,
        /// What is wrong with it, or the form.
        remedy: String,
    },
    /// Files that cannot be accepted; every fault of every file.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Longest word, in bytes, that may be a misspelt name.
const LONGEST_NAME: usize = 64;

/// A name as a message repeats it: cut where it is longer than any name.
pub(crate) fn repeated(given: &str) -> String {
    match given.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", given.get(..end).unwrap_or_default()),
        None => given.to_owned(),
    }
}

/// The known name a person most likely meant.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The comparison takes time and memory by the product of both lengths, and any
    // user of the bus may ask with megabytes.
    if given.len() > LONGEST_NAME {
        return None;
    }
    let allowed = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// "did you mean …" where there is a near name, and the names there are.
pub(crate) fn choices<'a>(given: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let all = known.clone().into_iter().collect::<Vec<_>>().join(", ");
    match nearest(given, known) {
        Some(name) => format!("did you mean {name}? (known: {all})"),
        None => format!("use one of: {all}"),
    }
}

/// "did you mean …", or what to write where there are too many names to list.
pub(crate) fn choices_of_many<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    match nearest(given, known) {
        Some(name) => format!("did you mean {name}?"),
        None => otherwise.to_owned(),
    }
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
