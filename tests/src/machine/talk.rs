//! Questions to a machine while it runs, by several at once, and its answers.

use crate::Output;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What is run in the machine for it.
pub(super) const INSIDE: &str = include_str!("talk.py");

/// A connection, until one of both ends is gone.
#[derive(Debug)]
pub(super) struct Talk {
    out: Mutex<UnixStream>,
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
    up: Mutex<Receiver<Value>>,
}

/// Who waits for which answer; nobody any more when the machine is gone.
type Waiting = Option<HashMap<u64, Sender<Value>>>;

impl Talk {
    pub(super) fn over(stream: UnixStream) -> io::Result<Self> {
        let (sender, up) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(Some(HashMap::from([(0, sender)]))));
        let (lines, theirs) = (BufReader::new(stream.try_clone()?), waiting.clone());
        thread::spawn(move || {
            for line in lines.lines() {
                // What was cut off is no answer.
                let Some(answer) = line.ok().and_then(|l| serde_json::from_str::<Value>(&l).ok())
                else {
                    break;
                };
                let number = answer["number"].as_u64().unwrap_or(u64::MAX);
                let sender = locked(&theirs).as_mut().and_then(|all| all.remove(&number));
                if let Some(sender) = sender {
                    let _ = sender.send(answer);
                }
            }
            locked(&theirs).take();
        });
        let (out, up) = (Mutex::new(stream), Mutex::new(up));
        Ok(Self { out, next: AtomicU64::new(1), waiting, up })
    }

    /// Waits until the machine is up.
    pub(super) fn is_up_within(&self, time: Duration) -> bool {
        locked(&self.up).recv_timeout(time).is_ok()
    }

    /// Whether the machine is still there.
    pub(super) fn is_there(&self) -> bool {
        locked(&self.waiting).is_some()
    }

    /// Runs a command as a user. `None` when the machine went away before it answered.
    pub(super) fn ask(&self, user: &str, words: &[&str]) -> Option<Output> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = mpsc::channel();
        locked(&self.waiting).as_mut()?.insert(number, sender);
        self.send(&json!({"number": number, "user": user, "words": words}))?;
        let answer = answer.recv().ok()?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Some(Output {
            command: format!("{user}: {}", words.join(" ")),
            status: answer["status"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(-1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        })
    }

    /// Lets the machine end in an orderly way.
    pub(super) fn end(&self) {
        self.send(&json!({"words": []}));
    }

    fn send(&self, question: &Value) -> Option<()> {
        locked(&self.out).write_all(format!("{question}\n").as_bytes()).ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
