//! Where in a text to look closer: every shape and every word of interest begins
//! with one of a few hundred groups of four bytes, capitals and small letters being
//! one. A bit for each says of nearly all places of a text that nothing begins there.

use crate::flat::{Draft, Section};
use alloc::vec;
use alloc::vec::Vec;

/// Bits of a hash; the filter is 16 KiB.
const BITS: u32 = 17;
/// Bits of another hash, which is asked where the first says that something may begin,
/// and takes back nearly all that is wrong: 4 KiB.
const SECOND_BITS: u32 = 15;
/// Bits of it that say where in a table to look.
const BUCKET_BITS: u32 = 11;
/// Of the beginnings of groups: 4 KiB.
const BEGIN_BITS: u32 = 15;
const FIRST_BYTES: usize = 1 << (BITS - 3);
const SECOND_BYTES: usize = 1 << (SECOND_BITS - 3);
/// Bytes of the filter.
pub(crate) const FILTER_BYTES: usize = FIRST_BYTES + SECOND_BYTES;
const BEGIN_BYTES: usize = 1 << (BEGIN_BITS - 3);
/// Makes a small letter of a capital, in four bytes at once. It merges a few other
/// bytes as well, which closer looks tell apart.
const FOLD: u32 = 0x2020_2020;
const FACTOR: u32 = 0x9e37_79b1;
const SECOND_FACTOR: u32 = 0x85eb_ca6b;

/// Bytes of a group.
pub(crate) const GRAM_BYTES: usize = 4;

/// A group of four bytes, folded.
pub(crate) type Gram = u32;

pub(crate) fn gram(bytes: [u8; GRAM_BYTES]) -> Gram {
    u32::from_le_bytes(bytes) | FOLD
}

const fn place(gram: Gram) -> usize {
    (gram.wrapping_mul(FACTOR) >> (32 - BITS)) as usize
}

const fn second_place(gram: Gram) -> usize {
    (gram.wrapping_mul(SECOND_FACTOR) >> (32 - SECOND_BITS)) as usize
}

fn bucket(gram: Gram) -> usize {
    place(gram) >> (BITS - BUCKET_BITS)
}

/// The bit of the first bytes of a group, at most three.
fn begin_place(cut: &[u8]) -> usize {
    let mut bytes = [0u8; GRAM_BYTES];
    for (to, byte) in bytes.iter_mut().zip(cut.iter().take(GRAM_BYTES - 1)) {
        *to = *byte | 0x20;
    }
    bytes[GRAM_BYTES - 1] = u8::try_from(cut.len()).unwrap_or(u8::MAX);
    (u32::from_le_bytes(bytes).wrapping_mul(FACTOR) >> (32 - BEGIN_BITS)) as usize
}

/// Writes groups, and what begins with each, into rules.
pub(crate) fn write(mut entries: Vec<(Gram, u16)>, draft: &mut Draft) {
    // By bucket, then by group; several of the same group follow each other.
    entries.sort_unstable_by_key(|(gram, target)| (bucket(*gram), *gram, *target));
    entries.dedup();
    entries.truncate(usize::from(u16::MAX));
    let mut bits = vec![0u8; FILTER_BYTES];
    let mut begins = vec![0u8; BEGIN_BYTES];
    for (gram, target) in &entries {
        set_both(&mut bits, *gram);
        let bytes = gram.to_le_bytes();
        (1..GRAM_BYTES).for_each(|len| set(&mut begins, begin_place(&bytes[..len])));
        draft.part(Section::Grams).extend(bytes);
        draft.part(Section::Targets).extend(target.to_le_bytes());
    }
    let start = |at| entries.partition_point(|(gram, _)| bucket(*gram) < at);
    let starts = (0..=1 << BUCKET_BITS).map(|at| u16::try_from(start(at)).unwrap_or(u16::MAX));
    draft.part(Section::Starts).extend(starts.flat_map(u16::to_le_bytes));
    *draft.part(Section::Filter) = bits;
    *draft.part(Section::Begins) = begins;
}

/// Lets the filter see a group.
fn set_both(bits: &mut [u8], gram: Gram) {
    if let Some((first, second)) = bits.split_at_mut_checked(FIRST_BYTES) {
        set(first, place(gram));
        set(second, second_place(gram));
    }
}

fn set(bits: &mut [u8], place: usize) {
    if let Some(byte) = bits.get_mut(place >> 3) {
        *byte |= 1 << (place & 7);
    }
}

