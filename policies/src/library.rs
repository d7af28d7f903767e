//! All profiles and filters of a supervisor, read and compiled once.

use crate::filter::Filter;
use crate::problem::{Fault, PolicyError, Problem, choices};
use crate::profile::Profile;
use crate::reader::{self, Draft};
use crate::resolve;
use crate::trust::{self, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const VENDOR_PROFILES: [(&str, &str); 1] = [("default", include_str!("../profiles/default.toml"))];
const VENDOR_FILTERS: [(&str, &str); 1] =
    [("default-hardened", include_str!("../seccomp/default-hardened.json"))];
const AGENT_BASE: (&str, &str) = ("agent-base", include_str!("../seccomp/agent-base.json"));

/// Every profile and every seccomp profile there is.
#[derive(Debug)]
pub struct Library {
    drafts: BTreeMap<String, Draft>,
    profiles: BTreeMap<String, Arc<Profile>>,
    filters: BTreeMap<String, Arc<Filter>>,
    agent: Arc<Filter>,
}

impl Library {
    /// Reads the vendor's policies and then each of `overrides`, a directory
    /// with `profiles/NAME.toml` and `seccomp/NAME.json`; a later file replaces
    /// an earlier one of the same name. A directory that does not exist is
    /// passed over. Files and directories must belong to root and be writable
    /// by root alone.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] with every fault of every file.
    pub fn load<P: AsRef<Path>>(overrides: &[P]) -> Result<Self, PolicyError> {
        Self::load_owned_by(0, overrides)
    }

    fn load_owned_by<P: AsRef<Path>>(owner: u32, overrides: &[P]) -> Result<Self, PolicyError> {
        let mut problems = Vec::new();
        let mut profiles = vendor(&VENDOR_PROFILES, "toml");
        let mut seccomp = vendor(&VENDOR_FILTERS, "json");
        for directory in overrides.iter().map(AsRef::as_ref) {
            profiles.extend(trust::read_directory(
                &directory.join("profiles"),
                "toml",
                owner,
                &mut problems,
            ));
            seccomp.extend(trust::read_directory(
                &directory.join("seccomp"),
                "json",
                owner,
                &mut problems,
            ));
        }
        let (agent_name, agent_text) = AGENT_BASE;
        let agent = Filter::read(agent_name, &label(agent_name, "json"), agent_text)
            .map_err(PolicyError::Invalid)?;
        let filters = compile(seccomp, &mut problems);
        let drafts = draft(profiles, &mut problems);
        let mut resolved = BTreeMap::new();
        for name in drafts.keys() {
            match resolve::resolve(name, &drafts, |filter| filters.contains_key(filter)) {
                Ok(profile) => {
                    resolved.insert(name.clone(), Arc::new(profile));
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(PolicyError::Invalid(problems));
        }
        Ok(Self { drafts, profiles: resolved, filters, agent: Arc::new(agent) })
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownProfile`], which lists the known ones.
    pub fn profile(&self, name: &str) -> Result<Arc<Profile>, PolicyError> {
        self.profiles.get(name).cloned().ok_or_else(|| PolicyError::UnknownProfile {
            name: name.to_owned(),
            remedy: choices(name, self.names()),
        })
    }

    /// Names of the profiles, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.profiles.keys().map(String::as_str)
    }

    /// The compiled filter that `profile` names.
    ///
    /// # Errors
    /// [`PolicyError::UnknownFilter`] for a profile that is not of this library.
    pub fn filter(&self, profile: &Profile) -> Result<Arc<Filter>, PolicyError> {
        let name = &profile.seccomp_profile;
        self.filters.get(name).cloned().ok_or_else(|| PolicyError::UnknownFilter {
            name: name.clone(),
            remedy: choices(name, self.filters.keys().map(String::as_str)),
        })
    }

    /// The filter that PID 1 of every job carries, whatever the profile: a
    /// ceiling that no override can lift.
    #[must_use]
    pub fn agent_filter(&self) -> Arc<Filter> {
        Arc::clone(&self.agent)
    }

    /// Every fault of one file, read as if it lay in an override directory.
    /// Who owns it is not looked at: a draft may lie anywhere.
    #[must_use]
    pub fn check_file(&self, path: &Path) -> Vec<Problem> {
        let file = path.display().to_string();
        let opened = File::open(path).map_err(|error| trust::unreadable(&error));
        let read = opened.and_then(trust::read_text);
        let (name, text) = match trust::name_of(path).and_then(|name| Ok((name, read?))) {
            Ok(found) => found,
            Err(fault) => return vec![fault.in_file(&file, "")],
        };
        if path.extension().is_some_and(|end| end == "json") {
            return seccomp(&Source { name, file, text }).err().unwrap_or_default();
        }
        let mut drafts = self.drafts.clone();
        match reader::read(&file, &text) {
            Err(problems) => return problems,
            Ok(draft) => drafts.insert(name.clone(), draft),
        };
        resolve::resolve(&name, &drafts, |filter| self.filters.contains_key(filter))
            .err()
            .unwrap_or_default()
    }
}

fn label(name: &str, extension: &str) -> String {
    format!("built-in {name}.{extension}")
}

fn vendor(files: &[(&str, &str)], extension: &str) -> Vec<Source> {
    let source = |(name, text): &(&str, &str)| Source {
        name: (*name).to_owned(),
        file: label(name, extension),
        text: (*text).to_owned(),
    };
    files.iter().map(source).collect()
}

fn compile(sources: Vec<Source>, problems: &mut Vec<Problem>) -> BTreeMap<String, Arc<Filter>> {
    let mut filters = BTreeMap::new();
    for source in sources {
        match seccomp(&source) {
            Ok(filter) => {
                filters.insert(source.name, Arc::new(filter));
            }
            Err(found) => problems.extend(found),
        }
    }
    filters
}

/// Compiles a seccomp profile for jobs: closed by default, and not under the
/// name of the filter that holds for all of them.
fn seccomp(source: &Source) -> Result<Filter, Vec<Problem>> {
    let one = |fault: Fault, key: &str| vec![fault.in_file(&source.file, key)];
    if source.name == AGENT_BASE.0 {
        let fault = Fault::new(
            "agent-base holds for every job and cannot be replaced",
            "choose another name",
        );
        return Err(one(fault, ""));
    }
    let filter = Filter::read(&source.name, &source.file, &source.text)?;
    if filter.default.lets_through() {
        let fault = Fault::new(
            "lets through every call that no rule names, also those of kernels to come",
            "use SCMP_ACT_ERRNO and name what is allowed",
        );
        return Err(one(fault, "defaultAction"));
    }
    Ok(filter)
}

fn draft(sources: Vec<Source>, problems: &mut Vec<Problem>) -> BTreeMap<String, Draft> {
    let mut drafts = BTreeMap::new();
    for source in sources {
        match reader::read(&source.file, &source.text) {
            Ok(draft) => {
                drafts.insert(source.name, draft);
            }
            Err(found) => problems.extend(found),
        }
    }
    drafts
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
