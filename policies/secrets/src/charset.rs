//! Sets of bytes.

use crate::work;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CharSet([u64; 4]);

impl CharSet {
    /// The set that `text` describes: single bytes and ranges such as `a-z`; a
    /// hyphen at an end is itself.
    pub(crate) const fn of(text: &[u8]) -> Self {
        let mut set = Self([0; 4]);
        let mut at = 0;
        while at < text.len() {
            let first = text[at];
            let is_range = at + 2 < text.len() && text[at + 1] == b'-';
            let last = if is_range { text[at + 2] } else { first };
            let mut byte = first;
            loop {
                set.0[(byte >> 6) as usize] |= 1 << (byte & 63);
                if byte >= last {
                    break;
                }
                byte += 1;
            }
            at += if is_range { 3 } else { 1 };
        }
        set
    }

    pub(crate) const fn has(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }

    pub(crate) fn to_bytes(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().flat_map(u64::to_le_bytes)
    }

    /// The set of that number, of those that follow each other here.
    pub(crate) fn from_bytes(sets: &[u8], number: u8) -> Self {
        let Some(bytes) = sets.as_chunks::<32>().0.get(usize::from(number)) else {
            return Self::default();
        };
        let (words, _) = bytes.as_chunks::<8>();
        let mut set = Self::default();
        for (word, stored) in set.0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*stored);
        }
        set
    }

    /// Its members, in their order.
    pub(crate) fn members(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |byte| self.has(*byte))
    }

    /// How many bytes at the beginning of `text` belong to it.
    pub(crate) fn run(&self, text: &[u8]) -> usize {
        let run = text.iter().position(|byte| !self.has(*byte)).unwrap_or(text.len());
        work::read(run);
        run
    }

    /// How many bytes at the end of `text` belong to it.
    pub(crate) fn run_back(&self, text: &[u8]) -> usize {
        let run = text.iter().rev().position(|byte| !self.has(*byte)).unwrap_or(text.len());
        work::read(run);
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_singles_and_hyphens_at_an_end() {
        let set = CharSet::of(b"a-cX0-1_-");
        let members: Vec<u8> = set.members().collect();
        assert_eq!(members, b"-01X_abc");
        assert_eq!((set.run(b"ab-z"), set.run_back(b"zab-")), (3, 3));
    }
}
