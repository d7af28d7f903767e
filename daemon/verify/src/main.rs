//! The verifier that stands alone; everything is in the library.

use fetchml_audit_verify::{UNREADABLE, json, read_arguments, text, verify_paths, word};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let judged = read_arguments(std::env::args_os().skip(1)).and_then(|asked| {
        if let Some(only) = asked.only {
            return Ok((only, 0));
        }
        let report = verify_paths(&asked.paths, asked.known, None)?;
        let status = report.verdict.exit_code();
        let said = match asked.json {
            true => format!("{}\n", json(&report)),
            false => format!("{}: {}\n{}", word(&report.verdict), report.verdict, text(&report)),
        };
        Ok((said, status))
    });
    let (said, status) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return UNREADABLE.into();
        }
    };
    match std::io::stdout().write_all(said.as_bytes()) {
        Ok(()) => status.into(),
        // A judgement that nobody got is none.
        Err(_) => UNREADABLE.into(),
    }
}
