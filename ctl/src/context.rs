//! What every verb has at hand.

use crate::cli::{Global, Sure};
use crate::connect::Target;
use crate::error::{Failure, Result};
use crate::link::Link;
use crate::private;
use crate::say::say;
use crate::view::style::Style;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// The supervisor, and how to talk to the person.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) link: Link,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Style of standard output.
    pub(crate) style: Style,
    /// Columns of the terminal, when standard output is one.
    pub(crate) width: Option<usize>,
}

/// Whether something is done that cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    Yes,
    /// The person said no.
    No,
    /// Only what would be done was asked for, and that is said.
    Pretend,
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self> {
        let target = match global.private {
            None => Target::System,
            Some(dir) => Target::Private(private::directory(dir)?),
        };
        let on_terminal = io::stdout().is_terminal();
        let width = on_terminal
            .then(|| terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)));
        Ok(Self {
            link: Link::new(target, !global.no_ask_password),
            json: global.json,
            quiet: global.quiet,
            style: Style::choose(global.color, on_terminal, |name| std::env::var(name).ok()),
            width,
        })
    }

    /// Writes data to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
    }

    /// Writes one JSON document: indented for a person on a terminal, on one
    /// line for a program.
    pub(crate) fn print_json(&self, text: &str) -> Result<()> {
        let unreadable =
            |e: serde_json::Error| Failure::no(format!("cannot read the supervisor's answer: {e}"));
        let mut line = if self.width.is_some() {
            let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
            serde_json::to_string_pretty(&value).map_err(unreadable)?
        } else {
            text.trim_end().to_owned()
        };
        line.push('\n');
        self.print(&line)
    }

    /// Tells the person something that is not data.
    pub(crate) fn tell(&self, words: &impl Display) {
        if !self.quiet {
            say(words);
        }
    }

    /// Names what is about to be done and asks whether it shall be: on a terminal a
    /// person, elsewhere `--yes`.
    pub(crate) fn confirm(&self, what: &str, sure: Sure) -> Result<Go> {
        if sure.dry_run {
            say(&format_args!("would {what}"));
            return Ok(Go::Pretend);
        }
        if sure.yes {
            return Ok(Go::Yes);
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(format!("this would {what}"))
                .hint("say --yes to do it, or --dry-run to see it"));
        }
        let mut err = io::stderr().lock();
        let asked = write!(err, "{what}? [y/N] ").and_then(|()| err.flush());
        asked.map_err(|e| Failure::io("cannot ask on", "standard error", &e))?;
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|e| Failure::io("cannot read", "standard input", &e))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(Go::Yes),
            _ => Ok(Go::No),
        }
    }

    /// What to type to do something with the same supervisor.
    pub(crate) fn command(&self, rest: impl Display) -> String {
        format!("{} {rest}", self.link.target().command())
    }
}
