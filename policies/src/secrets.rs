//! The rules for secrets: the vendor's, and what a site adds to them.

use crate::problem::{Fault, PolicyError, Problem, place};
use crate::trust;
use fetchml_secrets::Source;
pub use fetchml_secrets::{Piece, Redactor, Rules};
use std::path::Path;

const VENDOR: &str = include_str!("../secrets/vendor.toml");

/// Reads the vendor's rules and then `secrets/*.toml` of each of `overrides`.
/// Directories and files are trusted as those of profiles are.
///
/// # Errors
/// [`PolicyError::Invalid`] with every fault of every file.
pub fn load<P: AsRef<Path>>(overrides: &[P]) -> Result<Rules, PolicyError> {
    load_owned_by(0, overrides)
}

fn load_owned_by<P: AsRef<Path>>(owner: u32, overrides: &[P]) -> Result<Rules, PolicyError> {
    let mut problems = Vec::new();
    match read(owner, overrides, &mut problems) {
        Some(rules) if problems.is_empty() => Ok(rules),
        _ => Err(PolicyError::Invalid(problems)),
    }
}

/// The rules, unless one of them is in `problems`.
pub(crate) fn read<P: AsRef<Path>>(
    owner: u32,
    overrides: &[P],
    problems: &mut Vec<Problem>,
) -> Option<Rules> {
    let mut rules = Source::default();
    let mut files = vec![("built-in vendor.toml".to_owned(), VENDOR.to_owned())];
    for directory in overrides {
        let directory = directory.as_ref().join("secrets");
        let found = trust::read_directory(&directory, "toml", owner, problems);
        files.extend(found.into_iter().map(|source| (source.file, source.text)));
    }
    for (file, text) in &files {
        match toml::from_str::<Source>(text) {
            Ok(source) => rules.add(source),
            Err(error) => problems.push(Problem {
                file: file.clone(),
                place: error.span().map(|span| place(text, span.start)),
                key: String::new(),
                message: error.message().to_owned(),
                remedy: "see /usr/share/fetchml/policies/secrets/vendor.toml for the form"
                    .to_owned(),
            }),
        }
    }
    match Rules::new(&rules) {
        Ok(rules) => Some(rules),
        Err(faults) => {
            problems.extend(faults.into_iter().map(|fault| {
                // The vendor's own are sound: it is of a file that has its name in it.
                let has = |(_, text): &&(String, String)| text.contains(&fault.rule);
                let file = files.iter().rev().find(has).map_or("", |(file, _)| file.as_str());
                Fault::new(fault.what, "mend or remove the rule").in_file(file, fault.rule)
            }));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_site_adds_rules_and_is_told_what_is_wrong_with_them() {
        let site = tempfile::tempdir().expect("a directory");
        let owner = std::fs::metadata(site.path()).expect("it is there").uid();
        let directory = site.path().join("secrets");
        std::fs::create_dir(&directory).expect("a directory");
        let write =
            |text: &str| std::fs::write(directory.join("site.toml"), text).expect("a write");
        write("shapes = [{ id = \"site-key\", match = \"SITE-[0-9]{8}\" }]\n");
        let rules = load_owned_by(owner, &[site.path()]).expect("sound");
        let found = rules.scan_log(b"use SITE-12345678 now");
        assert_eq!(found.iter().map(|span| rules.id(span.rule)).collect::<Vec<_>>(), ["site-key"]);

        write("shapes = [{ id = \"x\", match = \"ab\" }]\n");
        let error = load_owned_by(owner, &[site.path()]).expect_err("too short").to_string();
        assert!(error.contains("site.toml: x: is too short"), "{error}");
        write("shape = []\n");
        let error = load_owned_by(owner, &[site.path()]).expect_err("no such key").to_string();
        assert!(error.contains("site.toml:1:1: unknown field `shape`"), "{error}");
    }
}
