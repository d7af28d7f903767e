//! `policy`: what a profile allows, and why.

use super::config::readable;
use super::policy_import;
use crate::cli::{Explain, Policy};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::policies::{self, Source};
use crate::say::say;
use crate::view::policy as view;
use crate::view::text::visible;
use fetchml_policies::Problem;
use fetchml_policies::explain::Verdict;
use std::path::PathBuf;

/// Statuses of `explain` and `diff` that are answers.
const STATUS_NO: u8 = 1;
const STATUS_DEPENDS: u8 = 3;
/// Status of `check` when there is a file that could not be read.
const STATUS_UNREAD: u8 = 2;

pub(crate) async fn run(context: &Context, policy: &Policy) -> Result<u8> {
    match policy {
        Policy::List => list(context).await,
        Policy::Show { profile, plan } => show(context, profile, *plan).await,
        Policy::Check { files } => check(context, files),
        Policy::Import(asked) => policy_import::run(context, asked),
        Policy::Explain(asked) => explain(context, asked).await.map_err(Failure::undecided),
        Policy::Diff { before, after } => {
            diff(context, before, after).await.map_err(Failure::undecided)
        }
    }
}

async fn list(context: &Context) -> Result<u8> {
    let told = Source::of(context, &[]).await?.list().await?;
    if context.json {
        context.print_json(&told.text)?;
    } else {
        context.print(&view::list(&told.value, context.width, context.style))?;
    }
    Ok(0)
}

async fn show(context: &Context, profile: &str, plan: bool) -> Result<u8> {
    let source = Source::of(context, &[profile]).await?;
    let told = source.show(profile).await?;
    if context.json {
        context.print_json(&told.text)?;
        return Ok(0);
    }
    context.print(&view::show(&told.value, context.width, context.style))?;
    if plan {
        let machine = view::Machine::read(&told.text).ok_or_else(|| {
            Failure::no("what this machine makes of it is known to a running supervisor only")
                .hint(format!("start one, such as with `{}`", context.command("run -- true")))
        })?;
        context.print(&view::machine(&machine, &told.value, context.width, context.style))?;
    }
    Ok(0)
}

fn check(context: &Context, files: &[PathBuf]) -> Result<u8> {
    let library = policies::installed(context.link.target())?;
    let mut status = 0;
    let mut problems: Vec<Problem> = Vec::new();
    for file in files {
        if let Err(failure) = readable(file) {
            say(&failure);
            status = STATUS_UNREAD;
            continue;
        }
        problems.extend(policies::check(&library, file));
        for remark in library.unknown_calls(file) {
            context.tell(&format_args!("note: {}", visible(&remark.to_string())));
        }
    }
    if context.json {
        let text = serde_json::to_string(&problems)
            .map_err(|e| Failure::no(format!("cannot write the faults as JSON: {e}")))?;
        context.print_json(&text)?;
    } else {
        context.print(&view::problems(&problems))?;
        if problems.is_empty() && status == 0 {
            context.tell(&match files {
                [file] => format!("{} is good", file.display()),
                files => format!("{} files are good", files.len()),
            });
        }
    }
    Ok(if problems.is_empty() { status } else { status.max(STATUS_NO) })
}

async fn explain(context: &Context, asked: &Explain) -> Result<u8> {
    let (kind, what) = asked.question();
    let source = Source::of(context, &[&asked.profile]).await?;
    let told = source.explain(&asked.profile, kind, what).await?;
    if context.json {
        context.print_json(&told.text)?;
    } else {
        context.print(&view::answer(&told.value, context.width, context.style))?;
    }
    Ok(match told.value.explanation.verdict {
        Verdict::Allowed => 0,
        Verdict::Denied => STATUS_NO,
        Verdict::Depends => STATUS_DEPENDS,
    })
}

async fn diff(context: &Context, before: &str, after: &str) -> Result<u8> {
    let source = Source::of(context, &[before, after]).await?;
    let told = source.diff(before, after).await?;
    if context.json {
        context.print_json(&told.text)?;
    } else {
        context.print(&view::differences(
            (before, after),
            &told.value,
            context.width,
            context.style,
        ))?;
    }
    Ok(if told.value.is_empty() { 0 } else { STATUS_NO })
}
