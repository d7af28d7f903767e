//! All profiles and filters of a supervisor, read and compiled once.

use crate::beyond::beyond;
use crate::calls;
use crate::decision::Decisions;
use crate::filter::{Filter, Manner, Ruleset};
use crate::oci;
use crate::problem::{Fault, PolicyError, Problem, choices, repeated};
use crate::profile::{Denials, Profile};
use crate::reader::{self, Draft};
use crate::resolve;
use crate::secrets::{self, Rules};
use crate::sound;
use crate::trust::{self, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const VENDOR_PROFILES: [(&str, &str); 5] = [
    ("default", include_str!("../profiles/default.toml")),
    ("strict", include_str!("../profiles/strict.toml")),
    ("gpu", include_str!("../profiles/gpu.toml")),
    ("debug", include_str!("../profiles/debug.toml")),
    ("notebook", include_str!("../profiles/notebook.toml")),
];
const VENDOR_FILTERS: [(&str, &str); 2] = [
    ("default-hardened", include_str!("../seccomp/default-hardened.json")),
    ("strict", include_str!("../seccomp/strict.json")),
];
/// What no job may, whatever its profile says.
const CEILING: (&str, &str) = ("agent-base", include_str!("../seccomp/agent-base.json"));
/// What the agent may once its command has begun.
const AGENT: (&str, &str) = ("agent-init", include_str!("../seccomp/agent-init.json"));

/// Every profile and every seccomp profile there is.
#[derive(Debug)]
pub struct Library {
    pub(crate) drafts: BTreeMap<String, Draft>,
    profiles: BTreeMap<String, Arc<Profile>>,
    pub(crate) rulesets: BTreeMap<String, Arc<Ruleset>>,
    pub(crate) ceiling: Arc<Ruleset>,
    ceiling_alone: Arc<Filter>,
    filters: BTreeMap<(String, Manner), Arc<Filter>>,
    agent: Arc<Filter>,
    secrets: Arc<Rules>,
    /// What the vendor's own profiles let through, whatever a site made of them.
    vendor: Vec<Decisions>,
}

impl Library {
    /// Reads the vendor's policies and then each of `overrides`, a directory
    /// with `profiles/NAME.toml` and `seccomp/NAME.json`; a later file replaces
    /// an earlier one of the same name. `secrets/NAME.toml` adds to the rules for secrets. A directory that does not exist is
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
        let (mut profiles, mut seccomp) = (Vec::new(), Vec::new());
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
        let Some(secrets) = secrets::read(owner, overrides, &mut problems) else {
            return Err(PolicyError::Invalid(problems));
        };
        let own = |(name, text): (&str, &str)| {
            let read = Ruleset::read(name, &label(name, "json"), text);
            read.map(Arc::new).map_err(PolicyError::Invalid)
        };
        let ceiling = own(CEILING)?;
        let alone = |rules: &Arc<Ruleset>| {
            let compiled = Filter::compile(rules, None, &Manner::default());
            compiled.map(Arc::new).map_err(|problem| PolicyError::Invalid(vec![problem]))
        };
        let (agent, ceiling_alone) = (alone(&own(AGENT)?)?, alone(&ceiling)?);
        let mut rulesets = sort_out(vendor(&VENDOR_FILTERS, "json"), &ceiling, &mut problems);
        let mut drafts = draft(vendor(&VENDOR_PROFILES, "toml"), &mut problems);
        let vendor = for_everybody(&drafts, &rulesets, &ceiling);
        rulesets.extend(sort_out(seccomp, &ceiling, &mut problems));
        drafts.extend(draft(profiles, &mut problems));
        let mut library = Self {
            drafts,
            profiles: BTreeMap::new(),
            rulesets,
            ceiling,
            ceiling_alone,
            filters: BTreeMap::new(),
            agent,
            secrets: Arc::new(secrets),
            vendor,
        };
        for name in library.drafts.keys() {
            match library.resolve(name, &library.drafts, &library.rulesets) {
                Ok((profile, filter)) => {
                    library.filters.insert(key(&profile), Arc::new(filter));
                    library.profiles.insert(name.clone(), Arc::new(profile));
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(library) } else { Err(PolicyError::Invalid(problems)) }
    }

    pub(crate) fn resolve(
        &self,
        name: &str,
        drafts: &BTreeMap<String, Draft>,
        rulesets: &BTreeMap<String, Arc<Ruleset>>,
    ) -> Result<(Profile, Filter), Vec<Problem>> {
        let mut profile = resolve::resolve(name, drafts, |filter| rulesets.contains_key(filter))?;
        let (filter, manner) = key(&profile);
        let filter = Filter::compile(&rulesets[&filter], Some(&self.ceiling), &manner)
            .map_err(|problem| vec![problem])?;
        profile.weaker_calls = beyond(&filter.merged, &self.vendor);
        if let Some(draft) = drafts.get(name) {
            sound::complete(draft, &mut profile, &filter)?;
        }
        Ok((profile, filter))
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownProfile`], which lists the known ones.
    pub fn profile(&self, name: &str) -> Result<Arc<Profile>, PolicyError> {
        self.profiles.get(name).cloned().ok_or_else(|| PolicyError::UnknownProfile {
            name: repeated(name),
            remedy: choices(name, self.names()),
        })
    }

    /// Names of the profiles, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.profiles.keys().map(String::as_str)
    }

    /// The compiled filter of `profile`, with the ceiling in it.
    ///
    /// # Errors
    /// [`PolicyError::UnknownFilter`] for a profile that is not of this library.
    pub fn filter(&self, profile: &Profile) -> Result<Arc<Filter>, PolicyError> {
        self.filters.get(&key(profile)).cloned().ok_or_else(|| {
            let name = &profile.seccomp_profile;
            PolicyError::UnknownFilter {
                name: name.clone(),
                remedy: choices(name, self.rulesets.keys().map(String::as_str)),
            }
        })
    }

    /// Names of the profiles under which this call would be made, in order.
    #[must_use]
    pub fn allowing(&self, number: u32, args: [u64; 6]) -> Vec<&str> {
        let allows = |profile: &Profile| {
            let filter = self.filters.get(&key(profile));
            filter.is_some_and(|filter| filter.outcome(number, &args).lets_through())
        };
        self.profiles.iter().filter(|(_, p)| allows(p)).map(|(name, _)| name.as_str()).collect()
    }

    /// The filter of PID 1 of every job, whatever the profile. It is no ceiling:
    /// the agent installs it for itself after its command has begun.
    #[must_use]
    pub fn agent_filter(&self) -> Arc<Filter> {
        Arc::clone(&self.agent)
    }

    /// What is known of secrets.
    #[must_use]
    pub fn secrets(&self) -> &Arc<Rules> {
        &self.secrets
    }

    /// What no job may, whatever its profile, compiled for itself. Every job's
    /// filter has it in it.
    #[must_use]
    pub fn ceiling(&self) -> Arc<Filter> {
        Arc::clone(&self.ceiling_alone)
    }
}

/// What the filter of a profile depends on.
fn key(profile: &Profile) -> (String, Manner) {
    let quiet = profile.quiet_calls.iter().filter_map(|name| calls::number(name));
    let allowed = profile.allowed_calls.iter();
    let allowed =
        allowed.filter_map(|(name, why)| Some((calls::number(name)?, why.clone()))).collect();
    let manner = match profile.denials {
        Denials::Count => Manner { counted: true, quiet: quiet.collect(), allowed },
        Denials::Silent => Manner { allowed, ..Manner::default() },
    };
    (profile.seccomp_profile.clone(), manner)
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

fn sort_out(
    sources: Vec<Source>,
    ceiling: &Arc<Ruleset>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<Ruleset>> {
    let mut rulesets = BTreeMap::new();
    for source in sources {
        match ruleset(&source, ceiling) {
            Ok(rules) => {
                rulesets.insert(source.name, rules);
            }
            Err(found) => problems.extend(found),
        }
    }
    rulesets
}

/// What each profile lets through, the ceiling considered; alike ones once.
fn for_everybody(
    drafts: &BTreeMap<String, Draft>,
    rulesets: &BTreeMap<String, Arc<Ruleset>>,
    ceiling: &Ruleset,
) -> Vec<Decisions> {
    let resolve = |name| resolve::resolve(name, drafts, |filter| rulesets.contains_key(filter));
    let profiles = drafts.keys().filter_map(|name| resolve(name).ok());
    let kinds: BTreeSet<_> = profiles
        .map(|profile| key(&profile))
        .map(|(filter, manner)| (filter, manner.allowed))
        .collect();
    let rules = kinds
        .iter()
        .filter_map(|(filter, allowed)| rulesets.get(filter).map(|rules| rules.allowing(allowed)));
    rules.map(|rules| rules.decisions.under(&ceiling.decisions)).collect()
}

/// Reads a seccomp profile for jobs: closed by default, not under the name of
/// the filter that holds for all of them, and short enough for the kernel.
pub(crate) fn ruleset(
    source: &Source,
    ceiling: &Arc<Ruleset>,
) -> Result<Arc<Ruleset>, Vec<Problem>> {
    let one = |fault: Fault, key: &str| {
        let place = Some(oci::place_of(&source.text, key));
        vec![Problem { place, ..fault.in_file(&source.file, key) }]
    };
    if [CEILING.0, AGENT.0].contains(&source.name.as_str()) {
        let fault = Fault::new(
            format!("{} holds for every job and cannot be replaced", source.name),
            "choose another name",
        );
        return Err(one(fault, ""));
    }
    let rules = Arc::new(Ruleset::read(&source.name, &source.file, &source.text)?);
    if rules.decisions.default.outcome.lets_through() {
        let fault = Fault::new(
            "lets through every call that no rule names, also those of kernels to come",
            "use SCMP_ACT_ERRNO and name what is allowed",
        );
        return Err(one(fault, "defaultAction"));
    }
    let filter = Filter::compile(&rules, Some(ceiling), &Manner::default())
        .map_err(|problem| vec![problem])?;
    // Nobody answers questions yet when the command is executed.
    for name in ["execve", "exit_group"] {
        let possible = calls::number(name).is_some_and(|number| filter.always_allows(number));
        if !possible {
            let fault = Fault::new(
                format!("does not allow {name} whatever its arguments, so that no job could start"),
                "allow it",
            );
            return Err(one(fault, "syscalls"));
        }
    }
    Ok(rules)
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
