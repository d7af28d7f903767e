//! Finding secrets in running text: shapes, `name = value` in all its spellings,
//! headers, URLs, keys in armour, and secrets that are known by heart.

mod assignment;
mod carry;
#[cfg(test)]
mod carry_tests;
pub(crate) mod command;
mod login;
mod reading;
mod spoken;
#[cfg(test)]
mod told_tests;

use crate::charset::CharSet;
use crate::grams::{Filter, GRAM_BYTES};
use crate::injected::Injected;
use crate::pattern::{self, Attempt, Runs, Step};
use crate::pem::{self, Key};
use crate::rules::{self, Rules};
use crate::value;
use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use carry::Carry;

/// The number of a rule; [`Rules::id`] has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(crate) u16);

/// A secret in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
    /// Why it is one.
    pub rule: RuleId,
}

/// What is done with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is refused: placeholders count, and every literal of a secret name.
    Config,
    /// It is blotted out: what is masked already and what is only spoken of stays.
    Log,
}

/// Longest text that is held back until it is known what it is.
pub(crate) const HOLD_BYTES: usize = 4096;
/// How far back the beginning of a name, or what is before a match, is looked for.
pub(crate) const CONTEXT_BYTES: usize = 256;
/// So much of a value says whether it is a secret. Only of one that is, more is read, and
/// nothing in it is looked at again: where names follow each other without an end, each of
/// them would read all that is behind it.
pub(crate) const MAX_JUDGED_BYTES: usize = 512;

/// What may stand before the part of a key that tells it, and how much at most.
const KEYLIKE: CharSet = CharSet::of(b"0-9A-Za-z+/_~.-");
const MAX_BEFORE_BYTES: usize = 80;
const WORDLIKE: CharSet = CharSet::of(b"0-9A-Za-z");
const TOKEN: CharSet = CharSet::of(b"0-9A-Za-z+/=_.%~-");

/// One decision at one place.
pub(crate) enum Found {
    No,
    Yes(Span),
    /// It takes more text to decide. If it is a secret, that begins here or later.
    Open(usize),
}

/// How far a search came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    /// Up to here it is known what is a secret; all spans end there or before.
    pub(crate) until: usize,
    /// Up to here there is nothing else that may be part of one.
    pub(crate) harmless_until: usize,
}

/// A search with everything it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finder<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) filter: Filter<'a>,
    pub(crate) injected: Option<&'a Injected>,
    pub(crate) manner: Manner,
    /// Of this text alone.
    pub(crate) runs: &'a Runs,
}

