//! Questions about profiles: what the supervisor would really apply.

use super::{Engine, EngineError};
use crate::supervise::Preview;
use fetchml_policies::{Answer, Difference, Document, Library, Overview, PolicyError, Question};
use serde::Serialize;

/// A profile, and what this machine makes of it.
#[derive(Debug, Serialize)]
pub struct Described {
    /// The profile and its filter.
    #[serde(flatten)]
    pub document: Document,
    /// What a job of it would get here.
    pub machine: Preview,
}

impl Engine {
    /// One line about each profile.
    ///
    /// # Errors
    /// [`EngineError`] never for policies that were loaded whole.
    pub fn profiles(&self) -> Result<Vec<Overview>, EngineError> {
        let settings = self.settings();
        Ok(settings.library.overview(&settings.config.jobs.default_profile)?)
    }

    /// Everything about one profile.
    ///
    /// # Errors
    /// [`EngineError::NoSuchProfile`].
    pub fn described_profile(&self, name: &str) -> Result<Described, EngineError> {
        let settings = self.settings();
        let document = settings.library.document(name, &settings.config.jobs.default_profile)?;
        let machine = self.launcher.preview(&document.profile);
        Ok(Described { document, machine })
    }

    /// Whether a profile allows something, and which others do.
    ///
    /// # Errors
    /// [`EngineError::NoSuchProfile`], [`EngineError::Invalid`] for something that
    /// cannot be asked.
    pub fn explain(&self, profile: &str, kind: &str, what: &str) -> Result<Answer, EngineError> {
        let library = &self.settings().library;
        let question = Question::read(kind, what)?;
        let profile = library.profile(profile)?;
        Ok(library.answer(&question, &profile, &*library.filter(&profile)?)?)
    }

    /// What distinguishes two profiles.
    ///
    /// # Errors
    /// [`EngineError::NoSuchProfile`].
    pub fn diff(&self, before: &str, after: &str) -> Result<Vec<Difference>, EngineError> {
        let library: &Library = &self.settings().library;
        let (one, other) = (library.profile(before)?, library.profile(after)?);
        let filters = (library.filter(&one)?, library.filter(&other)?);
        Ok(fetchml_policies::diff((&one, &filters.0), (&other, &filters.1)))
    }
}

impl From<PolicyError> for EngineError {
    fn from(error: PolicyError) -> Self {
        let words = error.to_string();
        match error {
            PolicyError::UnknownProfile { .. } => Self::NoSuchProfile(words),
            PolicyError::UnknownCall { .. } | PolicyError::Question { .. } => Self::Invalid(words),
            PolicyError::UnknownFilter { .. } | PolicyError::Invalid(_) => Self::Failed(words),
        }
    }
}
