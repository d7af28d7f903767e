//! The process: its command line, what it puts together, and how it stops.

mod cli;
mod gate;
mod listener;
mod log;
mod place;
mod privileges;
mod run;

pub use gate::Gate;
pub use listener::{Listener, SocketError};
pub use place::Place;

use clap::Parser;
use std::process::ExitCode;

/// Runs the supervisor as the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    if let Some(file) = &arguments.check_config {
        return cli::check_config(file.as_deref());
    }
    let place = match &arguments.private {
        Some(dir) => Place::private(dir),
        None => Ok(Place::system()),
    };
    if let Some(copy) = &arguments.restore {
        return cli::restore(copy, place);
    }
    log::start(arguments.private.is_none());
    // Jobs would inherit it from whoever began a private supervisor.
    fetchml_sys::process::stop_ignoring_signals();
    let ended = place.map_err(run::StartError::from).and_then(|place| {
        privileges::keep_only_the_needed()?;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(run::StartError::Runtime)?
            .block_on(run::run(place))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
