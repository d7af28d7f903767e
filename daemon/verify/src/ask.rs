//! The command line of the verifier that stands alone.

use super::Unreadable;
use fetchml_api::audit::{AnchorLine, Head, Known, PublicKey};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `--help` says.
pub const HELP: &str = "\
Example: fetchml-audit-verify --key audit.pub export.audit

Verifies an audit log of FetchML: an export, the files of a log, or its
directory. Needs nothing else: no configuration, no network, no service.

Usage: fetchml-audit-verify [OPTION]... FILE|DIRECTORY...

  --key KEY|FILE        a public key of the log, as `fetchmlctl audit key` prints
                        it; give each key that was in use
  --anchor LINE|FILE    a line that `fetchmlctl audit anchor` printed, or a file
                        of such lines: the log must be as it was then
  --head NUMBER:HASH    number and hash of a record, noted earlier
  --json                the judgement for a program
  --help, --version

Exit status: 0 intact, 1 tampered, 2 incomplete or not signed to its end,
3 not an audit log, or it cannot be read.
";

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What is known from elsewhere.
    pub known: Known,
    /// What is to be verified.
    pub paths: Vec<PathBuf>,
    /// The answer is for a program.
    pub json: bool,
    /// Only this is to be printed.
    pub only: Option<String>,
}

/// Reads the command line, without the name of the program.
///
/// # Errors
/// [`Unreadable`] in words for whoever typed it.
pub fn read_arguments(words: impl Iterator<Item = OsString>) -> Result<Asked, Unreadable> {
    let mut asked = Asked::default();
    let mut words = words;
    let mut only_paths = false;
    while let Some(word) = words.next() {
        let Some(option) = word.to_str().filter(|text| text.starts_with("--") && !only_paths)
        else {
            asked.paths.push(word.into());
            continue;
        };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let mut value = || {
            let given = inline.clone().or_else(|| words.next()?.into_string().ok());
            given.ok_or_else(|| Unreadable(format!("{name} needs a value; see --help")))
        };
        match name {
            "--" => only_paths = true,
            "--json" => asked.json = true,
            "--help" => asked.only = Some(HELP.to_owned()),
            "--version" => {
                asked.only = Some(
                    concat!("fetchml-audit-verify ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
                );
            }
            "--key" => asked.known.keys.extend(key_or_file(&value()?)?),
            "--anchor" => asked.known.anchors.extend(anchor_or_file(&value()?)?),
            "--head" => asked.known.heads.push(head(&value()?)?),
            _ => return Err(Unreadable(format!("unknown option {name}; see --help"))),
        }
    }
    if asked.only.is_none() && asked.paths.is_empty() {
        return Err(Unreadable("name a file or a directory to verify; see --help".to_owned()));
    }
    Ok(asked)
}

fn head(text: &str) -> Result<Head, Unreadable> {
    let read = text
        .split_once(':')
        .and_then(|(seq, hash)| Some(Head { seq: seq.parse().ok()?, hash: hash.parse().ok()? }));
    read.ok_or_else(|| Unreadable(format!("--head {text}: write NUMBER:HASH")))
}

/// Public keys: one as it is written, or those of a file, one a line.
///
/// # Errors
/// [`Unreadable`] when it is neither.
pub fn key_or_file(text: &str) -> Result<Vec<PublicKey>, Unreadable> {
    one_or_file(text)
}

/// Anchors: one as it is written, or those of a file, one a line.
///
/// # Errors
/// [`Unreadable`] when it is neither.
pub fn anchor_or_file(text: &str) -> Result<Vec<AnchorLine>, Unreadable> {
    one_or_file(text)
}

fn one_or_file<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<Vec<T>, Unreadable> {
    let error = match text.trim().parse() {
        Ok(one) => return Ok(vec![one]),
        Err(error) => error,
    };
    let content = match std::fs::read_to_string(Path::new(text)) {
        Ok(content) => content,
        Err(_) => {
            return Err(Unreadable(format!(
                "{text:?} is {error}; and no file of that name can be read"
            )));
        }
    };
    let lines = content.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let read: Result<Vec<T>, _> =
        lines.map(|line| line.parse().map_err(|e| Unreadable(format!("in {text}: {e}")))).collect();
    match read {
        Ok(list) if list.is_empty() => Err(Unreadable(format!("{text} holds none"))),
        other => other,
    }
}
