//! What a file of rules holds, and how files are put together.

use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;

/// Rules as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    pub(crate) shapes: Vec<ShapeSource>,
    pub(crate) allow: Vec<AllowSource>,
    pub(crate) names: NameSource,
    pub(crate) values: ValueSource,
    /// Ids of shapes that are taken away.
    pub(crate) remove: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeSource {
    pub(crate) id: String,
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    pub(crate) before: Option<String>,
    #[serde(default)]
    pub(crate) checksum: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowSource {
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NameSource {
    pub(crate) secret: Vec<String>,
    pub(crate) weak: Vec<String>,
    pub(crate) token: Vec<String>,
    pub(crate) key: Vec<String>,
    pub(crate) phrases: Vec<String>,
    pub(crate) makes: Vec<String>,
    pub(crate) counted: Vec<String>,
    pub(crate) plain: Vec<String>,
    pub(crate) about: Vec<String>,
    pub(crate) digest: Vec<String>,
    pub(crate) neutral: Vec<String>,
    pub(crate) asks: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ValueSource {
    pub(crate) void: Vec<String>,
    pub(crate) nothing: Vec<String>,
    pub(crate) placeholders: Vec<String>,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct RuleFault {
    /// The id or the pattern of the rule.
    pub rule: String,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl Source {
    /// Adds what a later file says.
    pub fn add(&mut self, later: Self) {
        let Self { shapes, allow, names, values, remove } = later;
        self.shapes.retain(|known| {
            !remove.contains(&known.id) && shapes.iter().all(|shape| shape.id != known.id)
        });
        self.shapes.extend(shapes);
        self.allow.extend(allow);
        let mine = &mut self.names;
        for (list, more) in [
            (&mut mine.secret, names.secret),
            (&mut mine.weak, names.weak),
            (&mut mine.token, names.token),
            (&mut mine.key, names.key),
            (&mut mine.phrases, names.phrases),
            (&mut mine.makes, names.makes),
            (&mut mine.counted, names.counted),
            (&mut mine.plain, names.plain),
            (&mut mine.about, names.about),
            (&mut mine.digest, names.digest),
            (&mut mine.neutral, names.neutral),
            (&mut mine.asks, names.asks),
            (&mut self.values.void, values.void),
            (&mut self.values.nothing, values.nothing),
            (&mut self.values.placeholders, values.placeholders),
        ] {
            list.extend(more);
        }
    }
}