/// Groups, and what begins with each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'r> {
    pub(crate) starts: &'r [u8],
    pub(crate) grams: &'r [u8],
    pub(crate) targets: &'r [u8],
}

impl<'r> Table<'r> {
    /// What may begin with a group.
    pub(crate) fn targets(self, gram: Gram) -> impl Iterator<Item = u16> + use<'r> {
        let at = bucket(gram);
        let (starts, _) = self.starts.as_chunks::<2>();
        let edge =
            |at: usize| starts.get(at).map_or(0, |edge| usize::from(u16::from_le_bytes(*edge)));
        let bucket = edge(at)..edge(at + 1);
        let grams = self.grams.as_chunks::<4>().0.get(bucket.clone()).unwrap_or_default();
        let targets = self.targets.as_chunks::<2>().0.get(bucket).unwrap_or_default();
        let both = grams.iter().zip(targets);
        both.filter(move |(known, _)| **known == gram.to_le_bytes())
            .map(|(_, target)| u16::from_le_bytes(*target))
    }
}

/// Whether some group may go on after these up to three bytes. Seldom it says so
/// without a reason.
pub(crate) fn may_begin(begins: &[u8], cut: &[u8]) -> bool {
    let place = begin_place(cut);
    begins.get(place >> 3).is_none_or(|byte| byte >> (place & 7) & 1 == 1)
}

/// The filter of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'r>(&'r [u8; FILTER_BYTES]);

impl<'r> Filter<'r> {
    pub(crate) fn of(bits: &'r [u8]) -> Option<Self> {
        bits.try_into().ok().map(Self)
    }

    /// Only the lowest bit counts.
    fn bit(self, gram: Gram) -> u8 {
        let at = place(gram | FOLD);
        self.0[(at >> 3) & (FIRST_BYTES - 1)] >> (at & 7)
    }

    /// Whether both hashes say so.
    fn has(self, gram: Gram) -> bool {
        let at = second_place(gram | FOLD);
        let second = self.0[FIRST_BYTES + ((at >> 3) & (SECOND_BYTES - 1))] >> (at & 7);
        self.bit(gram) & second & 1 != 0
    }

    /// A filter that sees these groups as well.
    pub(crate) fn and(self, grams: impl Iterator<Item = Gram>) -> alloc::boxed::Box<[u8]> {
        let mut bits = self.0.to_vec();
        grams.for_each(|gram| set_both(&mut bits, gram));
        bits.into()
    }

    /// The first place, from `at` on, at which something may begin, and its group.
    #[inline]
    pub(crate) fn next(self, text: &[u8], mut at: usize) -> Option<(usize, Gram)> {
        // Four places at a time.
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let eight = u64::from_le_bytes(*bytes);
            #[allow(clippy::cast_possible_truncation)]
            let gram = |shift: u32| (eight >> shift) as u32;
            let any =
                self.bit(gram(0)) | self.bit(gram(8)) | self.bit(gram(16)) | self.bit(gram(24));
            if any & 1 != 0 {
                for (step, shift) in [0, 8, 16, 24].into_iter().enumerate() {
                    if self.has(gram(shift)) {
                        return Some((at + step, gram(shift) | FOLD));
                    }
                }
            }
            at += 4;
        }
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<GRAM_BYTES>) {
            let gram = gram(*bytes);
            if self.has(gram) {
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
        let mut draft = Draft::default();
        write(vec![(gram(*b"pass"), 7), (gram(*b"pass"), 9)], &mut draft);
        let (header, bytes) = draft.finish();
        let part = |section| header.part(section, &bytes);
        let table = Table {
            starts: part(Section::Starts),
            grams: part(Section::Grams),
            targets: part(Section::Targets),
        };
        let filter = Filter::of(part(Section::Filter)).expect("it is whole");
        for before in 0..12 {
            let text = [&b"-----------"[..before.min(11)], b"PaSs12"].concat();
            let (at, found) = filter.next(&text, 0).expect("it is there");
            assert_eq!(
                (at, table.targets(found).collect::<Vec<_>>()),
                (before.min(11), vec![7, 9])
            );
        }
        assert!(filter.next(b"nothing here", 0).is_none());
        let begins = part(Section::Begins);
        assert!(may_begin(begins, b"PA") && !may_begin(begins, b"px"));
    }
}
