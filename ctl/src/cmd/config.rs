//! `config check`: what the supervisor says of a configuration.

use crate::cli::Config;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::private;
use crate::view::text::visible;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Status of `fetchmld --check-config` when there are mistakes.
const MISTAKES: i32 = 1;

pub(crate) fn run(context: &Context, asked: &Config) -> Result<u8> {
    let Config::Check { file } = asked;
    check(context, file).map_err(Failure::undecided)
}

/// That there is a file which this person may read.
pub(super) fn readable(file: &Path) -> Result<()> {
    let name = visible(&file.to_string_lossy());
    let failed = |e: std::io::Error| Failure::io("cannot read", &name, &e);
    let found = File::open(file).and_then(|file| file.metadata()).map_err(failed)?;
    if found.is_dir() {
        return Err(Failure::no(format!("cannot read {name}: it is a directory"))
            .hint("name the files in it"));
    }
    Ok(())
}

/// The supervisor's program reads it: nobody else knows every key.
fn check(context: &Context, file: &Path) -> Result<u8> {
    readable(file)?;
    let program = private::find_program().ok_or_else(|| {
        Failure::no("the supervisor's program fetchmld is not there, which reads configurations")
            .hint("install the package fetchml")
    })?;
    let mut argument = std::ffi::OsString::from("--check-config=");
    argument.push(file);
    let answer = Command::new(&program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::io("cannot execute", program.display(), &e))?;
    let words = String::from_utf8_lossy(&answer.stderr);
    let mistakes: Vec<&str> =
        words.lines().map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
    match answer.status.code() {
        Some(0) => {
            if context.json {
                context.print_json("[]")?;
            } else {
                context.tell(&format_args!("{} is good", file.display()));
            }
            Ok(0)
        }
        Some(MISTAKES) => {
            if context.json {
                let text = serde_json::to_string(&mistakes)
                    .map_err(|e| Failure::no(format!("cannot write the mistakes as JSON: {e}")))?;
                context.print_json(&text)?;
            } else {
                context.print(&format!("{}\n", mistakes.join("\n")))?;
            }
            Ok(1)
        }
        _ => Err(Failure::no(format!("{} did not answer: {}", program.display(), words.trim()))),
    }
}
