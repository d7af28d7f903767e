//! What of a job's output is remembered, so that a hint can be given after its end.
//! It only decides whether this program says a sentence of its own.

use super::sink::Sink;
use fetchml_api::job::{FailureClass, JobDescription, NetworkMode};
use fetchml_api::log::{FrameHeader, Stream};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Remembered of the end of standard error: a traceback and what follows it.
const KEPT_BYTES: usize = 8 * 1024;

/// What libraries write when there is no network: the resolver's words, errno's, and
/// curl's, which has no errno.
const SIGNS: [&str; 12] = [
    "Temporary failure in name resolution",
    "Name or service not known",
    "Could not resolve host",
    "nodename nor servname provided",
    "Failed to resolve",
    "Network is unreachable",
    "ENETUNREACH",
    "Failed to establish a new connection",
    "Failed to connect to",
    "Couldn't connect to server",
    "Cannot assign requested address",
    "urlopen error [Errno 13]",
];

/// Landlock refuses to connect and to listen with the errno of a file that may not be
/// opened: beside it on the line must stand what was tried, in a word of its own.
const REFUSED: [&str; 3] = ["permission denied", "eacces", "[errno 13]"];
const TRIED: [&str; 8] = [
    "connect",
    "connecting",
    "connection",
    "bind",
    "listen",
    // Java's.
    "connectexception",
    "bindexception",
    "socketexception",
];
/// Python names a file on the line of its error, and of a socket nothing: what was tried
/// stands in the traceback.
const PYTHON_REFUSED: &str = "PermissionError: [Errno 13] Permission denied";
const PYTHON_TRIED: [&str; 3] = [".connect(", ".bind(", ".listen("];

/// Whether somebody who writes this missed a network.
fn misses_network(words: &str) -> bool {
    let any = |signs: &[&str], text: &str| signs.iter().any(|sign| text.contains(sign));
    let refused = |line: &str| {
        let line = line.to_ascii_lowercase();
        let mut single = line.split(|c: char| !c.is_alphanumeric());
        any(&REFUSED, &line) && single.any(|word| TRIED.contains(&word))
    };
    any(&SIGNS, words)
        || words.lines().any(refused)
        || words.lines().any(|line| line == PYTHON_REFUSED) && any(&PYTHON_TRIED, words)
}

/// The last words of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWords(Arc<Mutex<Vec<u8>>>);

impl LastWords {
    fn hear(&self, payload: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(payload);
        let surplus = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..surplus);
    }

    /// A hint for a job that failed by itself, without a network, with the words of
    /// somebody who misses one.
    pub(crate) fn hint(&self, job: &JobDescription) -> Option<&'static str> {
        let report = job.report.as_ref().filter(|r| r.failure == Some(FailureClass::UserError))?;
        let layer = report.layers.iter().find(|layer| layer.name == "network");
        let none = layer.is_some_and(|layer| layer.detail.contains("no interface is up"));
        if !none || job.spec.network == Some(NetworkMode::Loopback) {
            return None;
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&kept);
        misses_network(&words).then_some(
            "hint: this job had no network; --network loopback lets its processes talk to each \
             other, nothing lets it reach other machines: give it data with --mount",
        )
    }
}

/// A sink that remembers what it passes on.
#[derive(Debug)]
pub(crate) struct Ear<S> {
    pub(crate) sink: S,
    pub(crate) words: LastWords,
}

impl<S: Sink> Sink for Ear<S> {
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> io::Result<()> {
        if header.stream == Stream::Stderr {
            self.words.hear(payload);
        }
        self.sink.frame(header, payload)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::example;
    use fetchml_api::job::{Layer, LayerState};

    fn failed(network: &str) -> JobDescription {
        let mut job = example::failed(12);
        let report = job.report.as_mut().expect("it is over");
        report.failure = Some(FailureClass::UserError);
        let (name, detail) = ("network".to_owned(), network.to_owned());
        report.layers = vec![Layer { name, state: LayerState::Held, detail }];
        job
    }

    const NONE: &str = "own namespace, no interface is up";

    #[test]
    fn who_missed_a_network_is_told_that_there_was_none() {
        let words = LastWords::default();
        words.hear(b"urlopen error [Errno -3] Temporary failure in name");
        words.hear(b" resolution>\n");
        assert!(words.hint(&failed(NONE)).is_some_and(|hint| hint.contains("--network loopback")));
        assert_eq!(words.hint(&failed("own namespace, only its own loopback is up")), None);
        let mut killed = failed(NONE);
        killed.report.as_mut().expect("there").failure = Some(FailureClass::OutOfMemory);
        assert_eq!(words.hint(&killed), None);
    }

    const TRACEBACK: &str = "  File \"/usr/lib/python3.11/socket.py\", line 836, in create_connection\n    \
         sock.connect(sa)\nPermissionError: [Errno 13] Permission denied\n";

    #[test]
    fn a_connection_refused_as_a_file_is_known_by_what_was_tried() {
        for words in [
            "curl: (7) Failed to connect to 1.1.1.1 port 80 after 0 ms: Couldn't connect to server",
            "Connecting to 1.1.1.1:80... failed: Permission denied.",
            "bind: Permission denied",
            "dial tcp 1.1.1.1:80: connect: permission denied",
            "Error: listen EACCES: permission denied 127.0.0.1:8080",
            "java.net.ConnectException: Permission denied",
            "PermissionError: [Errno 13] Connect call failed ('1.1.1.1', 80)",
            TRACEBACK,
        ] {
            assert!(misses_network(words), "{words}");
        }
        for words in [
            "cat: /etc/shadow: Permission denied",
            "    disconnect(db)\nPermissionError: [Errno 13] Permission denied: '/etc/x'",
            "PermissionError: [Errno 13] Permission denied: '/work/connectors/x'",
            "ConnectionRefusedError: [Errno 111] Connection refused",
        ] {
            assert!(!misses_network(words), "{words}");
        }
    }

    #[test]
    fn other_words_and_words_of_long_ago_give_no_hint() {
        let words = LastWords::default();
        words.hear(b"ValueError: shapes do not match\n");
        assert_eq!(words.hint(&failed(NONE)), None);
        words.hear(b"retrying: Network is unreachable\n");
        words.hear(&[b'x'; 2 * KEPT_BYTES]);
        assert_eq!(words.hint(&failed(NONE)), None);
    }
}
