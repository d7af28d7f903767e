//! Rules ready for use: patterns read, words sorted, and where to look for each.

use crate::charset::CharSet;
use crate::flat::{self, Draft, Header, Section, Texts};
use crate::grams::{self, FILTER_BYTES, Filter, GRAM_BYTES, Gram, Table, gram};
use crate::names::{self, Words};
use crate::pattern::{self, Part, Sets, Step, Steps};
use crate::scan::RuleId;
use crate::scan::command::{FLAGS, GLUED, VERBS};
use crate::source::{RuleFault, ShapeSource, Source};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

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
pub(crate) const OPTION: u16 = u16::MAX - 5;
pub(crate) const VERB: u16 = u16::MAX - 6;
const MAX_SHAPES: u16 = 4096;

/// One alternative of a shape: where its steps are, and what else it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rule: RuleId,
    pub(crate) checksum: bool,
    /// The first step is what stands before the match.
    has_before: bool,
    start: u16,
    count: u8,
}

const SHAPE_BYTES: usize = 7;
/// Of an allowed form: where its steps are.
const ALLOW_BYTES: usize = 3;

impl Shape {
    fn to_bytes(self) -> [u8; SHAPE_BYTES] {
        let ([a, b], [c, d]) = (self.rule.0.to_le_bytes(), self.start.to_le_bytes());
        [a, b, u8::from(self.checksum), u8::from(self.has_before), c, d, self.count]
    }

    fn from_bytes([a, b, checksum, has_before, c, d, count]: [u8; SHAPE_BYTES]) -> Self {
        Self {
            rule: RuleId(u16::from_le_bytes([a, b])),
            checksum: checksum != 0,
            has_before: has_before != 0,
            start: u16::from_le_bytes([c, d]),
            count,
        }
    }
}

/// Everything that is known of secrets. It decides the same for everybody who has it.
#[derive(Clone)]
pub struct Rules {
    header: Header,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Own(Box<[u8]>),
    Lasting(&'static [u8]),
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("bytes", &self.bytes().len()).finish_non_exhaustive()
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
        for rule in &source.allow {
            match pattern::parse(&rule.pattern, &mut build.sets) {
                _ if rule.reason.trim().is_empty() => faults.push(RuleFault {
                    rule: rule.pattern.clone(),
                    what: "has no reason: say why it is harmless".to_owned(),
                }),
                Ok(all) => all.iter().for_each(|parts| build.allow(parts)),
                Err(what) => faults.push(RuleFault { rule: rule.pattern.clone(), what }),
            }
        }
        for word in names::write(&source.names, &mut build.draft) {
            build.word(&word);
        }
        build.fixed();
        if !faults.is_empty() {
            return Err(faults);
        }
        let Build { ids, sets, entries, mut draft, .. } = build;
        let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        let values = &source.values;
        draft.texts(Section::Ids, BUILT_IN.iter().copied().chain(ids.iter().map(AsRef::as_ref)));
        draft.texts(Section::Void, sorted(&values.void));
        draft.texts(Section::Nothing, sorted(&values.nothing));
        draft.texts(Section::Placeholders, &values.placeholders);
        sets.write(&mut draft);
        grams::write(entries, &mut draft);
        let (header, bytes) = draft.finish();
        Ok(Self { header, bytes: Bytes::Own(bytes) })
    }

    /// How many bytes of rules tell where the others are.
    pub const HEADER_BYTES: usize = flat::HEADER_BYTES;