impl Finder<'_> {
    /// Finds the secrets of `text` from `from` on; what is before is only context.
    /// `last` says that nothing will follow.
    pub(crate) fn find(
        &self,
        text: &[u8],
        from: usize,
        last: bool,
        carry: &mut Carry,
        spans: &mut Vec<Span>,
    ) -> Decided {
        let up_to = |at| Decided { until: at, harmless_until: at };
        let mut at = from;
        if *carry != Carry::Nothing {
            at = self.go_on(text, from, last, carry, spans);
            if *carry != Carry::Nothing {
                return up_to(at);
            }
        }
        // Names end at most here; a second hit within one is not looked at again.
        let mut named_until = at;
        while let Some((hit, gram)) = self.filter.next(text, at) {
            let mut found = self.decide(text, hit, gram, last, &mut named_until, carry);
            let is_long = text.len() - hit >= HOLD_BYTES;
            let is_cut = is_long && matches!(found, Found::Open(_));
            if is_cut {
                // Too long to wait for: what is there is judged as it is, and what
                // follows a token belongs to it.
                found = self.decide(text, hit, gram, true, &mut hit.clone(), carry);
            }
            let span = match found {
                Found::No => {
                    at = hit + 1;
                    continue;
                }
                Found::Open(secret) => return self.wait(text, from, hit, secret, spans),
                Found::Yes(span) => Span { start: span.start.max(from), ..span },
            };
            self.between(text, hit + 1, span.start, from, spans);
            let (end, open) = self.reach(text, hit + 1, span.end, last);
            if let Some(held) = open {
                if !is_long || held <= span.start {
                    *carry = Carry::Nothing;
                    return self.wait(text, from, hit, span.start, spans);
                }
                push(spans, Span { end: held, ..span });
                if *carry == Carry::Nothing {
                    *carry = Carry::InToken;
                }
                return up_to(held);
            }
            push(spans, Span { end, ..span });
            if is_cut && end == text.len() && *carry == Carry::Nothing {
                *carry = Carry::InToken;
                return up_to(end);
            }
            at = end.max(hit + 1);
            if *carry != Carry::Nothing {
                at = at.max(self.go_on(text, end, last, carry, spans));
                if *carry != Carry::Nothing {
                    return up_to(at);
                }
            }
        }
        if last {
            return up_to(text.len());
        }
        let from = spans.last().map_or(from, |span| span.end.max(from));
        let until = self.undecided_tail(text, at.max(from)).min(unfinished_word(text).max(from));
        Decided { until, harmless_until: self.harmless(text, text.len(), text.len()) }
    }

    /// What stands between that by which a secret was found and the secret itself may
    /// hold others: `mysql -h URL -pword`.
    fn between(&self, text: &[u8], hit: usize, start: usize, from: usize, spans: &mut Vec<Span>) {
        let text = text.get(..start).unwrap_or(text);
        let (mut at, mut named_until) = (hit, hit);
        let mut found = Vec::new();
        while let Some((hit, gram)) = self.filter.next(text, at) {
            at = hit + 1;
            let mut carry = Carry::Nothing;
            if let Found::Yes(span) =
                self.decide(text, hit, gram, true, &mut named_until, &mut carry)
                && span.end > from
            {
                found.push(Span { start: span.start.max(from), ..span });
            }
        }
        found.sort_unstable_by_key(|span| span.start);
        found.into_iter().for_each(|span| push(spans, span));
    }

    /// It takes more text to decide what is at `hit`. If it is a secret, that begins at
    /// `secret` or later.
    fn wait(&self, text: &[u8], from: usize, hit: usize, secret: usize, spans: &[Span]) -> Decided {
        let harmless_until = self.harmless(text, hit + 1, secret);
        // What tells a key may stand behind its beginning.
        let known = spans.last().map_or(from, |span| span.end.max(from));
        Decided { until: secret.min(hit).max(known), harmless_until }
    }

    /// The last bytes may be the beginning of a group.
    fn undecided_tail(&self, text: &[u8], at: usize) -> usize {
        let first = text.len().saturating_sub(GRAM_BYTES - 1).max(at.min(text.len()));
        let may = |start: &usize| {
            let cut = text.get(*start..).unwrap_or_default();
            self.rules.may_begin(cut) || self.injected.is_some_and(|known| known.may_begin(cut))
        };
        (first..text.len()).find(may).unwrap_or(text.len())
    }

    /// How far up to `secret`, where one may begin, no other may. The first letters of a
    /// provider's prefix are no secret, those of an injected one are.
    fn harmless(&self, text: &[u8], from: usize, secret: usize) -> usize {
        let mut until = secret;
        let mut at = from;
        while let Some((hit, gram)) = self.filter.next(text, at).filter(|(hit, _)| *hit < until) {
            let is_name = |target| target == rules::NAME;
            if self.injected.is_some_and(|known| known.has(gram))
                || !self.rules.table().targets(gram).all(is_name)
            {
                until = hit;
            }
            at = hit + 1;
        }
        if let Some(known) = self.injected {
            let cut = |start: &usize| known.may_begin(text.get(*start..).unwrap_or_default());
            let first = text.len().saturating_sub(GRAM_BYTES - 1);
            until = (first..text.len()).find(cut).map_or(until, |start| until.min(start));
        }
        // A long word with digits may be the part of a key before what tells it.
        let word = unfinished_word(text);
        let shown = text.get(word..).unwrap_or_default();
        let may_be_key = shown.len() >= 20 && shown.iter().any(u8::is_ascii_digit);
        if may_be_key { until.min(word) } else { until }
    }

    fn decide(
        &self,
        text: &[u8],
        hit: usize,
        gram: u32,
        last: bool,
        named_until: &mut usize,
        carry: &mut Carry,
    ) -> Found {
        if let Some(injected) = self.injected {
            match injected.at(text, hit, gram, last) {
                Found::No => {}
                found => return found,
            }
        }
        let mut open: Option<usize> = None;
        let mut wants_name = false;
        for target in self.rules.table().targets(gram) {
            let found = match target {
                rules::NAME => {
                    wants_name = true;
                    continue;
                }
                rules::URL => self.url(text, hit, last),
                rules::PEM => self.key(text, hit, last, carry),
                rules::BEARER => self.bearer(text, hit, last),
                rules::LOGIN => self.login(text, hit, last),
                rules::OPTION => self.option(text, hit, last),
                rules::VERB => self.verb(text, hit, last),
                shape => self.shape(usize::from(shape), text, hit, last),
            };
            match found {
                Found::No => {}
                Found::Yes(_) => return found,
                Found::Open(at) => open = Some(open.map_or(at, |before| before.min(at))),
            }
        }
        if wants_name && hit >= *named_until {
            match self.assignment(text, hit, last, named_until) {
                Found::No => {}
                Found::Open(at) => return Found::Open(open.map_or(at, |before| before.min(at))),
                found => return found,
            }
        }
        open.map_or(Found::No, Found::Open)
    }

    /// A shape at a place.
    pub(crate) fn shape(&self, shape: usize, text: &[u8], at: usize, last: bool) -> Found {
        let Some(shape) = self.rules.shape(shape) else { return Found::No };
        let mut start = at;
        if let Some(Step::Run { set, min, max }) = self.rules.before(shape) {
            let earlier = text.get(at.saturating_sub(usize::from(max))..at).unwrap_or_default();
            let run = set.run_back(earlier);
            if run < usize::from(min) {
                return Found::No;
            }
            start -= run;
        }
        if text.get(start).is_some_and(|byte| WORDLIKE.has(*byte)) && !is_border(text, start) {
            return Found::No;
        }
        match pattern::match_at(self.rules.steps_of(shape), text, at, last, self.runs) {
            Attempt::No => Found::No,
            Attempt::Open => Found::Open(start),
            Attempt::Yes(mut end) => {
                let next = text.get(end);
                if next.is_none() && !last {
                    return Found::Open(start);
                }
                // More of the same kind: another thing that begins likewise.
                if next.is_some_and(|byte| WORDLIKE.has(*byte)) {
                    return Found::No;
                }
                let matched = text.get(at..end).unwrap_or_default();
                if self.manner == Manner::Log
                    && (self.rules.is_example(shape, matched) || value::is_mask(matched))
                {
                    return Found::No;
                }
                // The full stop of a sentence.
                while end > at && text.get(end - 1).is_some_and(|byte| *byte == b'.') {
                    end -= 1;
                }
                Found::Yes(Span { start, end, rule: shape.rule })
            }
        }
    }

    /// Any shape that begins exactly here.
    pub(crate) fn any_shape(&self, text: &[u8], at: usize) -> Option<Span> {
        let bytes = text.get(at..)?.first_chunk::<GRAM_BYTES>()?;
        let targets = self.rules.table().targets(crate::grams::gram(*bytes));
        targets.into_iter().find_map(|target| {
            match self.shape(usize::from(target), text, at, true) {
                Found::Yes(span) => Some(span),
                _ => None,
            }
        })
    }

    /// Not the secret itself: a reference, a mask, in a log a placeholder.
    pub(crate) fn is_spoken_of(&self, secret: &[u8]) -> bool {
        let words = String::from_utf8_lossy(secret);
        let reference = value::reference(&words);
        match self.manner {
            // What is wrong with a reference is said where values are judged.
            Manner::Config => {
                matches!(reference, value::Reference::Elsewhere | value::Reference::Wrong)
                    || words.starts_with("${")
            }
            Manner::Log => {
                reference != value::Reference::None
                    || value::is_mask(secret)
                    || words.starts_with(['<', '[', '{', '%'])
                        && words.ends_with(['>', ']', '}', 's', 'r', 'd'])
                    || self.rules.is_placeholder(&words)
            }
        }
    }

    fn key(&self, text: &[u8], hit: usize, last: bool, carry: &mut Carry) -> Found {
        let rule = rules::PRIVATE_KEY;
        match pem::begins(text, hit, last) {
            Key::None => Found::No,
            Key::Open => Found::Open(hit),
            Key::Whole(start, end) => Found::Yes(Span { start, end, rule }),
            Key::Begins(start) => {
                let rest = text.get(start..).unwrap_or_default();
                let line = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                let shown = rest.get(..line).unwrap_or_default();
                let shown = shown.strip_suffix(b"\r").unwrap_or(shown).len();
                *carry = Carry::InKey(0);
                Found::Yes(Span { start, end: start + shown, rule })
            }
        }
    }
}

