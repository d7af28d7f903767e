//! `man`: the manual pages, one for the program and one for each verb, from the
//! same words as the help.

use crate::error::{Failure, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io;
use std::path::Path;

pub(crate) fn run(dir: &Path, command: Command) -> Result<u8> {
    std::fs::create_dir_all(dir).map_err(|e| Failure::io("cannot create", dir.display(), &e))?;
    let mut command = command.disable_help_flag(true);
    command.build();
    write(dir, &command)?;
    Ok(0)
}

fn write(dir: &Path, command: &Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let path = dir.join(format!("{name}.1"));
    let page = page(command, &name).map_err(|e| Failure::io("cannot make", path.display(), &e))?;
    std::fs::write(&path, page).map_err(|e| Failure::io("cannot write", path.display(), &e))?;
    for verb in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write(dir, verb)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let mut command = command.clone();
    let man = Man::new(command.clone().name(name.to_owned())).source("FetchML").manual("FetchML");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    synopsis(&mut command, &mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let notes = [("EXAMPLE", command.get_before_help()), ("NOTES", command.get_after_help())];
    for (title, text) in notes {
        if let Some(text) = text {
            let text = text.to_string();
            let words = text.strip_prefix("Example: ").unwrap_or(&text).to_owned();
            let mut roff = Roff::new();
            roff.control("SH", [title]);
            roff.text([roman(words)]);
            roff.to_writer(&mut out)?;
        }
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("fetchml(7), fetchmlctl(1), fetchmld(8), fetchml-profile(5)")]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// The line of the help: a list of every option here would only repeat the
/// section of the options.
fn synopsis(command: &mut Command, out: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman(usage.trim_start_matches("Usage: "))]);
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn every_verb_has_a_page_with_its_example() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        run(dir.path(), Cli::command()).expect("the pages");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
        let page = read("fetchmlctl-run.1");
        for words in ["time\\-limit", "train.py", "SH EXAMPLE", "124 for the time limit"] {
            assert!(page.contains(words), "{words} is not in {page}");
        }
        assert!(read("fetchmlctl-audit-verify.1").contains("tampered"));
        assert!(!dir.path().join("fetchmlctl-man.1").exists(), "hidden verbs have no page");
    }
}
