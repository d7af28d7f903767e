//! From what the jobs of an array have in common to each of them.

use super::{Expansion, INDEX, Member};
use crate::job::{JobId, JobSpec};
use crate::queueing::ArrayPlace;

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

impl Expansion {
    /// Names in braces that stay in the command as they are, where a name that would be
    /// filled in is not used: one of them may be meant for it.
    #[must_use]
    pub fn strangers<'c>(&self, command: &'c [String]) -> Vec<&'c str> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let in_braces = |word: &'c String| {
            let pieces = word.split('{').skip(1).filter_map(|piece| piece.split_once('}'));
            pieces.map(|(name, _)| name).filter(|name| is_name(name))
        };
        let used: Vec<&str> = command.iter().flat_map(in_braces).collect();
        // The index of a sweep counts its combinations, and is seldom wanted.
        let index = self.sweep.is_empty().then_some(INDEX);
        if self.names().chain(index).all(|name| used.contains(&name)) {
            return Vec::new();
        }
        let is_known = |name: &str| name == INDEX || self.names().any(|known| known == name);
        let mut strangers: Vec<_> = used.into_iter().filter(|name| !is_known(name)).collect();
        strangers.dedup();
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
        let mut rest = word;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let inner = &rest[at + 1..];
            if let Some(after) = inner.strip_prefix('{') {
                out.push('{');
                rest = after;
                continue;
            }
            let known = inner
                .split_once('}')
                .and_then(|(name, after)| self.value(name).map(|value| (value, after)));
            match known {
                Some((value, after)) => {
                    out.push_str(&value);
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = inner;
                }
            }
        }
        out + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        if name == INDEX {
            return Some(self.index.to_string());
        }
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }
}
