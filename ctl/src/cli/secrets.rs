//! Words of `secrets` and `config`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Find plaintext secrets in files and directories
    ///
    /// TOML, YAML, JSON, env files and any other text. A finding is a line with path,
    /// line, columns and rule; the secret itself is never shown. The exit status is 0
    /// when nothing was found, 1 when something was, and 2 when a file could not be
    /// read.
    ///
    /// With --json: a line for each finding, an object with the keys path, line, column,
    /// end_column (characters, from 1, the end not included), rule, and key (the name
    /// of the value, or null).
    #[command(before_help = "Example: fetchmlctl secrets scan train.yaml .env")]
    Scan(Scan),
    /// Take the secrets out of a log: standard input to standard output
    ///
    /// Each secret becomes [redacted:RULE]; everything else stays as it is, and so do
    /// the ends of lines. Text is given out as soon as it can be no secret.
    #[command(before_help = "Example: python3 train.py 2>&1 | fetchmlctl secrets redact")]
    Redact,
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// How to read the files: in a log, names must be spelt out and nothing is found
    /// by its entropy alone
    #[arg(long = "as", value_enum, value_name = "KIND", default_value_t = Kind::Config)]
    pub(crate) kind: Kind,
    /// Files, or directories whose files are all read
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Config,
    Log,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a configuration as the supervisor reads it
    ///
    /// All mistakes at once, with file, line and remedy: unknown keys, wrong types,
    /// values out of range, variables that are not set, placeholders, and secrets in
    /// plain text. Nothing is applied. The exit status is 0 when it is good, 1 when it
    /// is not, and 2 when that could not be found out.
    #[command(before_help = "Example: fetchmlctl config check /etc/fetchml/fetchml.toml")]
    Check {
        /// The file
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}
