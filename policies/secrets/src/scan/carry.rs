//! Secrets that are longer than a piece of the text, and those known by heart that begin
//! within another.

use super::{Finder, Found, HOLD_BYTES, RuleId, Span, TOKEN, push};
use crate::grams::GRAM_BYTES;
use crate::pem;
use crate::rules;
use alloc::vec::Vec;

/// What is carried from one piece of a text to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Carry {
    #[default]
    Nothing,
    /// A private key began; so many of its lines were seen.
    InKey(u32),
    /// A token was cut because it is longer than what is held back.
    InToken,
}

/// Longer keys than this are no keys.
const MAX_KEY_LINES: u32 = 400;

impl Finder<'_> {
    /// Where a secret that ends at `end` ends together with those known by heart that begin
    /// in it, from `from` on, and where one may begin in it that the text cuts off.
    pub(super) fn reach(
        &self,
        text: &[u8],
        from: usize,
        end: usize,
        last: bool,
    ) -> (usize, Option<usize>) {
        let Some(injected) = self.injected else { return (end, None) };
        let (mut end, mut at) = (end, from);
        loop {
            let within = text.get(..end + GRAM_BYTES - 1).unwrap_or(text);
            let Some((begin, gram)) = self.filter.next(within, at) else { break };
            match injected.at(text, begin, gram, last) {
                Found::No => {}
                Found::Yes(more) => end = end.max(more.end),
                Found::Open(held) => return (end, Some(held)),
            }
            at = begin + 1;
        }
        // Of the last bytes too few are there to be looked up.
        let first = text.len().saturating_sub(GRAM_BYTES - 1).max(from);
        let may = |start: &usize| injected.may_begin(text.get(*start..).unwrap_or_default());
        (end, (first..end).find(may).filter(|_| !last))
    }

    /// What was begun in the text before.
    pub(super) fn go_on(
        &self,
        text: &[u8],
        from: usize,
        last: bool,
        carry: &mut Carry,
        spans: &mut Vec<Span>,
    ) -> usize {
        match *carry {
            Carry::Nothing => from,
            Carry::InToken => {
                let (end, open) = self.token(text, from, last);
                let end = open.unwrap_or(end);
                if open.is_none() && (end < text.len() || last) {
                    *carry = Carry::Nothing;
                }
                // No marker of its own: it belongs to the one before.
                if end > from {
                    push(spans, Span { start: from, end, rule: RuleId(u16::MAX) });
                }
                end
            }
            Carry::InKey(lines) => self.key_lines(text, from, last, lines, carry, spans),
        }
    }

    /// How far a token goes on, with what is known by heart and begins in it, and where
    /// such a one may begin that the text cuts off.
    fn token(&self, text: &[u8], from: usize, last: bool) -> (usize, Option<usize>) {
        let (mut seen, mut end) = (from, from);
        loop {
            let run_end = end + TOKEN.run(text.get(end..).unwrap_or_default());
            let open;
            (end, open) = self.reach(text, seen, run_end, last);
            if open.is_some() || end == run_end {
                return (end, open);
            }
            seen = run_end;
        }
    }

    /// The lines of a private key. One that is not at its end is waited for.
    fn key_lines(
        &self,
        text: &[u8],
        from: usize,
        last: bool,
        mut lines: u32,
        carry: &mut Carry,
        spans: &mut Vec<Span>,
    ) -> usize {
        let rule = rules::PRIVATE_KEY;
        let mut at = from;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            if end.is_none() && !last && line.len() < HOLD_BYTES {
                return at;
            }
            let ends = pem::ends(line);
            if lines > MAX_KEY_LINES || !(ends || pem::is_body(line)) {
                *carry = Carry::Nothing;
                return at;
            }
            let line_end = at + line.len();
            let (reach, open) = self.reach(text, at, line_end, last);
            if let Some(held) = open {
                if line.len() < HOLD_BYTES {
                    return at;
                }
                push(spans, Span { start: at, end: held, rule });
                return held;
            }
            let shown = at + line.strip_suffix(b"\r").unwrap_or(line).len();
            let end_shown = if reach > line_end { reach } else { shown };
            if !line.trim_ascii().is_empty() {
                push(spans, Span { start: at, end: end_shown, rule });
            }
            at = reach.max(line_end + usize::from(end.is_some()));
            lines += u32::from(end.is_some());
            *carry = Carry::InKey(lines);
            if ends {
                *carry = Carry::Nothing;
                return at;
            }
        }
        at
    }
}
