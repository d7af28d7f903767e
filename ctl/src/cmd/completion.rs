//! `completion`: the script of a shell.

use crate::error::{Failure, Result};
use clap::Command;
use clap_complete::{Shell, generate};
use std::io::{self, Write as _};

pub(crate) fn run(shell: Shell, mut command: Command) -> Result<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command, "fetchmlctl", &mut script);
    io::stdout().lock().write_all(&script).map_err(|e| Failure::output(&e))?;
    Ok(0)
}
