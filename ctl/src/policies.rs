//! Where answers about profiles come from: the supervisor, which applies them;
//! the files of this machine where none answers; one file that a person names.

use crate::connect::{Supervisor, Target};
use crate::context::Context;
use crate::error::{Failure, Result};
use fetchml_policies::{
    Answer, Difference, Document, Filter, Library, Overview, Problem, Profile, Question, diff,
};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the system service reads what replaces the built-in profiles.
pub(crate) const OVERRIDES: &str = "/etc/fetchml/policies";
/// What the supervisor takes without a word in its configuration.
const DEFAULT: &str = "default";

/// A profile as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Profile(String),
    File(PathBuf),
}

impl Named {
    /// Names of profiles hold neither slashes nor dots.
    fn read(word: &str) -> Self {
        if word.contains(['/', '.']) { Self::File(word.into()) } else { Self::Profile(word.into()) }
    }
}

/// A text of the supervisor, and what of it is understood.
pub(crate) struct Told<T> {
    pub(crate) text: String,
    pub(crate) value: T,
}

impl<T: DeserializeOwned> Told<T> {
    fn read(text: String) -> Result<Self> {
        let value = serde_json::from_str(&text).map_err(|e| {
            Failure::no(format!("cannot read the supervisor's answer: {e}"))
                .hint("fetchmlctl and fetchmld may be of different versions")
        })?;
        Ok(Self { text, value })
    }
}

impl<T: serde::Serialize> Told<T> {
    fn own(value: T) -> Result<Self> {
        let text = serde_json::to_string(&value)
            .map_err(|e| Failure::no(format!("cannot write the answer as JSON: {e}")))?;
        Ok(Self { text, value })
    }
}

/// Who answers.
pub(crate) enum Source {
    Supervisor(Supervisor),
    Files(Library),
}

impl Source {
    /// The supervisor that runs, or the files. A profile that is a file is read
    /// here in either case, so `words` are looked at first.
    pub(crate) async fn of(context: &Context, words: &[&str]) -> Result<Self> {
        if words.iter().any(|word| matches!(Named::read(word), Named::File(_))) {
            return Ok(Self::Files(installed(context.link.target())?));
        }
        if let Ok(supervisor) = context.link.target().connect_running().await {
            return Ok(Self::Supervisor(supervisor));
        }
        let library = installed(context.link.target())?;
        let place = match context.link.target() {
            Target::System => format!("built-in profiles and {OVERRIDES}"),
            Target::Private(_) => "built-in profiles".to_owned(),
        };
        context.tell(&format_args!("note: no supervisor answers; this is from the {place}"));
        Ok(Self::Files(library))
    }

    pub(crate) async fn list(&self) -> Result<Told<Vec<Overview>>> {
        match self {
            Self::Supervisor(s) => {
                let reply = s.manager.list_profiles().await;
                Told::read(reply.map_err(|e| Failure::bus("cannot list the profiles", &e))?)
            }
            Self::Files(library) => Told::own(library.overview(DEFAULT).map_err(no)?),
        }
    }

    pub(crate) async fn show(&self, word: &str) -> Result<Told<Document>> {
        match self {
            Self::Supervisor(s) => {
                let reply = s.manager.get_profile(word).await;
                Told::read(reply.map_err(|e| Failure::bus("cannot show the profile", &e))?)
            }
            Self::Files(library) => {
                let (profile, filter) = resolve(library, word)?;
                Told::own(Document::new(&profile, &filter, profile.name == DEFAULT))
            }
        }
    }

    pub(crate) async fn explain(&self, word: &str, kind: &str, what: &str) -> Result<Told<Answer>> {
        match self {
            Self::Supervisor(s) => {
                let reply = s.manager.explain_profile(word, kind, what).await;
                Told::read(reply.map_err(|e| Failure::bus("cannot explain it", &e))?)
            }
            Self::Files(library) => {
                let question = Question::read(kind, what).map_err(no)?;
                let (profile, filter) = resolve(library, word)?;
                Told::own(library.answer(&question, &profile, &filter).map_err(no)?)
            }
        }
    }

    pub(crate) async fn diff(&self, before: &str, after: &str) -> Result<Told<Vec<Difference>>> {
        match self {
            Self::Supervisor(s) => {
                let reply = s.manager.diff_profiles(before, after).await;
                Told::read(reply.map_err(|e| Failure::bus("cannot compare the profiles", &e))?)
            }
            Self::Files(library) => {
                let (one, other) = (resolve(library, before)?, resolve(library, after)?);
                Told::own(diff((&one.0, &one.1), (&other.0, &other.1)))
            }
        }
    }
}

/// The library of the meant supervisor, as its next start would read it.
pub(crate) fn installed(target: &Target) -> Result<Library> {
    let overrides: &[&str] = match target {
        Target::System => &[OVERRIDES],
        Target::Private(_) => &[],
    };
    Library::load(overrides).map_err(|e| {
        no(e).hint(format!("mend the files in {OVERRIDES}, or ask a private supervisor"))
    })
}

/// Every fault of a file in its order; what it extends is looked for among the
/// installed ones.
pub(crate) fn check(library: &Library, file: &Path) -> Vec<Problem> {
    let mut problems = library.check_file(file);
    problems.sort_by_key(|problem| problem.place);
    problems
}

fn resolve(library: &Library, word: &str) -> Result<(Arc<Profile>, Arc<Filter>)> {
    match Named::read(word) {
        Named::Profile(name) => {
            let profile = library.profile(&name).map_err(no)?;
            let filter = library.filter(&profile).map_err(no)?;
            Ok((profile, filter))
        }
        Named::File(path) => {
            let (profile, filter) = library.read_file(&path).map_err(|problems| {
                let words: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Failure::no(words.join("; "))
                    .hint("`fetchmlctl policy check FILE` lists each fault")
            })?;
            Ok((Arc::new(profile), Arc::new(filter)))
        }
    }
}

fn no(error: impl ToString) -> Failure {
    Failure::no(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_profile_by_its_dots_and_slashes() {
        assert_eq!(Named::read("strict"), Named::Profile("strict".into()));
        for file in ["./strict", "mine.toml", "/etc/x"] {
            assert_eq!(Named::read(file), Named::File(file.into()));
        }
    }
}
