//! What this program itself says, to standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

/// One line for the person; nobody reading it is no failure.
pub(crate) fn say(words: &impl Display) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}
