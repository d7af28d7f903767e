//! Where in a text to look closer: every shape and every word of interest begins
//! with one of a few hundred groups of four bytes, capitals and small letters being
//! one. A bit for each says of nearly all places of a text that nothing begins there.

use serde::{Deserialize, Serialize};

/// Bits of a hash; the filter is 16 KiB.
const BITS: u32 = 17;
/// Bits of it that say where in a table to look.
const BUCKET_BITS: u32 = 11;
const WORDS: usize = 1 << (BITS - 6);
/// Makes a small letter of a capital, in four bytes at once. It merges a few other
/// bytes as well, which closer looks tell apart.
const FOLD: u32 = 0x2020_2020;

/// Bytes of a group.
pub(crate) const GRAM_BYTES: usize = 4;

/// A group of four bytes, folded.
pub(crate) type Gram = u32;

pub(crate) fn gram(bytes: [u8; GRAM_BYTES]) -> Gram {
    u32::from_le_bytes(bytes) | FOLD
}

const fn place(gram: Gram) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

fn bucket(gram: Gram) -> usize {
    place(gram) >> (BITS - BUCKET_BITS)
}

/// Groups, and what begins with each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// By bucket, then by group; several of the same group follow each other.
    entries: Vec<(Gram, u16)>,
    /// Where each bucket begins, and where the last ends.
    starts: Vec<u16>,
}

impl Table {
    pub(crate) fn new(mut entries: Vec<(Gram, u16)>) -> Self {
        entries.sort_unstable_by_key(|(gram, target)| (bucket(*gram), *gram, *target));
        entries.dedup();
        entries.truncate(usize::from(u16::MAX));
        let start = |at| entries.partition_point(|(gram, _)| bucket(*gram) < at);
        let starts = (0..=1 << BUCKET_BITS).map(|at| u16::try_from(start(at)).unwrap_or(u16::MAX));
        let starts = starts.collect();
        Self { entries, starts }
    }

    /// What may begin with a group.
    pub(crate) fn targets(&self, gram: Gram) -> impl Iterator<Item = u16> + Clone {
        let at = bucket(gram);
        let edge = |at: usize| self.starts.get(at).copied().map_or(0, usize::from);
        let bucket = self.entries.get(edge(at)..edge(at + 1)).unwrap_or_default().iter();
        bucket.filter(move |(known, _)| *known == gram).map(|(_, target)| *target)
    }

    /// Whether some group goes on after these up to three bytes.
    pub(crate) fn may_begin(&self, cut: &[u8]) -> bool {
        let mut mask = [0u8; GRAM_BYTES];
        let mut bytes = [0u8; GRAM_BYTES];
        for (at, byte) in cut.iter().take(GRAM_BYTES).enumerate() {
            mask[at] = u8::MAX;
            bytes[at] = *byte | 0x20;
        }
        let (mask, wanted) = (u32::from_le_bytes(mask), u32::from_le_bytes(bytes));
        self.entries.iter().any(|(known, _)| known & mask == wanted)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The filter of a table.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Box<[u64; WORDS]>);

impl Filter {
    pub(crate) fn of(tables: &[&Table]) -> Self {
        let mut bits = Box::new([0; WORDS]);
        for (gram, _) in tables.iter().flat_map(|table| &table.entries) {
            let at = place(*gram);
            bits[at >> 6] |= 1 << (at & 63);
        }
        Self(bits)
    }

    fn bit(&self, gram: Gram) -> u64 {
        let at = place(gram | FOLD);
        self.0[(at >> 6) & (WORDS - 1)] >> (at & 63)
    }

    /// The first place, from `at` on, at which something may begin, and its group.
    #[inline]
    pub(crate) fn next(&self, text: &[u8], mut at: usize) -> Option<(usize, Gram)> {
        // Four places at a time; only one bit of each word counts.
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let eight = u64::from_le_bytes(*bytes);
            #[allow(clippy::cast_possible_truncation)]
            let gram = |shift: u32| (eight >> shift) as u32;
            let any =
                self.bit(gram(0)) | self.bit(gram(8)) | self.bit(gram(16)) | self.bit(gram(24));
            if any & 1 != 0 {
                for (step, shift) in [0, 8, 16, 24].into_iter().enumerate() {
                    if self.bit(gram(shift)) & 1 != 0 {
                        return Some((at + step, gram(shift) | FOLD));
                    }
                }
            }
            at += 4;
        }
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<GRAM_BYTES>) {
            let gram = gram(*bytes);
            if self.bit(gram) & 1 != 0 {
                return Some((at, gram));
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_group_is_found_and_capitals_are_small() {
        let table = Table::new(vec![(gram(*b"pass"), 7), (gram(*b"pass"), 9)]);
        let filter = Filter::of(&[&table]);
        for before in 0..12 {
            let text = [&b"-----------"[..before.min(11)], b"PaSs12"].concat();
            let (at, found) = filter.next(&text, 0).expect("it is there");
            assert_eq!(
                (at, table.targets(found).collect::<Vec<_>>()),
                (before.min(11), vec![7, 9])
            );
        }
        assert!(filter.next(b"nothing here", 0).is_none());
        assert!(table.may_begin(b"PA") && !table.may_begin(b"px"));
    }
}
