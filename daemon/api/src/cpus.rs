//! Which processors, by number.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Numbers above the highest that a set can have.
const MAX: usize = 1024;
const WORDS: usize = MAX / 64;
/// Longer than the longest that names each once.
const MAX_TEXT_BYTES: usize = 4096;

/// Processors by their numbers, 0 to 1023, written in the kernel's list format
/// (cpuset(7), "List format"): `0-3,8`. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet([u64; WORDS]);

/// Why a text is not a set of processors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no list of CPUs: give numbers below {MAX} and ranges, such as 0-3,8")]
pub struct NotCpus(
    /// The text, or its beginning.
    String,
);

impl CpuSet {
    /// Whether this processor is in it.
    #[must_use]
    pub fn has(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// What of it the other lacks; `None` when that has all of it.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Option<Self> {
        let mut left = *self;
        for (word, others) in left.0.iter_mut().zip(other.0) {
            *word &= !others;
        }
        left.0.iter().any(|word| *word != 0).then_some(left)
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        (0..MAX).filter(|cpu| self.has(*cpu))
    }
}

impl FromStr for CpuSet {
    type Err = NotCpus;

    fn from_str(text: &str) -> Result<Self, NotCpus> {
        let wrong = || NotCpus(text.chars().take(40).collect());
        if text.len() > MAX_TEXT_BYTES {
            return Err(wrong());
        }
        let number = |word: &str| -> Result<usize, NotCpus> {
            // A sign is none of the format's.
            let digits = word.bytes().all(|b| b.is_ascii_digit());
            word.parse().ok().filter(|cpu| digits && *cpu < MAX).ok_or_else(wrong)
        };
        let mut set = [0; WORDS];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            for cpu in first..=last {
                if let Some(word) = set.get_mut(cpu / 64) {
                    *word |= 1 << (cpu % 64);
                }
            }
        }
        Ok(Self(set))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.numbers().peekable();
        let mut separator = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for CpuSet {
    type Error = NotCpus;

    fn try_from(text: String) -> Result<Self, NotCpus> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (given, canonical) in [
            ("0", "0"),
            ("0-3,8", "0-3,8"),
            ("8,2,1,0,3", "0-3,8"),
            ("5-5,6", "5-6"),
            ("1023", "1023"),
        ] {
            let set: CpuSet = given.parse().expect(given);
            assert_eq!(set.to_string(), canonical);
            let json = serde_json::to_string(&set).expect("JSON");
            assert_eq!(json, format!("\"{canonical}\""));
            assert_eq!(serde_json::from_str::<CpuSet>(&json).expect("read back"), set);
        }
        let long = "0-1023,".repeat(1000);
        for wrong in
            [long.as_str(), "", ",", "0,", "3-1", "1024", "-1", "+1", "0-", "a", "0 1", "0-3:2"]
        {
            let refused = wrong.parse::<CpuSet>().expect_err(wrong).to_string();
            assert!(refused.contains("such as 0-3,8"), "{refused}");
        }
    }

    #[test]
    fn what_is_beyond_another_is_named() {
        let set = |text: &str| text.parse::<CpuSet>().expect(text);
        assert_eq!(set("0-3").beyond(&set("0-7")), None);
        assert_eq!(set("2-9").beyond(&set("0-3,8")), Some(set("4-7,9")));
    }
}
