//! A record read at the speed of a verifier: what the chain needs, and that the line
//! is in the one spelling.
//!
//! The spelling has one order of keys, so the line is compared with it from left to
//! right. What this reader is not sure of it leaves to [`Record::parse`], which takes
//! the line apart, spells it anew and says what is wrong; so it may refuse what is
//! right (and only costs time) but must never accept what is wrong.

use super::record::{MAX_INTEGER, MAX_LINE_BYTES, VERSION};
use super::{Hash, Id128};

/// What a verifier looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance<'a> {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) log_id: Id128,
    pub(super) boot_id: Id128,
    pub(super) boottime_usec: u64,
    pub(super) time_usec: u64,
    /// As it is spelled, between its quotes.
    pub(super) event: &'a [u8],
}

/// Reads a line without its newline; `None` when it has to be looked at in full.
pub(super) fn glance(line: &[u8]) -> Option<Glance<'_>> {
    if line.len() > MAX_LINE_BYTES {
        return None;
    }
    std::str::from_utf8(line).ok()?;
    let mut at = Cursor { rest: line };
    at.text(b"{\"action\":\"")?;
    at.string()?;
    at.text(b",\"actor\":{")?;
    if at.has(b"\"key_id\":\"") {
        at.string()?;
        at.text(b",")?;
    }
    at.text(b"\"uid\":")?;
    at.number(u64::from(u32::MAX))?;
    if at.has(b",\"user\":\"") {
        at.string()?;
    }
    at.text(b"},\"boot_id\":\"")?;
    let boot_id = Id128(at.hex()?);
    at.text(b"\",\"boottime_usec\":")?;
    let boottime_usec = at.number(MAX_INTEGER)?;
    at.text(b",")?;
    if at.has(b"\"details\":{\"") {
        at.details()?;
    }
    at.text(b"\"event\":\"")?;
    let event = at.string()?;
    at.text(b",\"host\":\"")?;
    at.string()?;
    if at.has(b",\"job\":") {
        at.number(MAX_INTEGER)?;
    }
    at.text(b",\"log_id\":\"")?;
    let log_id = Id128(at.hex()?);
    at.text(b"\",\"prev\":\"")?;
    let prev = Hash(at.hex()?);
    at.text(b"\",\"resource\":\"")?;
    at.string()?;
    at.text(b",\"result\":\"")?;
    if !(at.has(b"success\"") || at.has(b"failure\"") || at.has(b"denied\"")) {
        return None;
    }
    at.text(b",\"seq\":")?;
    let seq = at.number(MAX_INTEGER)?;
    at.text(b",\"source\":{")?;
    if at.has(b"\"ip\":\"") {
        at.string()?;
        at.text(b",")?;
    }
    if at.has(b"\"pid\":") {
        at.number(u64::from(u32::MAX))?;
        at.text(b",")?;
    }
    at.text(b"\"transport\":\"")?;
    at.string()?;
    if at.has(b",\"uid\":") {
        at.number(u64::from(u32::MAX))?;
    }
    at.text(b"},\"time_usec\":")?;
    let time_usec = at.number(MAX_INTEGER)?;
    at.text(b",\"v\":")?;
    if at.number(VERSION)? != VERSION {
        return None;
    }
    at.text(b"}")?;
    at.rest.is_empty().then_some(Glance {
        seq,
        prev,
        log_id,
        boot_id,
        boottime_usec,
        time_usec,
        event,
    })
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn has(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn text(&mut self, text: &[u8]) -> Option<()> {
        self.has(text).then_some(())
    }

    /// Up to and with the closing quote.
    fn string(&mut self) -> Option<&'a [u8]> {
        let mut length = 0;
        loop {
            length += plain(&self.rest[length..]);
            match self.rest.get(length)? {
                b'"' => break,
                b'\\' => length += escape(&self.rest[length + 1..])?,
                _ => return None,
            }
        }
        let (string, rest) = self.rest.split_at(length);
        self.rest = &rest[1..];
        Some(string)
    }

    /// Names and values with the names in order, up to and with the comma behind.
    /// The quote of the first name was read.
    fn details(&mut self) -> Option<()> {
        let mut before: Option<&[u8]> = None;
        loop {
            let name = self.string()?;
            // With escapes, the order of the spelling is not that of the names.
            if memchr::memchr(b'\\', name).is_some() || before.is_some_and(|b| b >= name) {
                return None;
            }
            before = Some(name);
            self.text(b":\"")?;
            self.string()?;
            if self.has(b"},") {
                return Some(());
            }
            self.text(b",\"")?;
        }
    }

    fn number(&mut self, max: u64) -> Option<u64> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 16 || (digits > 1 && self.rest[0] == b'0') {
            return None;
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let number = number.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
        (number <= max).then_some(number)
    }

    fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (digits, rest) = self.rest.split_at_checked(2 * N)?;
        let mut bytes = [0; N];
        let mut wrong = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            wrong |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        self.rest = rest;
        (wrong & 0xf0 == 0).then_some(bytes)
    }
}

