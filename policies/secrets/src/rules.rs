//! Rules ready for use: patterns read, words sorted, and where to look for each.

use crate::charset::CharSet;
use crate::grams::{Filter, GRAM_BYTES, Gram, Table, gram};
use crate::names::Words;
use crate::pattern::{self, Part, Sets};
use crate::scan::RuleId;
use crate::source::{RuleFault, ShapeSource, Source};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most groups of four bytes that one shape may begin with: more would stop the
/// search at every other word.
const MAX_BEGINNINGS: usize = 512;

/// Rules that are no shapes.
pub(crate) const BUILT_IN: [&str; 12] = [
    "injected-secret",
    "named-secret",
    "url-password",
    "authorization-header",
    "cookie",
    "private-key",
    "high-entropy",
    "placeholder",
    "default-in-reference",
    "not-a-reference",
    "text-beside-reference",
    "basic-credentials",
];
pub(crate) const INJECTED: RuleId = RuleId(0);
pub(crate) const NAMED: RuleId = RuleId(1);
pub(crate) const URL_PASSWORD: RuleId = RuleId(2);
pub(crate) const AUTHORIZATION: RuleId = RuleId(3);
pub(crate) const COOKIE: RuleId = RuleId(4);
pub(crate) const PRIVATE_KEY: RuleId = RuleId(5);
pub(crate) const ENTROPY: RuleId = RuleId(6);
pub(crate) const PLACEHOLDER: RuleId = RuleId(7);
pub(crate) const DEFAULT_IN_REFERENCE: RuleId = RuleId(8);
pub(crate) const NOT_A_REFERENCE: RuleId = RuleId(9);
pub(crate) const BESIDE_REFERENCE: RuleId = RuleId(10);
pub(crate) const BASIC_CREDENTIALS: RuleId = RuleId(11);

/// Targets of the table that are no shapes.
pub(crate) const NAME: u16 = u16::MAX;
pub(crate) const URL: u16 = u16::MAX - 1;
pub(crate) const PEM: u16 = u16::MAX - 2;
pub(crate) const BEARER: u16 = u16::MAX - 3;
pub(crate) const LOGIN: u16 = u16::MAX - 4;
const MAX_SHAPES: usize = 4096;

/// One alternative of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) rule: RuleId,
    pub(crate) before: Option<Part>,
    pub(crate) parts: Box<[Part]>,
    pub(crate) checksum: bool,
}

/// Everything that is known of secrets. It decides the same for everybody who has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Rules {
    pub(crate) data: Stored,
    pub(crate) filter: Filter,
}

/// What cannot be found out again from the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    ids: Vec<Box<str>>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) sets: Sets,
    pub(crate) table: Table,
    pub(crate) words: Words,
    pub(crate) void: Vec<Box<str>>,
    pub(crate) nothing: Vec<Box<str>>,
    pub(crate) placeholders: Vec<Box<str>>,
    pub(crate) allow: Vec<(Box<[Part]>, Box<str>)>,
}

impl From<Stored> for Rules {
    fn from(stored: Stored) -> Self {
        let filter = Filter::of(&[&stored.table]);
        Self { data: stored, filter }
    }
}

impl From<Rules> for Stored {
    fn from(rules: Rules) -> Self {
        rules.data
    }
}

