//! Verification of an audit log from its files: no configuration, no network, no
//! service. What a log is and what is wrong with one is decided in
//! [`fetchml_api::audit`]; here files are found and read within bounds.

mod ask;
mod files;
mod words;

pub use ask::{Asked, HELP, anchor_or_file, key_or_file, read_arguments};
pub use words::{json, text, word};

use fetchml_api::audit::{Checkpoints, ExcerptHeader, Known, Report};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// Exit status when nothing could be judged.
pub const UNREADABLE: u8 = 3;
const READ_BYTES: usize = 1 << 20;
/// Checkpoints of one segment at most, as the supervisor reads them.
const MAX_NOTES_BYTES: u64 = 256 << 20;

/// Nothing could be judged, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file of a log: its name says whether it holds records (`.log`) or
/// checkpoints (`.notes`).
#[derive(Debug)]
pub struct Piece {
    /// Its name.
    pub name: String,
    /// Open for reading.
    pub file: File,
}

impl Piece {
    fn is_notes(&self) -> bool {
        self.name.ends_with(".notes")
    }
}

/// Verifies files and directories. What is beside them is read as well: checkpoints,
/// and the file that tells the end.
///
/// # Errors
/// [`Unreadable`] when a file is not there, is no plain file, or cannot be read.
pub fn verify_paths(paths: &[PathBuf], mut known: Known) -> Result<Report, Unreadable> {
    if let [path] = paths
        && path.is_file()
    {
        let mut file = BufReader::with_capacity(READ_BYTES, files::open(path)?);
        let begin = file.fill_buf().map_err(|e| files::unreadable(path, &e))?;
        if ExcerptHeader::begins(begin) {
            return verify_export(file, known);
        }
    }
    let found = files::find(paths)?;
    known.heads.extend(found.head);
    verify_pieces(found.pieces, known)
}

/// Verifies a log from its files, in order.
///
/// # Errors
/// [`Unreadable`] when a file cannot be read.
pub fn verify_pieces(pieces: Vec<Piece>, known: Known) -> Result<Report, Unreadable> {
    let (notes, segments): (Vec<_>, Vec<_>) = pieces.into_iter().partition(Piece::is_notes);
    let mut checkpoints = Checkpoints::new(known);
    for Piece { name, file } in notes {
        let failed = |error| Unreadable(format!("cannot read {name}: {error}"));
        let mut bytes = Vec::new();
        file.take(MAX_NOTES_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_NOTES_BYTES {
            return Err(Unreadable(format!("{name} is longer than {MAX_NOTES_BYTES} bytes")));
        }
        checkpoints.read(&name, &bytes);
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut segments = segments.into_iter();
    // The first piece that is not empty says where the log begins.
    let (mut first, mut length) = (None, 0);
    for mut segment in segments.by_ref() {
        length = read(&mut segment, &mut buffer)?;
        first = Some(segment);
        if length > 0 {
            break;
        }
    }
    let mut examination = checkpoints.examine(&buffer[..length]);
    examination.feed(&buffer[..length]);
    for mut segment in first.into_iter().chain(segments) {
        loop {
            match read(&mut segment, &mut buffer)? {
                0 => break,
                count => examination.feed(&buffer[..count]),
            }
        }
    }
    Ok(examination.finish())
}

/// Fills the buffer as far as there is something.
fn read(piece: &mut Piece, buffer: &mut [u8]) -> Result<usize, Unreadable> {
    let mut length = 0;
    while length < buffer.len() {
        match piece.file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unreadable(format!("cannot read {}: {error}", piece.name))),
        }
    }
    Ok(length)
}

fn verify_export(mut file: impl BufRead, known: Known) -> Result<Report, Unreadable> {
    let failed = |error: std::io::Error| Unreadable(format!("cannot read the export: {error}"));
    let mut broken = None;
    let mut next = |limit: usize| {
        let mut line = Vec::new();
        let read = file.by_ref().take(limit as u64).read_until(b'\n', &mut line);
        if let Err(error) = read {
            broken = Some(error);
        }
        line.pop_if(|last| *last == b'\n')?;
        String::from_utf8(line).ok()
    };
    let header = ExcerptHeader::read(&mut next);
    if let Some(error) = broken {
        return Err(failed(error));
    }
    let header = header.map_err(|error| Unreadable(error.to_string()))?;
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let begin = file.fill_buf().map_err(failed)?;
    let mut tail = header.examine(known, begin);
    loop {
        let bytes = file.fill_buf().map_err(failed)?;
        if bytes.is_empty() {
            return Ok(tail.finish());
        }
        tail.feed(bytes);
        let length = bytes.len();
        file.consume(length);
    }
}
