//! The Merkle tree of RFC 6962 over the records of a log.
//!
//! A record's hash is `SHA-256(0x00 || …)`, which is what RFC 6962 calls the hash
//! of a leaf, so the tree needs no hashing of its own for its leaves. What is kept
//! of a tree that grows are the roots of the perfect trees it consists of (its
//! peaks): one for each bit that is set in its size.

use super::Hash;
use sha2::{Digest, Sha256};
use std::ops::Range;

const NODE_PREFIX: u8 = 1;

/// Hash of an inner node.
pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE_PREFIX; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// A tree that grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// The tree of no records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` records, of which only the peaks are known, the largest first.
    #[must_use]
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == expected).then_some(Self { size, peaks })
    }

    /// How many records.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect trees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds the next record.
    pub fn push(&mut self, leaf: Hash) {
        // A single leaf always fits.
        let _ = self.append(0, leaf);
    }

    /// Adds a perfect tree of 2^`level` records. It can only begin where one of its
    /// size may: `None` elsewhere.
    #[must_use]
    pub fn append(&mut self, level: u32, root: Hash) -> Option<()> {
        let width = 1u64.checked_shl(level)?;
        if !self.size.is_multiple_of(width) {
            return None;
        }
        self.size = self.size.checked_add(width)?;
        let mut root = root;
        let mut rest = self.size >> level;
        while rest & 1 == 0 {
            root = node(&self.peaks.pop()?, &root);
            rest >>= 1;
        }
        self.peaks.push(root);
        Some(())
    }

    /// The root over everything; that of no record is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let folded = self.peaks.iter().rev().copied().reduce(|right, left| node(&left, &right));
        folded.unwrap_or_else(|| Hash(Sha256::digest([]).into()))
    }
}

/// The perfect trees that lead from a tree of `from` records to one of `to`, as
/// ranges of records counted from 0, in order.
#[must_use]
pub fn extension(from: u64, to: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut at = from;
    while at < to {
        let fitting = 1u64 << (to - at).ilog2();
        let width = match at {
            0 => fitting,
            _ => fitting.min(1 << at.trailing_zeros()),
        };
        ranges.push(at..at + width);
        at += width;
    }
    ranges
}

/// Computes the roots of some ranges while the records pass by, in constant memory
/// for each.
#[derive(Debug)]
pub struct Prover {
    parts: Vec<(Range<u64>, Tree)>,
}

impl Prover {
    /// Wants the roots of these ranges, which do not overlap.
    #[must_use]
    pub fn new(ranges: Vec<Range<u64>>) -> Self {
        Self { parts: ranges.into_iter().map(|range| (range, Tree::new())).collect() }
    }

    /// The record with this place, from 0.
    pub fn see(&mut self, index: u64, leaf: Hash) {
        if let Some((_, tree)) = self.parts.iter_mut().find(|(range, _)| range.contains(&index)) {
            tree.push(leaf);
        }
    }

    /// The roots; `None` when not all records were seen.
    #[must_use]
    pub fn finish(self) -> Option<Vec<Hash>> {
        self.parts
            .into_iter()
            .map(|(range, tree)| (tree.size() == range.end - range.start).then(|| tree.root()))
            .collect()
    }
}

/// Largest power of two below `n`, for `n` of at least two.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The nodes that prove that record `index` (from 0) is in a tree of `size`, as
/// ranges of records: `PATH` of RFC 6962, section 2.1.1.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    fn path(index: u64, all: Range<u64>, out: &mut Vec<Range<u64>>) {
        let n = all.end - all.start;
        if n < 2 {
            return;
        }
        let middle = all.start + split(n);
        let (left, right) = (all.start..middle, middle..all.end);
        let (within, beside) = if index < middle { (left, right) } else { (right, left) };
        path(index, within, out);
        out.push(beside);
    }
    let mut out = Vec::new();
    if index < size {
        path(index, 0..size, &mut out);
    }
    out
}

/// The nodes that prove that a tree of `old` records is the beginning of one of
/// `size`: `PROOF` of RFC 6962, section 2.1.2.
#[must_use]
pub fn consistency(old: u64, size: u64) -> Vec<Range<u64>> {
    fn proof(old: u64, all: Range<u64>, whole: bool, out: &mut Vec<Range<u64>>) {
        let n = all.end - all.start;
        if old == n {
            if !whole {
                out.push(all);
            }
            return;
        }
        let k = split(n);
        let (left, right) = (all.start..all.start + k, all.start + k..all.end);
        if old <= k {
            proof(old, left, whole, out);
            out.push(right);
        } else {
            proof(old - k, right, false, out);
            out.push(left);
        }
    }
    let mut out = Vec::new();
    if old > 0 && old < size {
        proof(old, 0..size, true, &mut out);
    }
    out
}

