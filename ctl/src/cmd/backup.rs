//! `backup`: a copy of the job store in a new file.

use super::outputs::{For, save};
use crate::connect::Target;
use crate::context::Context;
use crate::error::Result;
use crate::view::text::{command, visible};
use std::fs::File;
use std::path::Path;

pub(crate) async fn run(context: &Context, file: &Path) -> Result<u8> {
    let mut copy = File::from(context.link.back_up().await?);
    // It has the commands and variables of every job.
    let place = save(&mut copy, Path::new("fetchml.db.backup"), file, For::Owner)?;
    if context.json {
        let name = place.to_string_lossy();
        context.print_json(&serde_json::json!({"version": 1, "file": name}).to_string())?;
    } else {
        let name = visible(&place.to_string_lossy());
        let back = restore(context.link.target(), &place);
        context.tell(&format_args!("the job store is copied to {name}; `{back}` puts it back"));
    }
    Ok(0)
}

/// What to type to put the copy back where it came from.
fn restore(target: &Target, copy: &Path) -> String {
    let mut words = vec!["fetchmld".to_owned()];
    if let Target::Private(dir) = target {
        words.push(format!("--private={}", dir.display()));
    }
    words.extend(["--restore".to_owned(), copy.display().to_string()]);
    command(&words)
}
