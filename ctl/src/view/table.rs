//! Plain columns under one header line, fitted to a terminal when there is one.

use crate::view::style::{Style, Tone};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: &str = "  ";
/// A column is not cut below this.
const MIN_WIDTH: usize = 8;

/// One cell: text and, where it has a meaning, a tone.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Option<Tone>,
}

impl<S: Into<String>> From<S> for Cell {
    fn from(text: S) -> Self {
        Self { text: text.into(), tone: None }
    }
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

/// Draws rows. With a width, the widest column gives way until a line fits;
/// without one nothing is cut, so that a script gets all of it.
pub(crate) fn draw(
    header: &[&str],
    rows: &[Vec<Cell>],
    width: Option<usize>,
    style: Style,
) -> String {
    let mut widths = natural_widths(header, rows);
    if let Some(limit) = width {
        fit(&mut widths, limit);
    }
    let head: Vec<Cell> = header.iter().map(|h| Cell::toned(*h, Tone::Quiet)).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        line(&mut out, row, &widths, style);
    }
    out
}

/// How wide a line is with nothing cut.
pub(crate) fn drawn_width(header: &[&str], rows: &[Vec<Cell>]) -> usize {
    natural_widths(header, rows).iter().sum::<usize>() + gaps(header.len())
}

fn natural_widths(header: &[&str], rows: &[Vec<Cell>]) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|h| h.width()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.text.width());
        }
    }
    widths
}

fn gaps(columns: usize) -> usize {
    GAP.len() * columns.saturating_sub(1)
}

fn fit(widths: &mut [usize], limit: usize) {
    let mut over = (widths.iter().sum::<usize>() + gaps(widths.len())).saturating_sub(limit);
    while over > 0 {
        let Some(widest) = widths.iter_mut().max().filter(|w| **w > MIN_WIDTH) else {
            return;
        };
        *widest -= 1;
        over -= 1;
    }
}

fn line(out: &mut String, row: &[Cell], widths: &[usize], style: Style) {
    let last = row.len().saturating_sub(1);
    for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, *width);
        let pad = width.saturating_sub(text.width());
        match cell.tone {
            Some(tone) => out.push_str(&style.paint(tone, &text)),
            None => out.push_str(&text),
        }
        if i < last {
            out.extend(std::iter::repeat_n(' ', pad));
            out.push_str(GAP);
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        let needs = c.width().unwrap_or(0);
        if needs > room {
            break;
        }
        room -= needs;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = vec![
            vec!["1".into(), "größe".into(), "x".into()],
            vec!["12".into(), "a".into(), "".into()],
        ];
        let table = draw(&["JOB", "NAME", "REASON"], &rows, None, PLAIN);
        assert_eq!(table, "JOB  NAME   REASON\n1    größe  x\n12   a\n");
    }

    #[test]
    fn the_widest_column_gives_way_to_the_terminal() {
        let rows = vec![vec!["1".into(), "x".repeat(50).into(), "short".into()]];
        let table = draw(&["JOB", "NAME", "REASON"], &rows, Some(30), PLAIN);
        assert!(table.lines().all(|l| l.width() <= 30), "{table}");
        assert!(table.contains('…'));
        assert!(draw(&["JOB", "NAME", "REASON"], &rows, None, PLAIN).contains(&"x".repeat(50)));
    }

    #[test]
    fn colour_does_not_change_the_columns() {
        let rows = vec![vec![Cell::toned("a", Tone::Good), "b".into()]];
        let coloured = draw(&["AAA", "B"], &rows, None, Style { colour: true });
        assert!(coloured.ends_with("\u{1b}[32ma\u{1b}[0m    b\n"), "{coloured:?}");
    }
}
