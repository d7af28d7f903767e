//! Findings: where, and by which rule; what was found is not in them.

use crate::view::style::{Style, Tone};
use serde::Serialize;

/// One finding, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end_column: usize,
    pub(crate) rule: String,
    pub(crate) key: Option<String>,
}

/// Lines and columns of places that only go forward.
pub(crate) struct Places<'t> {
    text: &'t str,
    line: usize,
    line_start: usize,
}

impl<'t> Places<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, line: 1, line_start: 0 }
    }

    /// Line, column and the column after the end; of several lines, those of the first.
    pub(crate) fn of(&mut self, start: usize, end: usize) -> (usize, usize, usize) {
        let before = self.text.get(self.line_start..start).unwrap_or_default();
        self.line += before.matches('\n').count();
        if let Some(at) = before.rfind('\n') {
            self.line_start += at + 1;
        }
        let count =
            |from: usize, to: usize| self.text.get(from..to).map_or(0, |t| t.chars().count());
        let column = count(self.line_start, start) + 1;
        let shown = self.text.get(start..end).and_then(|s| s.lines().next()).unwrap_or_default();
        (self.line, column, column + shown.chars().count())
    }
}

/// A line for each, as compilers write them.
pub(crate) fn lines(found: &[Found], style: Style) -> String {
    let mut text = String::new();
    for one in found {
        let place = format!("{}:{}:{}", one.path.escape_debug(), one.line, one.column);
        let rule = style.paint(Tone::Bad, &one.rule);
        let key =
            one.key.as_ref().map_or_else(String::new, |key| format!(" in {}", key.escape_debug()));
        text.push_str(&format!("{place}: {rule}{key}\n"));
    }
    text
}

/// A JSON object a line.
pub(crate) fn json(found: &[Found]) -> String {
    found.iter().filter_map(|one| serde_json::to_string(one).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_end_with_the_line() {
        let mut places = Places::new("ä\nöx = abc\nde\n");
        assert_eq!(places.of(9, 12), (2, 6, 9));
        assert_eq!(places.of(9, 15), (2, 6, 9));
        assert_eq!(places.of(13, 15), (3, 1, 3));
    }
}