    /// The rules, for another process of the same version.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Lasting(bytes) => bytes,
        }
    }

    /// Rules that another process made, where they are. `header` is a copy of the first
    /// [`Self::HEADER_BYTES`], so that `bytes` is not read before it is needed. `None`:
    /// these are no rules, or those of another version.
    #[must_use]
    pub fn in_place(header: &[u8], bytes: &'static [u8]) -> Option<Self> {
        let header = Header::read(header, bytes.len())?;
        let filter = header.part(Section::Filter, bytes);
        (filter.len() == FILTER_BYTES).then_some(Self { header, bytes: Bytes::Lasting(bytes) })
    }

    fn part(&self, section: Section) -> &[u8] {
        self.header.part(section, self.bytes())
    }

    pub(crate) fn filter(&self) -> Filter<'_> {
        // Who made or took these rules saw to it that it is one.
        Filter::of(self.part(Section::Filter)).expect("it was looked at when they were taken")
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table {
            starts: self.part(Section::Starts),
            grams: self.part(Section::Grams),
            targets: self.part(Section::Targets),
        }
    }

    /// Whether something may begin with these up to three bytes.
    pub(crate) fn may_begin(&self, cut: &[u8]) -> bool {
        grams::may_begin(self.part(Section::Begins), cut)
    }

    pub(crate) fn texts(&self, section: Section) -> Texts<'_> {
        Texts { places: self.part(section), pool: self.part(Section::Pool) }
    }

    pub(crate) fn words(&self) -> Words<'_> {
        Words { words: self.part(Section::Words), phrases: self.texts(Section::Phrases) }
    }

    fn steps(&self) -> Steps<'_> {
        Steps {
            parts: self.part(Section::Parts),
            sets: self.part(Section::Sets),
            pool: self.part(Section::Pool),
        }
    }

    pub(crate) fn shape(&self, number: usize) -> Option<Shape> {
        let (shapes, _) = self.part(Section::Shapes).as_chunks();
        shapes.get(number).copied().map(Shape::from_bytes)
    }

    /// What stands before a match of a shape, if that is asked.
    pub(crate) fn before(&self, shape: Shape) -> Option<Step<'_>> {
        shape.has_before.then(|| self.steps().of(shape.start, 1).next())?
    }

    /// What a match of a shape is made of.
    pub(crate) fn steps_of(&self, shape: Shape) -> impl Iterator<Item = Step<'_>> {
        self.steps().of(shape.start, shape.count).skip(usize::from(shape.has_before))
    }

    /// The forms of tokens that are known to be harmless.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = impl Iterator<Item = Step<'_>>> {
        let (allowed, _) = self.part(Section::Allow).as_chunks::<ALLOW_BYTES>();
        let steps = self.steps();
        allowed.iter().map(move |[a, b, count]| steps.of(u16::from_le_bytes([*a, *b]), *count))
    }

    /// The name of a rule.
    #[must_use]
    pub fn id(&self, rule: RuleId) -> &str {
        let id = self.texts(Section::Ids).get(usize::from(rule.0));
        id.and_then(|id| str::from_utf8(id).ok()).unwrap_or("unknown")
    }

    /// Number of shapes that have a name of their own.
    #[must_use]
    pub fn shapes(&self) -> usize {
        self.texts(Section::Ids).iter().count() - BUILT_IN.len()
    }

    /// What stands in the place of a secret.
    #[must_use]
    pub fn marker(&self, rule: RuleId) -> String {
        ["[redacted:", self.id(rule), "]"].concat()
    }
}

#[derive(Default)]
struct Build {
    ids: Vec<Box<str>>,
    sets: Sets,
    entries: Vec<(Gram, u16)>,
    draft: Draft,
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
            let target = self.draft.count(Section::Shapes, SHAPE_BYTES);
            if target >= MAX_SHAPES {
                return Err("is one shape too many".to_owned());
            }
            self.entries.extend(grams.into_iter().map(|gram| (gram, target)));
            let (start, count) = pattern::write(before.iter().chain(&parts), &mut self.draft);
            let (checksum, has_before) = (source.checksum, before.is_some());
            let shape = Shape { rule, checksum, has_before, start, count };
            self.draft.part(Section::Shapes).extend(shape.to_bytes());
        }
        self.ids.push(source.id.as_str().into());
        Ok(())
    }

    fn allow(&mut self, parts: &[Part]) {
        let (start, count) = pattern::write(parts, &mut self.draft);
        let [a, b] = start.to_le_bytes();
        self.draft.part(Section::Allow).extend([a, b, count]);
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
        for flag in FLAGS {
            let apart = [[b' ', b'-', *flag, b' '], [b'"', b'-', *flag, b'"']];
            let listed = [b'\'', b'-', *flag, b'\''];
            self.entries.extend(apart.iter().chain([&listed]).map(|at| (gram(*at), OPTION)));
        }
        for flag in GLUED {
            for before in b" \"'" {
                let grams = (b'!'..=b'~').map(|next| gram([*before, b'-', *flag, next]));
                self.entries.extend(grams.map(|gram| (gram, OPTION)));
            }
        }
        self.entries.extend(VERBS.iter().map(|verb| (gram(**verb), VERB)));
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
        let grams = vendor().table().grams.len() / GRAM_BYTES;
        assert!(grams < 8000, "{grams}");
        // Agents have them in their memory.
        let bytes = vendor().bytes().len();
        assert!(bytes < 96 << 10, "{bytes}");
    }

    #[test]
    fn rules_are_the_same_in_another_process_and_no_others_are_taken() {
        let bytes: &'static [u8] = vendor().bytes().to_vec().leak();
        let header = bytes.get(..Rules::HEADER_BYTES).expect("it is longer");
        let rules = Rules::in_place(header, bytes).expect("they are whole");
        let text = b"AKIAQ3EGZX7K2M4N5P6R and db_password=hunter2 ok";
        assert_eq!(rules.scan_log(text), vendor().scan_log(text));
        assert_eq!(rules.scan_log(text).len(), 2);
        assert!(Rules::in_place(header, &bytes[..bytes.len() - 1]).is_none(), "cut");
        assert!(Rules::in_place(&header[..40], bytes).is_none(), "half a header");
        for at in 0..header.len() {
            let mut other = header.to_vec();
            other[at] ^= 0x80;
            // Whatever it says, nothing is read that is not there.
            if let Some(rules) = Rules::in_place(&other, bytes) {
                let _ = rules.scan_log(text);
            }
        }
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
