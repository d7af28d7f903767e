//! Words of `secret`.

use super::Sure;
use crate::input;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Keep a secret for jobs
    ///
    /// The value is read from standard input, or from --file, as it is; 6 to 8,192
    /// bytes. Beside root nobody may use it but those named with --for.
    #[command(before_help = "Example: fetchmlctl secret add hf-token --for alice < token.txt")]
    Add {
        /// Its name, which is that of its file in the job
        #[arg(value_name = "NAME", value_parser = input::label)]
        name: String,
        /// Who may use it: a user or a group (user:NAME and group:NAME tell them apart)
        #[arg(long = "for", value_name = "USER|GROUP", value_delimiter = ',')]
        holders: Vec<String>,
        #[command(flatten)]
        from: FromWhere,
    },
    /// List the secrets and who may use them; never their values
    #[command(visible_alias = "ls", before_help = "Example: fetchmlctl secret list")]
    List,
    /// Replace the value of a secret
    ///
    /// Who may use it stays as it is. Jobs that run keep the old value.
    #[command(before_help = "Example: fetchmlctl secret rotate hf-token --file new.txt")]
    Rotate {
        /// The secret
        #[arg(value_name = "NAME", value_parser = input::label)]
        name: String,
        #[command(flatten)]
        from: FromWhere,
    },
    /// Forget a secret
    ///
    /// Jobs that run keep it; those that wait for it fail. It asks on a terminal, and
    /// needs --yes elsewhere.
    #[command(visible_alias = "rm", before_help = "Example: fetchmlctl secret remove hf-token")]
    Remove {
        /// The secret
        #[arg(value_name = "NAME", value_parser = input::label)]
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FromWhere {
    /// Read the value from this file instead of standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}