impl Rules {
    /// Reads what the rules say.
    ///
    /// # Errors
    /// Every rule that cannot be used.
    pub fn new(source: &Source) -> Result<Self, Vec<RuleFault>> {
        let mut build = Build::default();
        let mut faults = Vec::new();
        for shape in &source.shapes {
            if let Err(what) = build.shape(shape) {
                faults.push(RuleFault { rule: shape.id.clone(), what });
            }
        }
        let mut allow = Vec::new();
        for rule in &source.allow {
            match pattern::parse(&rule.pattern, &mut build.sets) {
                _ if rule.reason.trim().is_empty() => faults.push(RuleFault {
                    rule: rule.pattern.clone(),
                    what: "has no reason: say why it is harmless".to_owned(),
                }),
                Ok(all) => allow.extend(
                    all.into_iter().map(|parts| (parts.into(), rule.reason.as_str().into())),
                ),
                Err(what) => faults.push(RuleFault { rule: rule.pattern.clone(), what }),
            }
        }
        let words = Words::new(&source.names);
        for word in words.anchors() {
            build.word(word);
        }
        build.fixed();
        if !faults.is_empty() {
            return Err(faults);
        }
        let sorted = |list: &[String]| -> Vec<Box<str>> {
            list.iter()
                .map(String::as_str)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(Into::into)
                .collect()
        };
        let ids = BUILT_IN.iter().map(|id| (*id).into()).chain(build.ids).collect();
        Ok(Stored {
            ids,
            shapes: build.shapes,
            sets: build.sets,
            table: Table::new(build.entries),
            words,
            void: sorted(&source.values.void),
            nothing: sorted(&source.values.nothing),
            placeholders: source.values.placeholders.iter().map(|p| p.as_str().into()).collect(),
            allow,
        }
        .into())
    }

    /// The name of a rule.
    #[must_use]
    pub fn id(&self, rule: RuleId) -> &str {
        self.data.ids.get(usize::from(rule.0)).map_or("unknown", AsRef::as_ref)
    }

    /// Number of shapes that have a name of their own.
    #[must_use]
    pub fn shapes(&self) -> usize {
        self.data.ids.len() - BUILT_IN.len()
    }
}

#[derive(Default)]
struct Build {
    ids: Vec<Box<str>>,
    shapes: Vec<Shape>,
    sets: Sets,
    entries: Vec<(Gram, u16)>,
}

impl Build {
    fn shape(&mut self, source: &ShapeSource) -> Result<(), String> {
        let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if source.id.is_empty() || source.id.len() > 48 || !source.id.chars().all(is_id) {
            return Err("is no id: use small letters, digits and hyphens".to_owned());
        }
        if BUILT_IN.contains(&source.id.as_str()) || self.ids.iter().any(|id| **id == *source.id) {
            return Err("is there twice: choose another id".to_owned());
        }
        let number = BUILT_IN.len() + self.ids.len();
        let rule = RuleId(u16::try_from(number).map_err(|_| "is one shape too many")?);
        let before = match &source.before {
            None => None,
            Some(text) => match pattern::parse(text, &mut self.sets)?.as_mut_slice() {
                [one] if matches!(one.as_slice(), [Part::Run { .. }]) => one.pop(),
                _ => return Err(format!("before = {text:?} must be one set with a count")),
            },
        };
        for parts in pattern::parse(&source.pattern, &mut self.sets)? {
            let grams = self.beginnings(&parts)?;
            let target = u16::try_from(self.shapes.len()).unwrap_or(u16::MAX);
            if self.shapes.len() >= MAX_SHAPES {
                return Err("is one shape too many".to_owned());
            }
            self.entries.extend(grams.into_iter().map(|gram| (gram, target)));
            self.shapes.push(Shape {
                rule,
                before: before.clone(),
                parts: parts.into(),
                checksum: source.checksum,
            });
        }
        self.ids.push(source.id.as_str().into());
        Ok(())
    }

    fn beginnings(&self, parts: &[Part]) -> Result<BTreeSet<Gram>, String> {
        let first: [CharSet; GRAM_BYTES] = pattern::beginning(parts, &self.sets)
            .ok_or("is too short: it needs at least four bytes")?;
        let mut grams: BTreeSet<Gram> = BTreeSet::new();
        let places = first.map(|set| {
            let folded: BTreeSet<u8> = set.members().map(|byte| byte | 0x20).collect();
            folded
        });
        let product: usize = places.iter().map(BTreeSet::len).product();
        if product > MAX_BEGINNINGS {
            return Err(format!(
                "can begin with {product} different groups of four bytes, {MAX_BEGINNINGS} are \
                 allowed: begin it with more literals, and put the rest into `before`"
            ));
        }
        for a in &places[0] {
            for b in &places[1] {
                for c in &places[2] {
                    grams.extend(places[3].iter().map(|d| gram([*a, *b, *c, *d])));
                }
            }
        }
        Ok(grams)
    }

