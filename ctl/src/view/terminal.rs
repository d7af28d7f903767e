//! A job's output on its way to a terminal.
//!
//! Bytes that a job chose can retitle a window, answer questions in the user's
//! name, write to the clipboard or hide text. On a terminal everything that is
//! not text, a tab, a line end, a carriage return or backspace (progress bars)
//! or a plain colour is made visible instead. Redirected output is not touched.

/// Longest colour sequence that is passed on.
const MAX_SEQUENCE: usize = 32;

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// ESC was read.
    Escape,
    /// ESC [ and these parameters were read.
    Sequence(Vec<u8>),
    /// The first bytes of a character of several.
    Character(Vec<u8>, usize),
}

/// Keeps its place between pieces, since a piece may end anywhere.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    state: State,
    coloured: bool,
}

impl Filter {
    /// Appends to `out` what may be shown of `piece`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            self.byte(byte, out);
        }
    }

    /// Appends what is still held back, and takes back a colour left on.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.give_up(out);
        if std::mem::take(&mut self.coloured) {
            out.extend_from_slice(b"\x1b[0m");
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (&mut self.state, byte) {
            (State::Text, _) => self.text(byte, out),
            (State::Escape, b'[') => self.state = State::Sequence(Vec::new()),
            (State::Sequence(held), b'0'..=b'9' | b';' | b':') if held.len() < MAX_SEQUENCE => {
                held.push(byte)
            }
            (State::Sequence(held), b'm') => {
                out.extend_from_slice(b"\x1b[");
                out.extend_from_slice(held);
                out.push(b'm');
                self.coloured = !held.iter().all(|b| *b == b'0');
                self.state = State::Text;
            }
            (State::Character(held, wanted), 0x80..=0xbf) => {
                held.push(byte);
                if held.len() == *wanted {
                    character(held, out);
                    self.state = State::Text;
                }
            }
            _ => {
                self.give_up(out);
                self.text(byte, out);
            }
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x1b => self.state = State::Escape,
            b'\n' | b'\t' | b'\r' | 0x08 | 0x20..=0x7e => out.push(byte),
            0x00..=0x1f | 0x7f => out.extend_from_slice(&[b'^', byte ^ 0x40]),
            0xc2..=0xdf => self.state = State::Character(vec![byte], 2),
            0xe0..=0xef => self.state = State::Character(vec![byte], 3),
            0xf0..=0xf4 => self.state = State::Character(vec![byte], 4),
            _ => replacement(out),
        }
    }

    /// What was held back is not what it seemed: show it.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.state) {
            State::Text => {}
            State::Escape => out.extend_from_slice(b"^["),
            State::Sequence(held) => {
                out.extend_from_slice(b"^[[");
                out.extend_from_slice(&held);
            }
            State::Character(..) => replacement(out),
        }
    }
}

/// A character of several bytes; C1 controls and direction overrides are shown
/// by their number.
fn character(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => out.extend_from_slice(super::text::visible(text).as_bytes()),
        Err(_) => replacement(out),
    }
}

fn replacement(out: &mut Vec<u8>) {
    out.extend_from_slice("\u{fffd}".as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for piece in pieces {
            filter.push(piece, &mut out);
        }
        filter.finish(&mut out);
        String::from_utf8(out).expect("a terminal gets UTF-8 only")
    }

    #[test]
    fn text_progress_bars_and_colours_pass() {
        assert_eq!(shown(&[b"a\tb\r 50%\r100%\x08\n"]), "a\tb\r 50%\r100%\x08\n");
        assert_eq!(shown(&["é ✓ 🦀\n".as_bytes()]), "é ✓ 🦀\n");
        assert_eq!(shown(&[b"\x1b[1;38:5:2mx\x1b[0m"]), "\x1b[1;38:5:2mx\x1b[0m");
    }

    #[test]
    fn a_colour_left_on_is_taken_back() {
        assert_eq!(shown(&[b"\x1b[31mred"]), "\x1b[31mred\x1b[0m");
    }

    #[test]
    fn everything_else_becomes_visible() {
        assert_eq!(shown(&[b"\x1b]0;title\x07"]), "^[]0;title^G");
        assert_eq!(shown(&[b"\x1b[2J\x1b[6n"]), "^[[2J^[[6n");
        assert_eq!(shown(&[b"\x1b\x1b[31"]), "^[^[[31");
        assert_eq!(shown(&["\u{9b}2J\u{202e}".as_bytes()]), "\\u{9b}2J\\u{202e}");
        assert_eq!(shown(&[b"\xff\xc0\x9b"]), "\u{fffd}\u{fffd}\u{fffd}");
        let long = [b"\x1b[".as_slice(), &[b'1'; 40], b"m"].concat();
        assert!(!shown(&[&long]).contains('\u{1b}'));
    }

    #[test]
    fn where_a_piece_ends_changes_nothing() {
        let whole = "a\u{1b}[31mé\u{1b}[2J🦀\u{1b}]8;;x\u{7}\u{85}".as_bytes();
        let expected = shown(&[whole]);
        for cut in 0..=whole.len() {
            assert_eq!(shown(&[&whole[..cut], &whole[cut..]]), expected, "{cut}");
        }
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(shown(&single), expected);
    }
}
