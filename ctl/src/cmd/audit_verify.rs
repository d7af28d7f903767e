//! `audit verify`: whether the log is as it was written.

use crate::cmd::audit_show::{head, segments};
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
    let outcome =
        if files.is_empty() { supervised(context, given).await } else { offline(files, given) };
    match outcome {
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

/// The end is asked for first, so that a record written meanwhile is one more
/// than must be there and not one less.
async fn supervised(context: &Context, given: Option<Head>) -> Result<Report> {
    let known = head(&context.link).await?;
    let anchor = given.filter(|g| g.seq > known.seq).unwrap_or(known);
    let mut verifier = Verifier::new(Anchor::AtLeast(anchor));
    for (name, file) in segments(&context.link).await? {
        feed(&mut verifier, file).map_err(|e| Failure::io("cannot read", &name, &e))?;
    }
    Ok(verifier.finish())
}

/// Files by name. The end is what the person says, and else what lies beside
/// the last file.
fn offline(files: &[PathBuf], given: Option<Head>) -> Result<Report> {
    let known = given.or_else(|| files.last().and_then(|last| stored_head(last)));
    let mut verifier = Verifier::new(known.map_or(Anchor::None, Anchor::AtLeast));
    for path in files {
        let unreadable = |e: io::Error| Failure::io("cannot read", path.display(), &e);
        feed(&mut verifier, File::open(path).map_err(unreadable)?).map_err(unreadable)?;
    }
    Ok(verifier.finish())
}

fn stored_head(segment: &Path) -> Option<Head> {
    let mut bytes = Vec::new();
    let file = File::open(segment.parent()?.join(HEAD_FILE)).ok()?;
    file.take(Head::STORED_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    Head::from_stored(&bytes)
}

fn feed(verifier: &mut Verifier, mut file: File) -> io::Result<()> {
    let mut piece = vec![0u8; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => verifier.feed(&piece[..count]),
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
        let verdict = |given| offline(std::slice::from_ref(&path), given).map(|r| r.verdict);
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
