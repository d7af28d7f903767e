//! The log as `logs` prints it: each stream where the job wrote it, so that
//! `logs` repeats `run`; one stream or JSON lines on standard output alone.

use super::sink::{Sink, Streams};
use crate::view::text;
use fetchml_api::log::{FrameHeader, Stream};
use serde::Serialize;
use std::io;

/// A line longer than this is printed in pieces.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes as they are.
    Plain,
    /// Each line after the time at which its first byte was read.
    Stamped,
    /// Each line as a JSON object.
    Json,
}

/// Prints the chosen streams of a log.
#[derive(Debug)]
pub(crate) struct Printer {
    streams: Streams,
    only: Option<Stream>,
    form: Form,
    lines: [Line; 2],
}

#[derive(Debug, Default)]
struct Line {
    time_usec: u64,
    bytes: Vec<u8>,
}

impl Printer {
    pub(crate) fn new(only: Option<Stream>, form: Form) -> io::Result<Self> {
        Ok(Self { streams: Streams::standard()?, only, form, lines: Default::default() })
    }
}

impl Printer {
    /// Where text of a stream goes.
    fn place(&self, stream: Stream) -> Stream {
        if self.only.is_some() || self.form == Form::Json { Stream::Stdout } else { stream }
    }

    fn print(&mut self, header: FrameHeader, text: &[u8]) -> io::Result<()> {
        let stream = self.place(header.stream);
        self.streams.frame(FrameHeader { stream, ..header }, text)
    }
}

impl Sink for Printer {
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> io::Result<()> {
        if self.only.is_some_and(|s| s != header.stream) {
            return Ok(());
        }
        if self.form == Form::Plain {
            return self.print(header, payload);
        }
        for piece in payload.split_inclusive(|b| *b == b'\n') {
            let line = match header.stream {
                Stream::Stdout => &mut self.lines[0],
                Stream::Stderr => &mut self.lines[1],
            };
            if line.bytes.is_empty() {
                line.time_usec = header.time_usec;
            }
            line.bytes.extend_from_slice(piece);
            if line.bytes.ends_with(b"\n") || line.bytes.len() >= MAX_LINE_BYTES {
                let text = shape(self.form, header.stream, line);
                line.bytes.clear();
                self.print(header, &text)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.streams.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        for (at, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let line = std::mem::take(&mut self.lines[at]);
            if !line.bytes.is_empty() {
                let text = shape(self.form, stream, &line);
                let header = FrameHeader { len: text.len(), stream, time_usec: line.time_usec };
                self.print(header, &text)?;
            }
        }
        self.streams.finish()
    }
}

/// One line of a log in JSON. Text that is not UTF-8 is an array of bytes, as
/// in the journal's JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    time_usec: u64,
    stream: &'static str,
    text: Text<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Utf8(&'a str),
    Bytes(&'a [u8]),
}

fn shape(form: Form, stream: Stream, line: &Line) -> Vec<u8> {
    let bytes = line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes);
    let mut out = match form {
        Form::Json => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let text = std::str::from_utf8(bytes).map_or(Text::Bytes(bytes), Text::Utf8);
            // Numbers and text always have a JSON form.
            serde_json::to_vec(&JsonLine { time_usec: line.time_usec, stream, text })
                .unwrap_or_default()
        }
        Form::Plain | Form::Stamped => {
            let mut out = text::exact_time(line.time_usec).into_bytes();
            out.push(b' ');
            out.extend_from_slice(bytes);
            out
        }
    };
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Line {
        Line { time_usec: 1_763_000_000_000_001, bytes: bytes.to_vec() }
    }

    #[test]
    fn lines_carry_their_time_and_stream() {
        let text = |form, bytes: &[u8]| {
            String::from_utf8(shape(form, Stream::Stderr, &line(bytes))).expect("text")
        };
        assert_eq!(text(Form::Stamped, b"a b\n"), "2025-11-13T02:13:20.000001Z a b\n");
        assert_eq!(
            text(Form::Json, b"\"\n"),
            "{\"time_usec\":1763000000000001,\"stream\":\"stderr\",\"text\":\"\\\"\"}\n"
        );
        assert!(text(Form::Json, b"\xff\x00").contains("\"text\":[255,0]"));
    }
}
