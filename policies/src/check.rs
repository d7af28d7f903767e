//! Files that lie in no library yet, read as they would be in an override directory:
//! what lies beside them comes before what is installed.

use crate::filter::{Filter, Ruleset};
use crate::library::{Library, ruleset};
use crate::oci::{self, ImportHost, Imported};
use crate::problem::{Fault, Problem};
use crate::profile::Profile;
use crate::reader::{self, Draft};
use crate::sound;
use crate::trust::{self, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Library {
    /// Every fault of one file, read as if it lay in an override directory together
    /// with the files beside it. Who owns them is not looked at: a draft may lie
    /// anywhere.
    #[must_use]
    pub fn check_file(&self, path: &Path) -> Vec<Problem> {
        match source(path) {
            Ok(source) => self.check(source, Some(path)),
            Err(problem) => vec![problem],
        }
    }

    /// The same of a text that lies in no file; `file` is its name in messages,
    /// and its end, `.toml` or `.json`, says what it is.
    #[must_use]
    pub fn check_text(&self, file: &str, text: &str) -> Vec<Problem> {
        match trust::name_of(Path::new(file)) {
            Ok(name) => self.check(Source { name, file: file.into(), text: text.into() }, None),
            Err(fault) => vec![fault.in_file(file, "")],
        }
    }

    fn check(&self, source: Source, path: Option<&Path>) -> Vec<Problem> {
        match Path::new(&source.file).extension().and_then(|end| end.to_str()) {
            Some("json") => ruleset(&source, &self.ceiling).err(),
            Some("toml") => Some(self.check_profile(source, path)),
            _ => {
                let what =
                    "is called neither .toml, as profiles are, nor .json, as seccomp profiles";
                let fault = Fault::new(what, "give it the name that it will be installed with");
                Some(vec![fault.in_file(&source.file, "")])
            }
        }
        .unwrap_or_default()
    }

    /// What shows in each value, in the calls that are allowed, and in the whole. A
    /// fault of the whole that follows from one that was told is left out.
    fn check_profile(&self, source: Source, path: Option<&Path>) -> Vec<Problem> {
        let (draft, mut problems) = reader::read_all(&source.file, &source.text);
        let unread = |problem: &Problem| problem.key.is_empty() || problem.key == "extends";
        if problems.iter().any(unread) {
            return problems;
        }
        let mut add = |found: Vec<Problem>| {
            let told = problems.clone();
            let follows = |one: &Problem| {
                told.iter().any(|told| {
                    let within = one.key.strip_prefix(&told.key);
                    told.file == one.file
                        && within.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                        && (told.place == one.place || told.key != one.key)
                })
            };
            problems.extend(found.into_iter().filter(|one| !follows(one)));
        };
        add(sound::forbidden(&draft, &self.ceiling));
        add(self.complete_draft(source.name, draft, path).err().unwrap_or_default());
        problems
    }

    /// Names in a seccomp file that are of no call of this architecture, as far as this
    /// version knows. They are no fault, since a file may be for others too, but a
    /// misspelt one is not decided by its rule.
    #[must_use]
    pub fn unknown_calls(&self, path: &Path) -> Vec<Problem> {
        let json = path.extension().is_some_and(|end| end == "json");
        let Some(source) = source(path).ok().filter(|_| json) else { return Vec::new() };
        let document = oci::read(&source.file, &source.text).ok();
        document.map_or_else(Vec::new, |document| {
            oci::unknown_calls(&source.file, &source.text, &document)
        })
    }

    /// The profile of one file that need not belong to anybody, with its filter,
    /// as they would be if it lay in an override directory together with the files
    /// beside it.
    ///
    /// # Errors
    /// Every fault of the file, or of one beside it that it needs.
    pub fn read_file(&self, path: &Path) -> Result<(Profile, Filter), Vec<Problem>> {
        self.read_source(source(path).map_err(|problem| vec![problem])?, Some(path))
    }

    fn read_source(
        &self,
        source: Source,
        path: Option<&Path>,
    ) -> Result<(Profile, Filter), Vec<Problem>> {
        let draft = reader::read(&source.file, &source.text)?;
        self.complete_draft(source.name, draft, path)
    }

    /// The profile of what one file says.
    fn complete_draft(
        &self,
        first: String,
        draft: Draft,
        path: Option<&Path>,
    ) -> Result<(Profile, Filter), Vec<Problem>> {
        let beside = path.map(Beside);
        let mut own: BTreeMap<String, Draft> = BTreeMap::new();
        let (mut drafts, mut rulesets) = (self.drafts.clone(), self.rulesets.clone());
        let mut next = Some((first.clone(), draft));
        while let Some((name, draft)) = next.take() {
            if let Some(filter) = &draft.seccomp_profile
                && let Some(rules) = beside.as_ref().map(|b| b.ruleset(filter, &self.ceiling))
                && let Some(rules) = rules.transpose()?
            {
                rulesets.insert(filter.clone(), rules);
            }
            if let Some(parent) = draft.extends.as_ref().filter(|p| **p != name) {
                let known = own.contains_key(parent);
                let found = beside.as_ref().filter(|_| !known).and_then(|b| b.profile(parent));
                if let Some(source) = found {
                    let source = source.map_err(|problem| vec![problem])?;
                    next = Some((parent.clone(), reader::read(&source.file, &source.text)?));
                }
            }
            own.insert(name, draft);
        }
        drafts.extend(own);
        self.resolve(&first, &drafts, &rulesets)
    }

    /// A foreign profile as one of ours that passes [`Library::check_text`], see
    /// [`oci::import`].
    ///
    /// # Errors
    /// Everything that cannot be read, cannot be said by a plain profile, or that no
    /// profile of ours may have.
    pub fn import(
        &self,
        file: &str,
        text: &str,
        host: &ImportHost,
    ) -> Result<Imported, Vec<Problem>> {
        let imported = oci::import(file, text, host)?;
        let faults = self.check_text("imported.json", &imported.text);
        let of_original = |problem: Problem| Problem {
            file: file.to_owned(),
            place: Some(oci::place_of(text, &problem.key)),
            ..problem
        };
        match faults.is_empty() {
            true => Ok(imported),
            false => Err(faults.into_iter().map(of_original).collect()),
        }
    }
}

/// The files beside the one at this path.
struct Beside<'a>(&'a Path);

