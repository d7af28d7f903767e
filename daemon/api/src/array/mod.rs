//! From `1-100:2%4` and `lr=0.1,0.01` to the jobs of an array: the same function
//! for the supervisor that makes them and for the client that shows them first.
//!
//! How many there will be is known, and refused when it is too many, before
//! anything is made of them.

mod fill;
mod read;
#[cfg(test)]
mod tests;

pub use fill::TooLarge;
pub use read::values;

/// Most characters of one value.
const MAX_VALUE_CHARS: usize = 1024;
/// Highest index of an array.
pub const MAX_INDEX: u64 = 1_000_000_000;
/// The name that stands for a job's index in its command.
pub const INDEX: &str = "index";

/// What is wrong with an array, with the value and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArrayError(pub(crate) String);

/// Indices from `first` to `last`, each `step` more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first: u64,
    last: u64,
    step: u64,
}

impl Stretch {
    /// How many; `step` is at least 1 and `last` at most [`MAX_INDEX`].
    fn len(self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    fn indices(self) -> impl Iterator<Item = u64> {
        (0..self.len()).map(move |n| self.first + n * self.step)
    }
}

/// The jobs that an array or a sweep stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// In the order in which they were written, none twice.
    stretches: Vec<Stretch>,
    /// Names and values; the last name changes fastest.
    sweep: Vec<(String, Vec<String>)>,
    at_once: u32,
    count: u64,
}

/// One job of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'e> {
    /// Its index, as the user counts.
    pub index: u64,
    /// Its variables with their values, in the order in which they were given.
    pub variables: Vec<(&'e str, &'e str)>,
}

impl Expansion {
    /// What these words stand for. `array` is `1-100`, `1-100:2` or `3,7,9-12`, each
    /// with `%4` behind it when at most so many are to run at once; with a sweep it
    /// is `%4` alone, since the combinations of a sweep are counted from 1.
    ///
    /// # Errors
    /// [`ArrayError`] when they stand for nothing, or for more than `most` jobs.
    pub fn read(
        array: Option<&str>,
        sweep: Vec<(String, Vec<String>)>,
        most: u64,
    ) -> Result<Self, ArrayError> {
        read::expansion(array, sweep, most)
    }

    /// How many jobs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Most of them that run at once; 0 for no limit.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        self.at_once
    }

    /// Names of the sweep's variables, in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sweep.iter().map(|(name, _)| name.as_str())
    }

    /// The jobs, in the order in which they are made.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let indices = self.stretches.iter().flat_map(|stretch| stretch.indices());
        (0..self.count).zip(indices).map(|(n, index)| Member { index, variables: self.nth(n) })
    }

    /// Combination `n` of the sweep, from 0.
    fn nth(&self, n: u64) -> Vec<(&str, &str)> {
        let mut rest = n;
        let mut variables: Vec<_> = self
            .sweep
            .iter()
            .rev()
            .map(|(name, values)| {
                let many = values.len() as u64;
                // Below the length of a vector, so it fits.
                let at = usize::try_from(rest % many).unwrap_or(0);
                rest /= many;
                (name.as_str(), values[at].as_str())
            })
            .collect();
        variables.reverse();
        variables
    }
}