    /// Where names with this word are looked for. Behind a short word stands what
    /// can end a name.
    fn word(&mut self, word: &str) {
        const ENDS: &[u8] = b"=:\"'\\ \t_-.])>s0123456789|%,V\x1b`";
        match *word.as_bytes() {
            [a, b, c, d, ..] => self.entries.push((gram([a, b, c, d]), NAME)),
            [a, b, c] => self.entries.extend(ENDS.iter().map(|d| (gram([a, b, c, *d]), NAME))),
            [a, b] => {
                // Two letters are too few by themselves: `_pw=`.
                for before in b"_-.\"'" {
                    self.entries.extend(ENDS.iter().map(|d| (gram([*before, a, b, *d]), NAME)));
                }
            }
            _ => {}
        }
    }

    fn fixed(&mut self) {
        for byte in b'!'..=b'~' {
            self.entries.push((gram([b':', b'/', b'/', byte]), URL));
        }
        self.entries.push((gram(*b":\\/\\"), URL));
        self.entries.push((gram(*b"%3A%"), URL));
        self.entries.push((gram(*b"---B"), PEM));
        self.entries.push((gram(*b"bear"), BEARER));
        self.entries.push((gram(*b"basi"), BEARER));
        for byte in b'!'..=b'~' {
            self.entries.push((gram([b'-', b'u', b' ', byte]), LOGIN));
        }
        self.entries.push((gram(*b"user"), LOGIN));
    }
}

/// A marker for what was blotted out.
impl Rules {
    /// What stands in the place of a secret.
    #[must_use]
    pub fn marker(&self, rule: RuleId) -> Cow<'static, str> {
        Cow::Owned(format!("[redacted:{}]", self.id(rule)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::LazyLock;

    static SOURCE: LazyLock<Source> = LazyLock::new(|| {
        toml::from_str(include_str!("../vendor.toml")).expect("the vendor's rules are TOML")
    });
    static VENDOR: LazyLock<Rules> =
        LazyLock::new(|| Rules::new(&SOURCE).expect("the vendor's rules are sound"));

    pub(crate) fn vendor() -> &'static Rules {
        &VENDOR
    }

    #[test]
    fn the_vendor_knows_well_over_a_hundred_shapes() {
        assert!(vendor().shapes() >= 120, "{}", vendor().shapes());
        assert!(vendor().data.table.len() < 8000, "{}", vendor().data.table.len());
    }

    #[test]
    fn a_site_adds_replaces_and_removes() {
        let mut source = SOURCE.clone();
        let site = "remove = [\"aws-access-key-id\"]\nshapes = [\n\
                    { id = \"site-key\", match = \"SITE-[0-9]{8}\" },\n\
                    { id = \"sk-api-key\", match = \"sk-[a-z]{99,}\" }]\n\
                    [names]\nsecret = [\"parole\"]\n";
        source.add(toml::from_str(site).expect("TOML"));
        let rules = Rules::new(&source).expect("sound");
        assert_eq!(rules.shapes(), vendor().shapes());
        assert_eq!(rules.kind(b"db_parole"), crate::names::Kind::Secret);
    }

    #[test]
    fn rules_that_cannot_be_used_are_named() {
        let wrong = "shapes = [{ id = \"a\", match = \"abc\" }, { id = \"b\", match = \"[a-z]{9}\" }]\n\
                     allow = [{ match = \"abcd\", reason = \" \" }]";
        let source: Source = toml::from_str(wrong).expect("TOML");
        let faults = Rules::new(&source).expect_err("three faults");
        let names: Vec<&str> = faults.iter().map(|fault| fault.rule.as_str()).collect();
        assert_eq!(names, ["a", "b", "abcd"], "{faults:?}");
    }
}
