//! Whether a word looks random.

/// Shannon entropy in bits a byte.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bits(word: &[u8]) -> f64 {
    let mut counts = [0usize; 256];
    for byte in word {
        counts[usize::from(*byte)] += 1;
    }
    let total = word.len() as f64;
    let share = |count: &usize| *count as f64 / total;
    counts.iter().filter(|c| **c > 0).map(|c| -share(c) * log2(share(c))).sum()
}

/// The logarithm to base 2 of a number above 0. The standard library's is not to be had
/// without it.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn log2(number: f64) -> f64 {
    const FRACTION: u32 = 52;
    let bits = number.to_bits();
    let exponent = (bits >> FRACTION) as i64 - 1023;
    // From 1 to 2.
    let fraction = f64::from_bits(bits & ((1 << FRACTION) - 1) | 1023 << FRACTION);
    let (fraction, exponent) = match fraction {
        large if large > core::f64::consts::SQRT_2 => (large / 2.0, exponent + 1),
        small => (small, exponent),
    };
    // ln x = 2 artanh ((x - 1) / (x + 1)), whose argument is below 0.172.
    let ratio = (fraction - 1.0) / (fraction + 1.0);
    let terms = (0..12).rev().map(|n| 1.0 / f64::from(2 * n + 1));
    let series = terms.fold(0.0, |sum, term| sum * ratio * ratio + term);
    exponent as f64 + 2.0 * ratio * series * core::f64::consts::LOG2_E
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
}

fn class(byte: u8) -> Option<Class> {
    match byte {
        b'a'..=b'z' => Some(Class::Lower),
        b'A'..=b'Z' => Some(Class::Upper),
        b'0'..=b'9' => Some(Class::Digit),
        _ => None,
    }
}

/// What the letters and digits of a word show.
struct Looks {
    len: usize,
    lower: usize,
    upper: usize,
    digits: usize,
    /// Letters and digits of another class than the one before.
    changes: usize,
    /// Small letters and digits in runs of three and more of their class.
    in_runs: usize,
}

fn look(word: &[u8]) -> Looks {
    let mut looks = Looks { len: 0, lower: 0, upper: 0, digits: 0, changes: 0, in_runs: 0 };
    let (mut last, mut run) = (None, 0);
    for one in word.iter().filter_map(|byte| class(*byte)) {
        looks.len += 1;
        match one {
            Class::Lower => looks.lower += 1,
            Class::Upper => looks.upper += 1,
            Class::Digit => looks.digits += 1,
        }
        if last == Some(one) {
            run += 1;
        } else {
            looks.changes += usize::from(last.is_some());
            run = 1;
            last = Some(one);
        }
        looks.in_runs += match (one, run) {
            (Class::Upper, _) | (_, 0..=2) => 0,
            (_, 3) => 3,
            _ => 1,
        };
    }
    looks
}

/// Nothing but hexadecimal digits of one case, with both letters and digits.
pub(crate) fn is_hex(word: &[u8]) -> bool {
    let looks = look(word);
    word.iter().all(u8::is_ascii_hexdigit)
        && looks.digits > 0
        && (looks.lower > 0) != (looks.upper > 0)
}

/// The rule of the specification: three classes, more than 4 bits a byte (a short
/// word cannot have as many, so less is asked of it), and no words in it.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn is_random(word: &[u8]) -> bool {
    let looks = look(word);
    if word.len() < 20 || looks.lower == 0 || looks.upper == 0 || looks.digits == 0 {
        return false;
    }
    let needed = f64::min(4.0, log2(word.len() as f64) - 0.6);
    looks.changes * 10 > looks.len * 4 && looks.in_runs * 2 <= looks.len && bits(word) > needed
}

/// The weaker question, where the name has already raised a suspicion.
pub(crate) fn is_suspicious(word: &[u8]) -> bool {
    let looks = look(word);
    let letters = looks.lower + looks.upper;
    if word.len() < 8 || letters == 0 {
        return false;
    }
    if is_hex(word) {
        return word.len() >= 16;
    }
    let marks = word.iter().filter(|byte| b"!@#$%^&*+=?~".contains(byte)).count();
    if marks > 0 && (looks.digits > 0 || looks.upper > 0 && looks.lower > 0) {
        return true;
    }
    // Words with a number at the end are names: layer12, checkpoint2.
    let mixed = looks.changes * 10 >= looks.len * 2 && looks.digits > 0;
    mixed && looks.changes >= 2
}

/// Whether a person would have chosen it as a password: letters with digits or marks.
pub(crate) fn is_passwordlike(word: &[u8]) -> bool {
    let looks = look(word);
    let marks = word.iter().any(|byte| b"!@#$%^&*?~".contains(byte));
    word.len() >= 6 && looks.lower + looks.upper > 0 && (looks.digits > 0 || marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_standard_library() {
        for number in (1..2000).flat_map(|n| [f64::from(n), 1.0 / f64::from(n)]) {
            let (ours, theirs) = (log2(number), number.log2());
            assert!((ours - theirs).abs() < 1e-14 * theirs.abs().max(1.0), "{number}");
        }
        assert_eq!(bits(b"0123456789abcdef").to_bits(), 4f64.to_bits(), "not above 4");
    }

    #[test]
    fn random_words_are_told_from_names() {
        for word in ["kY3vR8wQz1LmN7bTx2Jp", "dG9tYXRvZXMgYXJl9Zx7Qa1R4tU8pKv2W"] {
            assert!(is_random(word.as_bytes()), "{word}");
        }
        for word in [
            "Qwen2ForCausalLMWithValueHead",
            "model.layers.11.self_attn.q_proj.weight",
            "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
            "train-00012-of-00128.parquet",
            "the_quick_brown_fox_jumps_over",
        ] {
            assert!(!is_random(word.as_bytes()), "{word}");
        }
        assert!(is_suspicious(b"9f86d081884c7d659a2f") && !is_suspicious(b"checkpoint2"));
    }
}
