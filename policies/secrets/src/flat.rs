//! Rules as one run of bytes that holds no address. Who reads the rules makes it once;
//! everybody else uses it in place, and of what he never asks for he reads nothing.
//!
//! It is never kept: who makes it and who uses it are of the same version.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

const MAGIC: [u8; 8] = *b"FMSECR\0\x01";

/// The parts, in the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// A bit for each group that something begins with.
    Filter,
    /// A bit for each beginning of such a group.
    Begins,
    /// Where each bucket of groups begins, `u16`.
    Starts,
    /// Groups, `u32`.
    Grams,
    /// What begins with each, `u16`.
    Targets,
    /// Sets of bytes.
    Sets,
    Shapes,
    Parts,
    /// Texts: the names of the rules.
    Ids,
    Words,
    /// Texts, in ascending order, as all that follow but the last two.
    Phrases,
    Void,
    Nothing,
    Placeholders,
    Allow,
    /// All texts, one behind the other.
    Pool,
}

const SECTIONS: usize = Section::Pool as usize + 1;

/// Bytes before the first part.
pub(crate) const HEADER_BYTES: usize = MAGIC.len() + SECTIONS * 4;

/// Where a text is in the pool: its place, `u32`, and its length, `u16`.
pub(crate) const TEXT_BYTES: usize = 6;

/// Where each part ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header([u32; SECTIONS]);

impl Header {
    /// Reads the beginning of rules that are `len` bytes long.
    pub(crate) fn read(bytes: &[u8], len: usize) -> Option<Self> {
        let (ends, _) = bytes.strip_prefix(&MAGIC)?.as_chunks::<4>();
        let mut header = Self([0; SECTIONS]);
        for (end, stored) in header.0.iter_mut().zip(ends.get(..SECTIONS)?) {
            *end = u32::from_le_bytes(*stored);
        }
        let first = u32::try_from(HEADER_BYTES).ok()?;
        let ascends = header.0.is_sorted() && header.0.first().is_some_and(|end| *end >= first);
        let is_whole = header.0.last().is_some_and(|end| usize::try_from(*end) == Ok(len));
        (ascends && is_whole).then_some(header)
    }

    fn end(&self, section: usize) -> usize {
        self.0.get(section).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    pub(crate) fn part<'b>(&self, section: Section, bytes: &'b [u8]) -> &'b [u8] {
        let number = section as usize;
        let start = number.checked_sub(1).map_or(HEADER_BYTES, |before| self.end(before));
        bytes.get(start..self.end(number)).unwrap_or_default()
    }
}

/// A part that is being made.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    parts: [Vec<u8>; SECTIONS],
}

impl Draft {
    pub(crate) fn part(&mut self, section: Section) -> &mut Vec<u8> {
        &mut self.parts[section as usize]
    }

    /// How many entries of so many bytes a part has.
    pub(crate) fn count(&self, section: Section, entry_bytes: usize) -> u16 {
        let count = self.parts[section as usize].len() / entry_bytes;
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Puts a text into the pool, and says where it is.
    pub(crate) fn text(&mut self, text: &[u8]) -> [u8; TEXT_BYTES] {
        let text = text.get(..usize::from(u16::MAX)).unwrap_or(text);
        let pool = self.part(Section::Pool);
        let at = u32::try_from(pool.len()).unwrap_or(u32::MAX).to_le_bytes();
        pool.extend_from_slice(text);
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
        [at[0], at[1], at[2], at[3], len[0], len[1]]
    }

    pub(crate) fn texts<T: AsRef<[u8]>>(
        &mut self,
        section: Section,
        texts: impl IntoIterator<Item = T>,
    ) {
        for text in texts {
            let place = self.text(text.as_ref());
            self.part(section).extend(place);
        }
    }

    pub(crate) fn finish(self) -> (Header, Box<[u8]>) {
        let mut header = Header([0; SECTIONS]);
        let mut end = HEADER_BYTES;
        for (stored, part) in header.0.iter_mut().zip(&self.parts) {
            end += part.len();
            *stored = u32::try_from(end).unwrap_or(u32::MAX);
        }
        let mut bytes = Vec::with_capacity(end);
        bytes.extend(MAGIC);
        bytes.extend(header.0.iter().flat_map(|end| end.to_le_bytes()));
        self.parts.iter().for_each(|part| bytes.extend_from_slice(part));
        (header, bytes.into())
    }
}

/// A text of the pool.
pub(crate) fn text(pool: &[u8], place: [u8; TEXT_BYTES]) -> &[u8] {
    let [a, b, c, d, e, f] = place;
    let at = u32::from_le_bytes([a, b, c, d]) as usize;
    let len = usize::from(u16::from_le_bytes([e, f]));
    pool.get(at..at.saturating_add(len)).unwrap_or_default()
}

/// Texts of a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts<'r> {
    pub(crate) places: &'r [u8],
    pub(crate) pool: &'r [u8],
}

impl<'r> Texts<'r> {
    pub(crate) fn iter(self) -> impl Iterator<Item = &'r [u8]> {
        self.places.as_chunks().0.iter().map(move |place| text(self.pool, *place))
    }

    pub(crate) fn get(self, at: usize) -> Option<&'r [u8]> {
        self.places.as_chunks().0.get(at).map(|place| text(self.pool, *place))
    }

    /// Whether one of them, which are in order, compares as equal.
    pub(crate) fn has(self, order: impl Fn(&[u8]) -> Ordering) -> bool {
        let (places, _) = self.places.as_chunks();
        places.binary_search_by(|place| order(text(self.pool, *place))).is_ok()
    }
}
