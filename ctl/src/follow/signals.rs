//! Ctrl-C and its kin, counted.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its creation on, these signals no longer end this program.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    count: u32,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            count: 0,
        })
    }

    /// Waits for the next one and returns how many there were.
    pub(crate) async fn next(&mut self) -> u32 {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        self.count += 1;
        self.count
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}
