//! `audit key`: the public keys by which the log is known.

use crate::context::Context;
use crate::error::Result;

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let keys = context.link.audit_keys().await?;
    if context.json {
        context.print_json(&serde_json::json!({ "version": 1, "keys": keys }).to_string())?;
    } else {
        context.print(&keys.iter().fold(String::new(), |text, key| text + key + "\n"))?;
    }
    Ok(0)
}
