//! `audit anchor`: what the log is now, in one line.

use crate::context::Context;
use crate::error::{Failure, Result};
use fetchml_api::audit::{AnchorLine, Note};

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let text = context.link.checkpoint().await?;
    let note = Note::read(&text)
        .ok_or_else(|| Failure::no("cannot read the supervisor's answer: it is no checkpoint"))?;
    let anchor = AnchorLine::of(&note.checkpoint);
    if context.json {
        let json = serde_json::json!({
            "version": 1,
            "anchor": anchor.to_string(),
            "log_id": anchor.log_id,
            "records": anchor.size,
            "head": anchor.head,
            "time_usec": anchor.time_usec,
            "note": text,
        });
        context.print_json(&json.to_string())?;
    } else {
        context.print(&format!("{anchor}\n"))?;
    }
    Ok(0)
}
