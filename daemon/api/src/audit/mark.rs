//! What is known of a log at some of its records: from checkpoints, from anchors.

use super::merkle::Tree;
use super::verdict::{Damage, Finding};
use super::{Hash, Head};
use std::collections::VecDeque;

/// What a log must be when it has so many records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many records.
    pub seq: u64,
    /// Root of their tree.
    pub root: Option<Hash>,
    /// Hash of the last of them.
    pub hash: Option<Hash>,
    /// Who says so: "the checkpoint of …", "the anchor".
    pub from: String,
}

impl Mark {
    /// A head that was noted.
    #[must_use]
    pub fn of_head(head: Head, from: &str) -> Self {
        Self { seq: head.seq, root: None, hash: Some(head.hash), from: from.to_owned() }
    }
}

/// A mark that the records do not meet.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    pub(super) seq: u64,
    /// Up to here everything is known to be as it was.
    held: u64,
    from: String,
}

impl Mismatch {
    pub(super) fn finding(&self, first: u64) -> Finding {
        let begin = self.held.max(first.saturating_sub(1)) + 1;
        let which = match begin == self.seq {
            true => format!("record {begin} was"),
            false => format!("records from {begin} to {} on were", self.seq),
        };
        Finding {
            damage: Damage::Rewritten,
            seq: begin,
            line: begin + 1 - first,
            words: format!(
                "{which} rewritten: the chain holds, but {} knows other ones (record {} is not the \
                 record {} that was written)",
                self.from, self.seq, self.seq
            ),
        }
    }
}

/// Marks that are still to be met, and the tree that is compared with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    tree: Option<Tree>,
    ahead: VecDeque<Mark>,
    held: u64,
    mismatch: Option<Mismatch>,
}

impl Marks {
    pub(super) fn from(tree: Tree) -> Self {
        Self { held: tree.size(), tree: Some(tree), ..Self::default() }
    }

    pub(super) fn expect(&mut self, marks: Vec<Mark>) {
        let begin = self.held;
        let mut marks: Vec<_> = marks.into_iter().filter(|mark| mark.seq > begin).collect();
        marks.sort_by_key(|mark| mark.seq);
        if marks.iter().any(|mark| mark.root.is_some()) {
            self.keep_tree();
        }
        self.ahead = marks.into();
    }

    pub(super) fn keep_tree(&mut self) {
        self.tree.get_or_insert_with(Tree::new);
    }

    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    pub(super) fn mismatch(&self) -> Option<&Mismatch> {
        self.mismatch.as_ref()
    }

    /// The next record of the chain.
    pub(super) fn see(&mut self, seq: u64, hash: Hash) {
        if let Some(tree) = &mut self.tree {
            tree.push(hash);
        }
        while let Some(mark) = self.ahead.front().filter(|mark| mark.seq == seq) {
            let root = match (&mark.root, &self.tree) {
                (Some(root), Some(tree)) => *root == tree.root(),
                _ => true,
            };
            if !root || mark.hash.is_some_and(|known| known != hash) {
                let from = mark.from.clone();
                let held = self.held;
                self.mismatch.get_or_insert(Mismatch { seq, held, from });
                self.ahead.clear();
                return;
            }
            self.held = seq;
            self.ahead.pop_front();
        }
    }
}
