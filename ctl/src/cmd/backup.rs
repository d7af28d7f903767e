//! `backup`: a copy of the job store in a new file.

use super::outputs::save;
use crate::context::Context;
use crate::error::Result;
use std::fs::File;
use std::path::Path;

pub(crate) async fn run(context: &Context, file: &Path) -> Result<u8> {
    let mut copy = File::from(context.link.back_up().await?);
    save(&mut copy, Path::new("fetchml.db.backup"), file)?;
    context.tell(&format_args!("the job store is copied; `fetchmld --restore FILE` puts it back"));
    Ok(0)
}