/// Value of each lower-case hexadecimal digit; 0xff for all else.
const NIBBLES: [u8; 256] = {
    let mut table = [0xff; 256];
    let digits = *b"0123456789abcdef";
    let mut value = 0;
    while value < 16 {
        table[digits[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// How many bytes from the beginning stand for themselves: no quote, no backslash,
/// no control character. Eight at a time.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    let mut length = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        // A byte below 0x20 is one whose three high bits are clear.
        let control = zero(word & (ONES * 0xe0));
        let special = quote | backslash | control;
        if special != 0 {
            // A borrow can only mark bytes above a true one, so the lowest is true.
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let tail = &bytes[length..];
    length + tail.iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).count()
}

/// Length of an escape with its backslash, when it is the one spelling of what it means.
fn escape(after: &[u8]) -> Option<usize> {
    match after.first()? {
        b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f' => Some(2),
        b'u' => {
            let [b'0', b'0', high @ (b'0' | b'1'), low] = after.get(1..5)? else { return None };
            let low = NIBBLES[usize::from(*low)];
            let short = *high == b'0' && matches!(low, 0x8 | 0x9 | 0xa | 0xc | 0xd);
            (low < 16 && !short).then_some(6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Chain, Event, NewRecord, Origin, Outcome, Record, Source, Stamp};
    use crate::job::JobId;
    use proptest::prelude::*;

    fn line(texts: &[String; 4], numbers: (u32, u64), flags: u8) -> Vec<u8> {
        let [action, resource, name, value] = texts;
        let mut actor = Actor::uid(numbers.0);
        if flags & 1 != 0 {
            actor = actor.named(name).with_key(value);
        }
        let mut new = NewRecord::new(Event::FileRead, actor, action, resource);
        if flags & 2 != 0 {
            new = new.detail(name, value).detail("profile", resource);
        }
        if flags & 4 != 0 {
            let source = Source::process("bus", numbers.0, (flags & 8 != 0).then_some(numbers.0));
            new = new.source(source.with_ip([10, 0, 0, 1].into())).job(JobId(numbers.1));
        }
        if flags & 16 != 0 {
            new = new.result(Outcome::Denied);
        }
        let mut line = Vec::new();
        let origin = Origin { log_id: Id128([7; 16]), host: name.clone(), boot_id: Id128([9; 16]) };
        let stamp = Stamp { time_usec: numbers.1, boottime_usec: numbers.1 / 2 };
        Chain::begin(origin).append(&new, stamp, &mut line);
        line.pop();
        line
    }

    /// What is glanced at is what is read in full; whether all is glanced at is
    /// another question.
    fn agree(line: &[u8]) -> bool {
        let Some(seen) = glance(line) else { return false };
        let record = Record::parse(line).expect("what a glance accepts is a record");
        assert_eq!((seen.seq, seen.prev, seen.log_id), (record.seq, record.prev, record.log_id));
        assert_eq!((seen.boot_id, seen.time_usec), (record.boot_id, record.time_usec));
        assert_eq!(seen.boottime_usec, record.boottime_usec);
        let spelled = serde_json::to_string(&*record.event).expect("a text");
        assert_eq!(seen.event, spelled.trim_matches('"').as_bytes());
        true
    }

    #[test]
    fn ordinary_records_are_read_at_a_glance() {
        let texts = ["start", "job/7", "alice", "a \"line\"\nand \u{1} \u{1b}[31m ü \\"];
        for flags in 0..32 {
            assert!(agree(&line(&texts.map(str::to_owned), (7, 1 << 52), flags)), "{flags:b}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_glance_accepts_nothing_that_is_no_record(
            texts in [".*", ".*", "\\PC*|[\u{0}-\u{7f}]*", ".*"], uid in any::<u32>(), number in 0u64..1 << 53,
            flags in any::<u8>(), at in any::<prop::sample::Index>(), with in any::<u8>(), how in 0u8..3,
        ) {
            let mut line = line(&texts, (uid, number), flags);
            let plain_name = !texts[2].chars().any(|c| c < ' ' || c == '"' || c == '\\');
            prop_assert!(agree(&line) || !plain_name);
            let at = at.index(line.len());
            match how {
                0 => line[at] = with,
                1 => line.insert(at, with),
                _ => drop(line.remove(at)),
            }
            agree(&line);
        }

        #[test]
        fn words_of_eight_hide_nothing(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).count();
            prop_assert_eq!(plain(&bytes), expected);
        }
    }
}
