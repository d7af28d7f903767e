//! Profiles as documents that travel: what lists and shows of them are made of.

use crate::filter::Filter;
use crate::library::Library;
use crate::oci::{Outcome, Rule};
use crate::problem::PolicyError;
use crate::profile::{Network, Profile};
use serde::{Deserialize, Serialize};

/// One line about a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Whether jobs that name no profile get it.
    pub default: bool,
    /// What a job reaches over the network unless it asks for less.
    pub network: Network,
    /// In which ways it is weaker than what every user may use; such a profile
    /// needs the role for it.
    pub privileges: Vec<String>,
}

/// A whole profile with its filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Version of this document: 1.
    pub version: u32,
    /// As in [`Overview`].
    pub default: bool,
    /// As in [`Overview`].
    pub privileges: Vec<String>,
    /// Every value, after inheritance.
    pub profile: Profile,
    /// Its system calls.
    pub filter: Calls,
}

/// The rules of a filter, as they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Name of the seccomp profile.
    pub name: String,
    /// System calls that are possible, some only with certain arguments.
    pub allowed: usize,
    /// System calls that are named and never possible.
    pub denied: usize,
    /// Names that no kernel known to this version has.
    pub unknown: Vec<String>,
    /// What happens to a call that no rule names.
    pub default: Outcome,
    /// Every rule with its reason.
    pub rules: Vec<Rule>,
}

impl Document {
    /// Puts a profile and its filter together.
    #[must_use]
    pub fn new(profile: &Profile, filter: &Filter, default: bool) -> Self {
        Self {
            version: 1,
            default,
            privileges: profile.privileges(),
            profile: profile.clone(),
            filter: Calls {
                name: filter.name.clone(),
                allowed: filter.allowed,
                denied: filter.denied,
                unknown: filter.unknown.clone(),
                default: filter.default,
                rules: filter.rules.clone(),
            },
        }
    }
}

impl Library {
    /// One line about each profile, in order of their names.
    ///
    /// # Errors
    /// [`PolicyError`] never for a library that was loaded whole.
    pub fn overview(&self, default: &str) -> Result<Vec<Overview>, PolicyError> {
        let one = |name: &str| {
            let profile = self.profile(name)?;
            Ok(Overview {
                name: profile.name.clone(),
                description: profile.description.clone(),
                default: profile.name == default,
                network: profile.network_mode,
                privileges: profile.privileges(),
            })
        };
        self.names().map(one).collect()
    }

    /// The whole profile of that name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownProfile`].
    pub fn document(&self, name: &str, default: &str) -> Result<Document, PolicyError> {
        let profile = self.profile(name)?;
        Ok(Document::new(&profile, &*self.filter(&profile)?, name == default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let library = Library::load::<&Path>(&[]).expect("the vendor's policies are valid");
        let lines = library.overview("default").expect("lines");
        assert_eq!(lines.iter().filter(|line| line.default).count(), 1);
        for line in lines {
            let whole = library.document(&line.name, "default").expect("it exists");
            assert_eq!((whole.default, &whole.privileges), (line.default, &line.privileges));
            assert!(whole.filter.rules.iter().any(|rule| !rule.comment.is_empty()));
            let text = serde_json::to_string(&whole).expect("JSON");
            assert_eq!(serde_json::from_str::<Document>(&text).expect("read"), whole);
        }
    }
}
