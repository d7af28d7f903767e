//! Secrets in configurations of every kind: values are read as their format writes
//! them, then each is judged by its name and by what it is.

mod judge;
#[cfg(test)]
mod judge_tests;
mod name;
mod read;

pub use judge::Finding;
pub use read::{Entry, entries};

use crate::pattern::Runs;
use crate::rules::{self, Rules};
use crate::scan::{Carry, Finder, Manner, Span};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Rules {
    /// The secrets of a configuration file or any other text, in their order.
    #[must_use]
    pub fn scan_config(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        // What stands in the text as it is, comments too.
        for span in self.spans(text.as_bytes(), Manner::Config) {
            found.push(Finding::new(span));
        }
        let mut judged = Vec::new();
        let mut said: Option<(String, String)> = None;
        let mut places: Vec<(usize, usize, String)> = Vec::new();
        // What is no secret for reasons that running text does not show.
        let mut none: Vec<(usize, usize)> = Vec::new();
        for mut entry in entries(text) {
            // `name: DB_PASSWORD` and then `value: …`, as containers have them.
            let own = entry.name.rsplit('.').next().unwrap_or_default().to_lowercase();
            match own.as_str() {
                "value" => {
                    if let Some((parent, name)) = &said
                        && entry.name.strip_suffix(&own).is_some_and(|p| p == parent)
                    {
                        entry.name = format!("{parent}{name}");
                    }
                }
                "name" | "key" | "variable" | "id" => {
                    let parent = entry.name.get(..entry.name.len() - own.len());
                    said = Some((
                        parent.unwrap_or_default().to_owned(),
                        entry.value.clone().into_owned(),
                    ));
                }
                _ => {}
            }
            if self.is_none(&entry) {
                none.push((entry.start, entry.end));
            } else {
                self.judge(&entry, &mut judged);
            }
            places.push((entry.start, entry.end, entry.name));
        }
        none.sort_unstable();
        let is_none = |span: &Span| {
            let before = none.partition_point(|(start, _)| *start <= span.start).checked_sub(1);
            let around = before.and_then(|at| none.get(at));
            span.rule == rules::NAMED && around.is_some_and(|(_, end)| span.end <= *end)
        };
        found.retain(|finding| !is_none(&finding.span));
        found.append(&mut judged);
        places.sort_unstable();
        found.sort_by_key(|f| (f.span.start, core::cmp::Reverse(f.span.end)));
        let mut kept: Vec<Finding> = Vec::new();
        for one in found {
            match kept.last_mut() {
                // Of two that overlap the one that says more stays.
                Some(before) if one.span.start < before.span.end => {
                    let (mut more, less) = if one.weight() > before.weight() {
                        (one, before.clone())
                    } else {
                        (before.clone(), one)
                    };
                    if more.name.is_empty() {
                        more.name = less.name;
                    }
                    *before = more;
                }
                _ => kept.push(one),
            }
        }
        for one in kept.iter_mut().filter(|one| one.name.is_empty()) {
            let after = places.partition_point(|(start, ..)| *start <= one.span.start);
            if let Some((_, end, name)) = after.checked_sub(1).and_then(|at| places.get(at))
                && one.span.start < *end
            {
                one.name.clone_from(name);
            }
        }
        kept
    }

    /// The secrets of a log.
    #[must_use]
    pub fn scan_log(&self, text: &[u8]) -> Vec<Span> {
        self.spans(text, Manner::Log)
    }

    /// The secrets in one value of a given name, as a configuration or a job has it, what
    /// says most first. The same bytes may be in several.
    #[must_use]
    pub fn judge_value(&self, name: &str, value: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for span in self.spans(value.as_bytes(), Manner::Config) {
            found.push(Finding::new(span));
        }
        let entry = Entry::new(name::own_end(name), value);
        if self.is_none(&entry) {
            found.retain(|finding| finding.span.rule != rules::NAMED);
        } else {
            self.judge(&entry, &mut found);
        }
        found.sort_by_key(|finding| core::cmp::Reverse(finding.weight()));
        found
    }

    pub(crate) fn spans(&self, text: &[u8], manner: Manner) -> Vec<Span> {
        let (filter, runs) = (self.filter(), &Runs::default());
        let finder = Finder { rules: self, filter, injected: None, manner, runs };
        let mut spans = Vec::new();
        finder.find(text, 0, true, &mut Carry::Nothing, &mut spans);
        spans
    }
}

/// The plain bytes of a base64 text, if it is one of at least 8 digits.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    if digits < 8 || text.len() - digits > 2 || digits % 4 == 1 {
        return None;
    }
    let mut plain = Vec::with_capacity(digits * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in text.get(..digits)? {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            plain.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(plain)
}
