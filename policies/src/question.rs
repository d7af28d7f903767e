//! Questions as people write them: `socket(AF_INET)`, a path, an address.

use crate::calls;
use crate::explain::{self, Access, Destination, Explanation, Verdict};
use crate::filter::Filter;
use crate::library::Library;
use crate::problem::{PolicyError, repeated};
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// What a person wants to know of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this system call made?
    Call {
        /// Its name or number.
        name: String,
        /// The first arguments, as far as they are known; where others decide,
        /// every case is told.
        args: Vec<Option<u64>>,
        /// As it was typed.
        text: String,
    },
    /// May a job do this with the path?
    Path {
        /// In the job's root.
        path: String,
        /// Read, write, execute.
        access: Access,
    },
    /// Does a job reach this address?
    Connect {
        /// What it is.
        to: Destination,
        /// As it was typed.
        text: String,
    },
}

/// The answer, and what other profiles would say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What the profile that was asked says.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The other profiles that do not refuse it.
    pub others: Vec<Other>,
}

/// What another profile says to the same question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its name.
    pub profile: String,
    /// [`Verdict::Allowed`] or [`Verdict::Depends`].
    pub verdict: Verdict,
}

/// Longest question, in bytes: a path (`PATH_MAX`).
const LONGEST: usize = 4096;

impl Question {
    /// Reads a question of the kind `call`, `read`, `write`, `execute` or `connect`.
    ///
    /// # Errors
    /// [`PolicyError::Question`] or [`PolicyError::UnknownCall`].
    pub fn read(kind: &str, text: &str) -> Result<Self, PolicyError> {
        let path = |access| Ok(Self::Path { path: text.to_owned(), access });
        if text.is_empty() {
            return Err(bad(kind, text, "write what is to be explained"));
        }
        if text.len() > LONGEST {
            let remedy = format!("it is longer than {LONGEST} bytes, which no path is; shorten it");
            return Err(bad(kind, text, remedy));
        }
        match kind {
            "call" => read_call(text),
            "read" => path(Access::Read),
            "write" => path(Access::Write),
            "execute" => path(Access::Execute),
            "connect" => match Destination::read(text) {
                Ok(to) => Ok(Self::Connect { to, text: text.to_owned() }),
                Err(remedy) => Err(bad(kind, text, remedy)),
            },
            _ => Err(bad(kind, text, "ask for call, read, write, execute or connect")),
        }
    }

    /// Asks one profile.
    ///
    /// # Errors
    /// [`PolicyError::UnknownCall`].
    pub fn ask(&self, profile: &Profile, filter: &Filter) -> Result<Explanation, PolicyError> {
        match self {
            Self::Call { name, args, text } => {
                let told = explain::call(profile, filter, name, args)?;
                Ok(Explanation { question: text.clone(), ..told })
            }
            Self::Path { path, access } => Ok(explain::path(profile, path, *access)),
            Self::Connect { to, text } => Ok(explain::address(profile, filter, text, to)),
        }
    }
}

impl Library {
    /// Asks a profile, and then the others.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown call.
    pub fn answer(
        &self,
        question: &Question,
        profile: &Profile,
        filter: &Filter,
    ) -> Result<Answer, PolicyError> {
        let explanation = question.ask(profile, filter)?;
        let mut others = Vec::new();
        for name in self.names().filter(|name| *name != profile.name) {
            let other = self.profile(name)?;
            let verdict = question.ask(&other, &*self.filter(&other)?)?.verdict;
            if verdict != Verdict::Denied {
                others.push(Other { profile: name.to_owned(), verdict });
            }
        }
        Ok(Answer { explanation, others })
    }
}

fn bad(kind: &str, text: &str, remedy: impl Into<String>) -> PolicyError {
    let question = format!("{} {}", repeated(kind), repeated(text));
    PolicyError::Question { question, remedy: remedy.into() }
}

/// `ptrace`, `101`, `socket(AF_INET, 1)`, `ioctl(TIOCSTI)`: one argument alone is
/// the one that is worth telling, as in the words for a denied call. `_` is an
/// argument that is not known.
fn read_call(text: &str) -> Result<Question, PolicyError> {
    const FORM: &str = "write a name, or a name with arguments such as 'socket(AF_INET, 1)'";
    const UNKNOWN: &str = "_";
    let text = text.trim();
    let (name, args) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| bad("call", text, FORM))?;
            (name.trim(), Some(inner).filter(|inner| !inner.trim().is_empty()))
        }
    };
    let number = calls::number(name);
    let mut values = Vec::new();
    let words: Vec<&str> = args.map(|args| args.split(',').collect()).unwrap_or_default();
    let told = number.and_then(calls::argument_of_interest);
    let alone = words.len() == 1;
    for (index, word) in words.into_iter().enumerate() {
        let index = told.filter(|_| alone).unwrap_or(index);
        let word = word.trim();
        let value = calls::value(number, index, word);
        if value.is_none() && word != UNKNOWN {
            let remedy = format!("the argument {word:?} is no number and no name known here");
            return Err(bad("call", text, remedy));
        }
        values.resize(index, None);
        values.push(value);
    }
    if values.len() > 6 {
        return Err(bad("call", text, "a call has at most six arguments"));
    }
    Ok(Question::Call { name: name.to_owned(), args: values, text: text.to_owned() })
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
