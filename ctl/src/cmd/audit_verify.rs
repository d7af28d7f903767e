//! `audit verify`: whether the log is as it was written.

use crate::cli::AuditVerify;
use crate::cmd::audit_show::head;
use crate::connect::Target;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::link::{Files, Part};
use crate::say::say;
use crate::view::audit;
use fetchml_api::audit::mirror::Mirror;
use fetchml_api::audit::{Known, Report};
use fetchml_audit_verify::{
    Reach, UNREADABLE, Unreadable, Verification, anchor_or_file, key_or_file, read_journal,
    verify_paths,
};
use std::path::{Path, PathBuf};

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
    let mirror = match verify.journal {
        true => Some(journal()?),
        false => None,
    };
    let paths: Vec<PathBuf> = verify.paths.iter().chain(&verify.files).cloned().collect();
    if !paths.is_empty() {
        return verify_paths(&paths, known, mirror).map_err(unreadable);
    }
    let target = context.link.target();
    // Verifying starts no supervisor. One that does not run does so perhaps because its
    // log is damaged, which is what is asked.
    match target.connect_running().await {
        Ok(_) => supervised(context, known, mirror).await,
        Err(absent) => {
            let directory = log_directory(target);
            match directory.is_dir() {
                true => unsupervised(context, &directory, known, mirror),
                false => Err(absent),
            }
        }
    }
}

/// The log of a supervisor that does not run, by the keys that lie beside it.
fn unsupervised(
    context: &Context,
    directory: &Path,
    mut known: Known,
    mirror: Option<Mirror>,
) -> Result<Report> {
    let keys = directory.join("keys");
    if known.keys.is_empty() && keys.is_file() {
        context.tell(&"note: no supervisor runs; the public keys are those beside the log");
        known.keys.extend(key_or_file(&keys.display().to_string()).map_err(unreadable)?);
    }
    verify_paths(&[directory.to_owned()], known, mirror).map_err(unreadable)
}

fn unreadable(error: Unreadable) -> Failure {
    Failure::no(error.to_string())
}

/// What this machine's journal has of the log.
fn journal() -> Result<Mirror> {
    read_journal(Reach::ALL).map_err(unreadable)?.ok_or_else(|| {
        Failure::no("there is no journal of the system here that you may read").hint(
            match rustix::process::geteuid().is_root() {
                true => "leave --journal out where systemd-journald does not run",
                false => "run it as root, or as a member of the group systemd-journal",
            },
        )
    })
}

/// The end is asked for first, so that a record written meanwhile is one more than
/// must be there and not one less.
async fn supervised(context: &Context, mut known: Known, mirror: Option<Mirror>) -> Result<Report> {
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
    let mut verification = Verification::new(known, mirror);
    let notes = Files::of(link, Part::Checkpoints);
    for mut files in [notes, Files::again(link, Part::Segments)] {
        while let Some((name, file)) = files.next().await? {
            verification.add(&name, file).map_err(unreadable)?;
        }
    }
    let report = verification.finish();
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
