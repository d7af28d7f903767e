//! `audit verify`: whether the log is as it was written.

use crate::cmd::audit_show::{head, segments};
use crate::connect::Target;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::say::say;
use crate::view::audit;
use fetchml_api::audit::{Anchor, Head, Report, Verifier};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// Beside the segments, the supervisor keeps the end of the log in this file.
const HEAD_FILE: &str = "head";
/// Status of a log that cannot be read.
const UNREADABLE: u8 = 3;

pub(crate) async fn run(context: &Context, files: &[PathBuf], given: Option<Head>) -> Result<u8> {
    let log =
        if files.is_empty() { supervised(context).await } else { Ok(Log::Files(files.to_vec())) };
    match log.and_then(|log| verify(log, given)) {
        Ok(report) => {
            let status = report.verdict.exit_code();
            if context.json {
                context.print_json(&audit::json(&report))?;
            } else {
                context.print(&audit::verdict(&report, context.style))?;
            }
            Ok(status)
        }
        // The four statuses are the contract: not having read it is the fourth.
        Err(failure) => {
            say(&failure);
            Ok(UNREADABLE)
        }
    }
}

/// Where the segments come from.
enum Log {
    /// A running supervisor, which knows how far the log must go.
    Supervised(Head, Vec<(String, File)>),
    /// Files on the disk, named by the person or of a supervisor that is not
    /// running: perhaps because its log is damaged, which is what is asked.
    Files(Vec<PathBuf>),
}

/// The end is asked for first, so that a record written meanwhile is one more
/// than must be there and not one less. Verifying starts no supervisor.
async fn supervised(context: &Context) -> Result<Log> {
    let target = context.link.target();
    match target.connect_running().await {
        Ok(_) => Ok(Log::Supervised(head(&context.link).await?, segments(&context.link).await?)),
        Err(absent) => match segments_in(&log_directory(target)) {
            Ok(files) if !files.is_empty() => Ok(Log::Files(files)),
            _ => Err(absent),
        },
    }
}

fn log_directory(target: &Target) -> PathBuf {
    match target {
        Target::System => PathBuf::from("/var/log/fetchml/audit"),
        Target::Private(dir) => dir.join("log/audit"),
    }
}

/// The segments of a directory in order; their names sort as they were written.
fn segments_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Checks the log against every end that is known: the supervisor's or that of
/// the file beside it, and one that the person kept elsewhere, which alone shows
/// that the whole log was written anew. The worst verdict counts.
fn verify(log: Log, given: Option<Head>) -> Result<Report> {
    let mut pieces: Vec<(String, File)> = Vec::new();
    let known = match log {
        Log::Supervised(head, segments) => {
            pieces = segments;
            Some(head)
        }
        Log::Files(files) => {
            for path in &files {
                let file =
                    File::open(path).map_err(|e| Failure::io("cannot read", path.display(), &e))?;
                pieces.push((path.display().to_string(), file));
            }
            files.last().and_then(|last| stored_head(last))
        }
    };
    let mut ends: Vec<_> = known.into_iter().chain(given).collect();
    ends.dedup_by(|a, b| a == b);
    let anchors = if ends.is_empty() {
        vec![Anchor::None]
    } else {
        ends.into_iter().map(Anchor::AtLeast).collect()
    };
    let mut verifiers: Vec<_> = anchors.into_iter().map(Verifier::new).collect();
    for (name, file) in pieces {
        feed(&mut verifiers, file).map_err(|e| Failure::io("cannot read", &name, &e))?;
    }
    let reports = verifiers.into_iter().map(Verifier::finish);
    // 1 (tampered) outranks 3 and 2, and all outrank 0 (intact).
    let weight = |r: &Report| match r.verdict.exit_code() {
        1 => 4,
        code => code,
    };
    reports.max_by_key(weight).ok_or_else(|| Failure::no("there is nothing to verify".to_owned()))
}

fn stored_head(segment: &Path) -> Option<Head> {
    let mut bytes = Vec::new();
    let file = File::open(segment.parent()?.join(HEAD_FILE)).ok()?;
    file.take(Head::STORED_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    Head::from_stored(&bytes)
}

fn feed(verifiers: &mut [Verifier], mut file: File) -> io::Result<()> {
    let mut piece = vec![0u8; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => verifiers.iter_mut().for_each(|v| v.feed(&piece[..count])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::audit::Verdict;

    #[test]
    fn what_is_no_log_is_unreadable_and_an_empty_one_unanchored() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("000000000001.log");
        std::fs::write(&path, b"not a log\n").expect("a write");
        let verdict = |given| verify(Log::Files(vec![path.clone()]), given).map(|r| r.verdict);
        assert!(matches!(verdict(None), Ok(Verdict::Unreadable(_))));
        std::fs::write(&path, b"").expect("a write");
        assert!(matches!(verdict(None), Ok(Verdict::Incomplete(_))));
        let head = Head { seq: 3, hash: "ab".repeat(32).parse().expect("a hash") };
        assert!(
            matches!(verdict(Some(head)), Ok(Verdict::Tampered(_))),
            "three records are missing"
        );
        std::fs::write(dir.path().join(HEAD_FILE), head.to_stored()).expect("a write");
        assert!(matches!(verdict(None), Ok(Verdict::Tampered(_))), "the file beside it says so");
    }
}
