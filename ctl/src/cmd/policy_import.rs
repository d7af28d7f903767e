//! `policy import`: a foreign seccomp profile as one of ours.

use crate::cli::Import;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::view::policy::problems;
use crate::view::text::visible;
use fetchml_policies::oci::ImportHost;
use fetchml_policies::{Library, is_file_name};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// The original cannot be said by a profile of ours.
const STATUS_REFUSED: u8 = 1;

pub(crate) fn run(context: &Context, asked: &Import) -> Result<u8> {
    let file = asked.file.display().to_string();
    let text =
        std::fs::read_to_string(&asked.file).map_err(|e| Failure::io("cannot read", &file, &e))?;
    if let Some(path) = &asked.output {
        refuse_other_names(path)?;
    }
    let library = Library::load::<&Path>(&[]).map_err(|e| Failure::no(e.to_string()))?;
    let host = ImportHost { capabilities: asked.capabilities.clone(), kernel: asked.kernel };
    let imported = match library.import(&file, &text, &host) {
        Ok(imported) => imported,
        Err(found) => {
            if context.json {
                context.print_json(&json(&found)?)?;
            } else {
                context.print(&problems(&found))?;
            }
            return Ok(STATUS_REFUSED);
        }
    };
    match &asked.output {
        Some(path) => {
            let failed = |e| Failure::io("cannot make", path.display(), &e);
            let mut out =
                OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
            out.write_all(imported.text.as_bytes()).map_err(failed)?;
        }
        None if !context.json => context.print(&imported.text)?,
        None => {}
    }
    if context.json {
        context.print_json(&json(&imported)?)?;
    } else {
        for note in &imported.notes {
            let line = format!("note: {}: {}", note.key, note.decision);
            context.tell(&visible(&line));
        }
    }
    Ok(0)
}

/// A file of another name would be made here and refused everywhere else.
fn refuse_other_names(path: &Path) -> Result<()> {
    if is_file_name(path, "json") {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is no name of a seccomp profile", path.display())).hint(
        "use NAME.json, with 1 to 64 small letters, digits and hyphens, not starting with a hyphen",
    ))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Failure::no(format!("cannot write the result as JSON: {e}")))
}
