//! `audit verify`: whether the log is as it was written.

use crate::cli::AuditVerify;
use crate::cmd::audit_show::{files, head};
use crate::connect::Target;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::say::say;
use crate::view::audit;
use fetchml_api::audit::{Known, Report};
use fetchml_audit_verify::{
    Piece, UNREADABLE, Unreadable, anchor_or_file, key_or_file, verify_paths, verify_pieces,
};
use std::path::PathBuf;

pub(crate) async fn run(context: &Context, verify: &AuditVerify) -> Result<u8> {
    match judge(context, verify).await {
        Ok(report) => {
            let status = report.verdict.exit_code();
            if context.json {
                context.print_json(&fetchml_audit_verify::json(&report))?;
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

async fn judge(context: &Context, verify: &AuditVerify) -> Result<Report> {
    let mut known = Known::default();
    for key in &verify.keys {
        known.keys.extend(key_or_file(key).map_err(unreadable)?);
    }
    for anchor in &verify.anchors {
        known.anchors.extend(anchor_or_file(anchor).map_err(unreadable)?);
    }
    known.heads.extend(verify.head);
    let paths: Vec<PathBuf> = verify.paths.iter().chain(&verify.files).cloned().collect();
    if !paths.is_empty() {
        return verify_paths(&paths, known).map_err(unreadable);
    }
    let target = context.link.target();
    // Verifying starts no supervisor. One that does not run does so perhaps because its
    // log is damaged, which is what is asked.
    match target.connect_running().await {
        Ok(_) => supervised(context, known).await,
        Err(absent) => {
            let directory = log_directory(target);
            match directory.is_dir() {
                true => verify_paths(&[directory], known).map_err(unreadable),
                false => Err(absent),
            }
        }
    }
}

fn unreadable(error: Unreadable) -> Failure {
    Failure::no(error.to_string())
}

/// The end is asked for first, so that a record written meanwhile is one more than
/// must be there and not one less.
async fn supervised(context: &Context, mut known: Known) -> Result<Report> {
    let link = &context.link;
    known.heads.push(head(link).await?);
    known.live = true;
    if known.keys.is_empty() {
        for key in link.audit_keys().await? {
            known.keys.extend(key_or_file(&key).map_err(unreadable)?);
        }
    }
    // Where it cannot be written, what is signed already must do.
    if let Err(failure) = link.checkpoint().await {
        say(&failure);
    }
    let files = files(link, "").await?;
    let pieces = files.into_iter().map(|(name, file)| Piece { name, file }).collect();
    let report = verify_pieces(pieces, known).map_err(unreadable)?;
    let (status, words) = (report.verdict.exit_code(), report.verdict.to_string());
    if let Err(failure) = link.report_verification(status, &words).await {
        say(&failure);
    }
    Ok(report)
}

fn log_directory(target: &Target) -> PathBuf {
    match target {
        Target::System => PathBuf::from("/var/log/fetchml/audit"),
        Target::Private(dir) => dir.join("log/audit"),
    }
}