impl Beside<'_> {
    /// The profile of that name, if its file is there.
    fn profile(&self, name: &str) -> Option<Result<Source, Problem>> {
        self.existing("", name, "toml").map(|path| source(&path))
    }

    /// The seccomp profile of that name: beside it, or where an override directory
    /// has it.
    fn ruleset(
        &self,
        name: &str,
        ceiling: &Arc<Ruleset>,
    ) -> Option<Result<Arc<Ruleset>, Vec<Problem>>> {
        let path = self.existing("", name, "json");
        let path = path.or_else(|| self.existing("../seccomp", name, "json"))?;
        let read = source(&path).map_err(|problem| vec![problem]);
        Some(read.and_then(|source| ruleset(&source, ceiling)))
    }

    fn existing(&self, place: &str, name: &str, extension: &str) -> Option<PathBuf> {
        let file = format!("{name}.{extension}");
        // A name with slashes is no policy's, and would lead elsewhere.
        trust::name_of(Path::new(&file)).ok().filter(|stem| stem == name)?;
        let path = self.0.parent()?.join(place).join(file);
        path.is_file().then_some(path)
    }
}

fn source(path: &Path) -> Result<Source, Problem> {
    let file = path.display().to_string();
    let read = || -> Result<(String, String), Fault> {
        let text = File::open(path).map_err(|error| trust::unreadable(&error));
        Ok((trust::name_of(path)?, text.and_then(trust::read_text)?))
    };
    match read() {
        Ok((name, text)) => Ok(Source { name, file, text }),
        Err(fault) => Err(fault.in_file(&file, "")),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
