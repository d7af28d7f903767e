//! From what the jobs of an array have in common to each of them.

use super::{Expansion, INDEX, Member};
use crate::job::{JobId, JobSpec};
use crate::queueing::ArrayPlace;
use std::collections::BTreeSet;

/// Longest name of a job, its index included.
const MAX_NAME_CHARS: usize = 128;

/// The jobs of an array would take more room together than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "commands and variables of the array's jobs have more than {most} bytes together: pass what \
     is long in a file, or split the array"
)]
pub struct TooLarge {
    /// The most they may have.
    pub most: usize,
}

impl Expansion {
    /// The jobs of which `common` is what they have in common. Who accepts them gives
    /// the array its number.
    ///
    /// # Errors
    /// [`TooLarge`] when their commands and variables have more than `most_bytes`.
    pub fn specs(&self, common: &JobSpec, most_bytes: usize) -> Result<Vec<JobSpec>, TooLarge> {
        let mut specs = Vec::new();
        let mut room = most_bytes;
        for member in self.members() {
            let spec = self.spec(common, &member);
            room = room.checked_sub(spec.text_bytes()).ok_or(TooLarge { most: most_bytes })?;
            specs.push(spec);
        }
        Ok(specs)
    }

    fn spec(&self, common: &JobSpec, member: &Member<'_>) -> JobSpec {
        let mut spec = common.clone();
        for word in &mut spec.command {
            *word = member.fill(word);
        }
        let variables = member.variables.iter();
        spec.env.extend(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        spec.name = name(&common.name, member.index);
        spec.queueing.array = Some(ArrayPlace {
            array: JobId(0),
            index: member.index,
            count: self.count,
            at_once: self.at_once,
        });
        spec
    }
}

/// The name with the index behind it; a long one gives way to the index.
fn name(common: &str, index: u64) -> String {
    let suffix = format!("[{index}]");
    let room = MAX_NAME_CHARS - suffix.len();
    common.chars().take(room).collect::<String>() + &suffix
}

/// What a word of a command consists of.
enum Piece<'w> {
    /// It stays as it is.
    Text(&'w str),
    /// What stands in a pair of braces.
    Braces(&'w str),
}

/// The pieces of what is left of a word. `{{` is a brace.
struct Pieces<'w>(&'w str);

impl<'w> Iterator for Pieces<'w> {
    type Item = Piece<'w>;

    fn next(&mut self) -> Option<Piece<'w>> {
        let Some(inner) = self.0.strip_prefix('{') else {
            let (text, rest) = self.0.split_at(self.0.find('{').unwrap_or(self.0.len()));
            self.0 = rest;
            return (!text.is_empty()).then_some(Piece::Text(text));
        };
        let (brace, single) = self.0.split_at(1);
        if let Some(rest) = inner.strip_prefix('{') {
            self.0 = rest;
            return Some(Piece::Text(brace));
        }
        match inner.split_once('}').filter(|(name, _)| !name.contains('{')) {
            Some((name, rest)) => {
                self.0 = rest;
                Some(Piece::Braces(name))
            }
            None => {
                self.0 = single;
                Some(Piece::Text(brace))
            }
        }
    }
}

impl Expansion {
    /// Names in braces that stay in the command as they are, where a name that would be
    /// filled in is not used: one of them may be meant for it. `${NAME}` is the shell's.
    #[must_use]
    pub fn strangers<'c>(&self, command: &'c [String]) -> BTreeSet<&'c str> {
        let is_known = |name: &str| name == INDEX || self.names().any(|known| known == name);
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let (mut used, mut strangers) = (BTreeSet::new(), BTreeSet::new());
        for word in command {
            let mut after_dollar = false;
            for piece in Pieces(word) {
                match piece {
                    Piece::Braces(name) if is_known(name) => _ = used.insert(name),
                    Piece::Braces(name) if is_name(name) && !after_dollar => {
                        strangers.insert(name);
                    }
                    Piece::Braces(_) | Piece::Text(_) => {}
                }
                after_dollar = matches!(piece, Piece::Text(text) if text.ends_with('$'));
            }
        }
        // The index of a sweep counts its combinations, and is seldom wanted.
        let index = self.sweep.is_empty().then_some(INDEX);
        if self.names().chain(index).all(|name| used.contains(name)) {
            strangers.clear();
        }
        strangers
    }
}

impl Member<'_> {
    /// A word of the command with this job's values in it: `{lr}` for each variable
    /// of the sweep and `{index}`. `{{` is a brace. Everything else stays as it is,
    /// so that programs and JSON in a command need no care.
    #[must_use]
    pub fn fill(&self, word: &str) -> String {
        let mut out = String::with_capacity(word.len());
        for piece in Pieces(word) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Braces(name) => match self.value(name) {
                    Some(value) => out.push_str(&value),
                    None => out.extend(["{", name, "}"]),
                },
            }
        }
        out
    }

    fn value(&self, name: &str) -> Option<String> {
        if name == INDEX {
            return Some(self.index.to_string());
        }
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }
}
