//! Colour: by state, never without a word, never where nobody sees it.

use crate::cli::When;
use fetchml_api::job::JobState;

/// Whether what is printed is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Busy,
    Careful,
    Quiet,
    Strong,
}

impl Style {
    /// A flag of the command beats the environment, and that beats the terminal.
    pub(crate) fn choose(
        when: When,
        on_terminal: bool,
        var: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name| var(name).is_some_and(|v| !v.is_empty());
        let colour = match when {
            When::Always => true,
            When::Never => false,
            When::Auto if set("NO_COLOR") => false,
            When::Auto if var("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
            When::Auto => on_terminal && var("TERM").is_none_or(|t| t != "dumb"),
        };
        Self { colour }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "36",
            Tone::Careful => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The tone of a job's state.
pub(crate) fn of_state(state: JobState) -> Tone {
    match state {
        JobState::Queued => Tone::Quiet,
        JobState::Starting | JobState::Running => Tone::Busy,
        JobState::Succeeded => Tone::Good,
        JobState::Failed | JobState::TimedOut => Tone::Bad,
        JobState::Cancelled => Tone::Careful,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_beats_the_environment_and_that_the_terminal() {
        let with = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let colour = |when, tty, set| Style::choose(when, tty, with(set)).colour;
        assert!(colour(When::Auto, true, &[]));
        assert!(!colour(When::Auto, false, &[]));
        assert!(!colour(When::Auto, true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
        assert!(colour(When::Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!colour(When::Auto, true, &[("TERM", "dumb")]));
        assert!(colour(When::Always, false, &[("NO_COLOR", "1")]));
        assert!(!colour(When::Never, true, &[("CLICOLOR_FORCE", "1")]));
    }
}