/// Where the last word begins, if the text ends in the middle of one that is not too
/// long to be the beginning of a key.
fn unfinished_word(text: &[u8]) -> usize {
    let end = text.get(text.len().saturating_sub(MAX_BEFORE_BYTES + GRAM_BYTES)..);
    let run = KEYLIKE.run_back(end.unwrap_or(text));
    if run > MAX_BEFORE_BYTES { text.len() } else { text.len() - run }
}

/// No letter or digit stands before it, but the end of an escape may.
pub(crate) fn is_border(text: &[u8], at: usize) -> bool {
    let before = text.get(at.saturating_sub(3)..at).unwrap_or_default();
    match before {
        [.., b'\\', b'n' | b't' | b'r' | b'"'] => true,
        [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => true,
        [.., last] if WORDLIKE.has(*last) => ends_colour(text, at),
        _ => true,
    }
}

/// Whether `m` before a place ends a sequence that colours.
pub(crate) fn ends_colour(text: &[u8], at: usize) -> bool {
    let before = text.get(at.saturating_sub(16)..at).unwrap_or_default();
    let Some(rest) = before.strip_suffix(b"m") else { return false };
    let numbers = CharSet::of(b"0-9;:").run_back(rest);
    rest.get(..rest.len() - numbers).is_some_and(|r| r.ends_with(b"["))
}

fn push(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(before) if span.start < before.end => before.end = before.end.max(span.end),
        _ => spans.push(span),
    }
}
