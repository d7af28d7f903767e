//! `secrets`: finding them in files, and taking them out of a log.

use crate::cli::{Scan, SecretKind, Secrets};
use crate::connect::Target;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::policies::OVERRIDES;
use crate::say::say;
use crate::view::secrets as view;
use fetchml_policies::secrets::{self, Piece, Redactor, Rules};
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Statuses of `scan` that are answers, and the one that is none.
const STATUS_FOUND: u8 = 1;
const STATUS_FAILED: u8 = 2;
/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 64;

pub(crate) fn run(context: &Context, asked: &Secrets) -> Result<u8> {
    let rules = installed(context.link.target()).map_err(Failure::undecided)?;
    match asked {
        Secrets::Scan(asked) => scan(context, &rules, asked),
        Secrets::Redact => redact(&rules).map_err(Failure::undecided),
    }
}

/// The rules that the meant supervisor would read at its next start.
fn installed(target: &Target) -> Result<Rules> {
    let overrides: &[&str] = match target {
        Target::System => &[OVERRIDES],
        Target::Private(_) => &[],
    };
    secrets::load(overrides).map_err(|e| {
        Failure::no(e.to_string()).hint(format!("mend the files in {OVERRIDES}/secrets"))
    })
}

fn scan(context: &Context, rules: &Rules, asked: &Scan) -> Result<u8> {
    let mut status = 0;
    for path in &asked.paths {
        for file in files(path, 0) {
            let text = file.and_then(|file| read(&file).map(|text| (file, text)));
            let (file, text) = match text {
                Ok(read) => read,
                Err(failure) => {
                    say(&failure);
                    status = STATUS_FAILED;
                    continue;
                }
            };
            let found = find(rules, &text, asked.kind, &file);
            if found.is_empty() {
                continue;
            }
            status = status.max(STATUS_FOUND);
            let lines =
                if context.json { view::json(&found) } else { view::lines(&found, context.style) };
            context.print(&lines)?;
        }
    }
    Ok(status)
}

fn find(rules: &Rules, text: &[u8], kind: SecretKind, path: &Path) -> Vec<view::Found> {
    let text = String::from_utf8_lossy(text);
    let mut places = view::Places::new(&text);
    let mut found = |start, end, rule, key| {
        let (line, column, end_column) = places.of(start, end);
        let path = path.display().to_string();
        view::Found { path, line, column, end_column, rule, key }
    };
    match kind {
        SecretKind::Config => {
            let all = rules.scan_config(&text).into_iter();
            all.map(|f| {
                let rule = rules.id(f.span.rule).to_owned();
                let key = (!f.name.is_empty()).then_some(f.name);
                found(f.span.start, f.span.end, rule, key)
            })
            .collect()
        }
        SecretKind::Log => {
            let all = rules.scan_log(text.as_bytes()).into_iter();
            all.map(|span| found(span.start, span.end, rules.id(span.rule).to_owned(), None))
                .collect()
        }
    }
}

/// A file, or those of a directory in the order of their names. Links within a
/// directory are not followed.
fn files(path: &Path, depth: usize) -> Vec<Result<PathBuf>> {
    let failed =
        |e: &io::Error| vec![Err(Failure::io("cannot read", path.display(), e).undecided())];
    let kind = if depth == 0 { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
    match kind {
        Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {}
        Ok(kind) if kind.is_file() || depth == 0 => return vec![Ok(path.to_owned())],
        Ok(_) => return Vec::new(),
        Err(e) => return failed(&e),
    }
    let listed = std::fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Ok(mut inside) => {
            inside.sort();
            inside.iter().flat_map(|path| files(path, depth + 1)).collect()
        }
        Err(e) => failed(&e),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: io::Error| Failure::io("cannot read", path.display(), &e).undecided();
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let what = format!("cannot read {}: it is longer than 256 MiB", path.display());
        return Err(Failure::no(what)
            .hint("split it, or use `fetchmlctl secrets redact`")
            .undecided());
    }
    Ok(text)
}

fn redact(rules: &Rules) -> Result<u8> {
    let mut redactor = Redactor::new(rules, &[]);
    let mut input = io::stdin().lock();
    let mut output = BufWriter::with_capacity(PIECE_BYTES, io::stdout().lock());
    let mut piece = vec![0; PIECE_BYTES];
    let mut written = Ok(());
    loop {
        let count = match input.read(&mut piece) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Failure::io("cannot read", "standard input", &e)),
        };
        let out = |part: Piece<'_>| {
            let bytes = match part {
                Piece::Text(text) => output.write_all(text),
                Piece::Secret(rule) => output.write_all(rules.marker(rule).as_bytes()),
            };
            if written.is_ok() {
                written = bytes;
            }
        };
        match count {
            0 => redactor.finish(rules, out),
            _ => redactor.feed(rules, piece.get(..count).unwrap_or_default(), out),
        }
        // What is decided is shown at once: somebody may be watching.
        let flushed = std::mem::replace(&mut written, Ok(())).and_then(|()| output.flush());
        flushed.map_err(|e| Failure::output(&e))?;
        if count == 0 {
            return Ok(0);
        }
    }
}
