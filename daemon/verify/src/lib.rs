//! Verification of an audit log from its files: no configuration, no network, no
//! service. What a log is and what is wrong with one is decided in
//! [`fetchml_api::audit`]; here files are found and read within bounds.

mod ask;
mod files;
mod journal;
mod words;

pub use ask::{Asked, HELP, anchor_or_file, key_or_file, read_arguments};
pub use journal::{Reach, read_journal};
pub use words::{json, text, word};

use fetchml_api::audit::mirror::Mirror;
use fetchml_api::audit::{Checkpoints, Examination, ExcerptHeader, Known, Report};
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

/// Verifies files and directories, and compares them with the journal's copy if that is
/// given. What is beside them is read as well: checkpoints,
/// and the file that tells the end.
///
/// # Errors
/// [`Unreadable`] when a file is not there, is no plain file, or cannot be read.
pub fn verify_paths(
    paths: &[PathBuf],
    mut known: Known,
    mirror: Option<Mirror>,
) -> Result<Report, Unreadable> {
    if let [path] = paths
        && path.is_file()
    {
        let mut file = BufReader::with_capacity(READ_BYTES, files::open(path)?);
        let begin = file.fill_buf().map_err(|e| files::unreadable(path, &e))?;
        if ExcerptHeader::begins(begin) {
            if mirror.is_some() {
                return Err(Unreadable(
                    "an export is not compared with a journal: verify the log that it is from"
                        .to_owned(),
                ));
            }
            return verify_export(file, known);
        }
    }
    let found = files::find(paths)?;
    known.heads.extend(found.head);
    let mut verification = Verification::new(known, mirror);
    let (notes, segments): (Vec<_>, Vec<_>) =
        found.files.into_iter().partition(|(name, _)| is_notes(name));
    // One after the other: a log has more files than a process may have open.
    for (name, path) in notes.into_iter().chain(segments) {
        verification.add(&name, files::open(&path)?)?;
    }
    Ok(verification.finish())
}

/// Whether a file of this name holds checkpoints. The others hold records.
#[must_use]
pub fn is_notes(name: &str) -> bool {
    name.ends_with(".notes")
}

/// Verifies a log file by file: first all checkpoints in order, then all segments.
#[derive(Debug)]
pub struct Verification {
    stage: Stage,
    mirror: Option<Mirror>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Checkpoints(Box<Checkpoints>),
    /// The first segment that is not empty says where the log begins.
    Records(Box<Examination>),
}

impl Verification {
    /// Nothing read yet. The journal's copy must have been read before the files, which
    /// may grow.
    #[must_use]
    pub fn new(known: Known, mirror: Option<Mirror>) -> Self {
        let stage = Stage::Checkpoints(Box::new(Checkpoints::new(known)));
        Self { stage, mirror, buffer: vec![0; READ_BYTES] }
    }

    /// The next file.
    ///
    /// # Errors
    /// [`Unreadable`] when it cannot be read, or is one of checkpoints after records.
    pub fn add(&mut self, name: &str, file: File) -> Result<(), Unreadable> {
        match is_notes(name) {
            true => self.add_notes(name, file),
            false => self.add_segment(name, file),
        }
    }

    fn add_notes(&mut self, name: &str, file: File) -> Result<(), Unreadable> {
        let Stage::Checkpoints(checkpoints) = &mut self.stage else {
            return Err(Unreadable(format!("{name} must be read before any records")));
        };
        let failed = |error| Unreadable(format!("cannot read {name}: {error}"));
        let mut bytes = Vec::new();
        file.take(MAX_NOTES_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_NOTES_BYTES {
            return Err(Unreadable(format!("{name} is longer than {MAX_NOTES_BYTES} bytes")));
        }
        checkpoints.read(name, &bytes);
        Ok(())
    }

    fn add_segment(&mut self, name: &str, mut file: File) -> Result<(), Unreadable> {
        loop {
            let length = read(name, &mut file, &mut self.buffer)?;
            if length == 0 {
                return Ok(());
            }
            let bytes = &self.buffer[..length];
            if let Stage::Checkpoints(checkpoints) = &mut self.stage {
                let none = Box::new(Checkpoints::new(Known::default()));
                let read = std::mem::replace(checkpoints, none);
                self.stage = Stage::Records(Box::new(read.examine(bytes)));
            }
            if let Stage::Records(examination) = &mut self.stage {
                examination.feed(bytes);
            }
            if let Some(mirror) = &mut self.mirror {
                mirror.feed(bytes);
            }
        }
    }

    /// All files were read.
    #[must_use]
    pub fn finish(self) -> Report {
        let examination = match self.stage {
            Stage::Records(examination) => examination,
            Stage::Checkpoints(checkpoints) => Box::new(checkpoints.examine(&[])),
        };
        let mut report = examination.finish();
        if let Some(mirror) = self.mirror {
            mirror.finish().add_to(&mut report);
        }
        report
    }
}

/// Fills the buffer as far as there is something.
fn read(name: &str, file: &mut File, buffer: &mut [u8]) -> Result<usize, Unreadable> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unreadable(format!("cannot read {name}: {error}"))),
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
