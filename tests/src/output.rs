//! What a command left behind.

use std::fmt;

/// Status and text of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Exit status, 128 + N for signal N.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error; empty where both streams are one.
    pub stderr: String,
}

impl Output {
    /// From a finished process.
    #[must_use]
    pub fn of(command: String, output: &std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Self {
            command,
            status: status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists on status 0 and gives the standard output without blanks around it.
    ///
    /// # Panics
    /// When the command failed.
    #[track_caller]
    pub fn ok(&self) -> &str {
        self.expect(0)
    }

    /// Insists on a status and gives the standard output without blanks around it.
    ///
    /// # Panics
    /// When the status is another one.
    #[track_caller]
    pub fn expect(&self, status: i32) -> &str {
        assert_eq!(self.status, status, "{self}");
        self.stdout.trim()
    }

    /// Whether either stream has this text.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\nended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}