/// Whether the record with hash `leaf` has place `index` (from 0) in the tree of
/// `size` records with this root.
#[must_use]
pub fn includes(root: &Hash, size: u64, index: u64, leaf: &Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(beside, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the tree of `old` records with root `old_root` is the beginning of the
/// tree of `size` records with root `root`.
#[must_use]
pub fn extends(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if old > size {
        return false;
    }
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == Tree::new().root();
    }
    let (mut place, mut last) = (old - 1, size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    let start = if old.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(start) = start else { return false };
    let (mut before, mut after) = (*start, *start);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            before = node(beside, &before);
            after = node(beside, &after);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            after = node(&after, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && before == *old_root && after == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| Hash(Sha256::digest(i.to_be_bytes()).into())).collect()
    }

    /// `MTH` of RFC 6962, as it is written there.
    fn root_of(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(Sha256::digest([]).into()),
            [leaf] => *leaf,
            many => {
                let k = usize::try_from(split(many.len() as u64)).expect("small");
                node(&root_of(&many[..k]), &root_of(&many[k..]))
            }
        }
    }

    fn nodes(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Vec<Hash> {
        let mut prover = Prover::new(ranges);
        for (index, leaf) in leaves.iter().enumerate() {
            prover.see(index as u64, *leaf);
        }
        prover.finish().expect("every range was seen")
    }

    fn upto(leaves: &[Hash], n: u64) -> &[Hash] {
        &leaves[..usize::try_from(n).expect("small")]
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let leaves = leaves(257);
        let mut tree = Tree::new();
        assert_eq!(
            tree.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (n, leaf) in leaves.iter().enumerate() {
            tree.push(*leaf);
            assert_eq!(tree.root(), root_of(&leaves[..=n]), "{n}");
            let again = Tree::from_peaks(tree.size(), tree.peaks().to_vec());
            assert_eq!(again.as_ref(), Some(&tree));
            assert_eq!(Tree::from_peaks(tree.size() + 1, vec![*leaf; 9]), None);
        }
    }

    #[test]
    fn only_the_right_proof_shows_that_a_record_is_there() {
        let leaves = leaves(257);
        for size in 0..=257u64 {
            let here = upto(&leaves, size);
            let root = root_of(here);
            assert!(!includes(&root, size, size, &leaves[0], &[]), "outside of {size}");
            for index in 0..size {
                let proof = nodes(here, inclusion(index, size));
                let leaf = leaves[usize::try_from(index).expect("small")];
                assert!(includes(&root, size, index, &leaf, &proof), "{index} of {size}");
                // Of another place, another record, another tree, another length.
                for wrong in [index + 1, index ^ 1, index / 2] {
                    assert!(wrong == index || !includes(&root, size, wrong, &leaf, &proof));
                }
                assert!(!includes(&root, size, index, &Hash([1; 32]), &proof));
                assert!(!includes(&Hash([1; 32]), size, index, &leaf, &proof));
                assert!(!includes(&root, size, index, &leaf, &[&proof[..], &[leaf]].concat()));
                if let Some((_, short)) = proof.split_last() {
                    assert!(!includes(&root, size, index, &leaf, short));
                }
            }
        }
    }

    #[test]
    fn only_the_right_proof_shows_that_a_tree_goes_on() {
        let leaves = leaves(257);
        let roots: Vec<_> = (0..=257).map(|n| root_of(upto(&leaves, n))).collect();
        for size in 0..=257u64 {
            for old in 0..=size {
                let here = upto(&leaves, size);
                let proof = nodes(here, consistency(old, size));
                let at = |n: u64| &roots[usize::try_from(n).expect("small")];
                let (before, root) = (at(old), at(size));
                assert!(extends(old, before, size, root, &proof), "{old} of {size}");
                assert!(!extends(old, &Hash([1; 32]), size, root, &proof), "{old} of {size}");
                assert!(!extends(old, before, size, &Hash([1; 32]), &proof) || old == 0);
                assert!(!extends(size + 1, before, size, root, &proof));
                if old > 0 && old < size {
                    assert!(!extends(old - 1, at(old - 1), size, root, &proof) || old == 1);
                    let mut wrong = proof.clone();
                    wrong[0].0[5] ^= 1;
                    assert!(!extends(old, before, size, root, &wrong));
                    assert!(!extends(old, before, size, root, &[&proof[..], &[*root]].concat()));
                    assert!(!extends(old, before, size, root, &proof[1..]));
                }
            }
        }
    }

    #[test]
    fn a_tree_grows_by_perfect_trees_to_the_same_root() {
        let leaves = leaves(130);
        for size in 0..=130u64 {
            for from in 0..=size {
                let mut tree = Tree::new();
                upto(&leaves, from).iter().for_each(|leaf| tree.push(*leaf));
                let ranges = extension(from, size);
                for (range, root) in ranges.iter().zip(nodes(&leaves, ranges.clone())) {
                    let level = (range.end - range.start).ilog2();
                    tree.append(level, root).expect("it fits there");
                }
                assert_eq!(tree.root(), root_of(upto(&leaves, size)), "{from} to {size}");
            }
        }
        let mut odd = Tree::new();
        odd.push(leaves[0]);
        assert_eq!(odd.append(1, leaves[1]), None, "a pair begins at an even place");
    }
}
