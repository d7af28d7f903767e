//! `fetchmlctl`: the person's client. It opens what the person may open, asks
//! the supervisor over D-Bus, and decides nothing that the supervisor should.

mod cli;
mod cmd;
mod connect;
mod context;
mod error;
mod follow;
mod host;
mod input;
mod link;
mod metrics;
mod policies;
mod private;
mod reference;
mod say;
mod status;
mod submission;
mod view;

fn main() -> std::process::ExitCode {
    cmd::main().into()
}
