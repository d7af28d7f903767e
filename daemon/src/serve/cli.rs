//! The command line.

use super::place::{Place, PlaceError};
use crate::config::Config;
use clap::Parser;
use fetchml_policies::Library;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Supervises sandboxed training jobs.
///
/// Without options it serves the whole machine, on the system bus and on
/// /run/fetchml/bus.sock; systemd starts it so. fetchmlctl --private starts it
/// for one user.
#[derive(Debug, Parser)]
#[command(name = "fetchmld", version, about)]
pub(super) struct Arguments {
    /// Serve only the user who starts it, with everything below DIR.
    ///
    /// The socket is DIR/run/bus.sock. It stops when it has had no client and
    /// no job for a while.
    #[arg(long, value_name = "DIR")]
    pub(super) private: Option<PathBuf>,

    /// Put a backup (fetchmlctl backup) in the place of the job store, and stop.
    ///
    /// The supervisor must not run. A store that was there is kept beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "check_config")]
    pub(super) restore: Option<PathBuf>,

    /// Read configuration and policies, say what is wrong with them, and stop.
    ///
    /// With a file, read it instead of the service's files.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with = "private"
    )]
    #[allow(clippy::option_option)]
    pub(super) check_config: Option<Option<PathBuf>>,
}

/// Policies of the site.
pub(super) const POLICY_OVERRIDES: &str = "/etc/fetchml/policies";

/// `--restore`
#[allow(clippy::print_stderr)]
pub(super) fn restore(copy: &Path, place: Result<Place, PlaceError>) -> ExitCode {
    let restored = place.map_err(|error| error.to_string()).and_then(|place| {
        let _lock = place.occupy().map_err(|error| error.to_string())?;
        crate::store::restore(copy, &place.state).map_err(|error| error.to_string())
    });
    match restored {
        Ok(Some(kept)) => {
            eprintln!("restored; the store that was there is {}", kept.display());
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("restored; no store was there before");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--check-config`
#[allow(clippy::print_stderr)]
pub(super) fn check_config(file: Option<&Path>) -> ExitCode {
    let mut complaints = Vec::new();
    let mut complain = |error: String| complaints.extend(error.lines().map(str::to_owned));
    let library = Library::load(&[POLICY_OVERRIDES]);
    let library = library.map_err(|error| complain(error.to_string())).ok();
    // With rules of a site that cannot be used, the vendor's still tell secrets.
    let vendor = || Library::load::<&str>(&[]).ok();
    let rules = library.as_ref().map(|l| l.secrets().clone());
    let rules = rules.or_else(|| vendor().map(|l| l.secrets().clone()));
    if let Some(rules) = rules {
        let loaded = match file {
            Some(file) => Config::load(&[file.to_owned()], &rules, library.as_ref()),
            None => Config::load_system(&rules, library.as_ref()),
        };
        if let Err(error) = loaded {
            complain(error.to_string());
        }
    }
    for complaint in &complaints {
        eprintln!("error: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
