//! A client that sends what no client of ours would: it must not take from others.

use super::*;
use fetchml_api::names::{MANAGER_INTERFACE, ROOT_PATH};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATIENCE: Duration = Duration::from_secs(30);
const NO_REPLY: u8 = 1;
const SIGNAL: u8 = 4;

/// A connection whose bytes are written by hand.
struct Raw(tokio::net::UnixStream);

/// A method call as it goes over the wire.
struct Call {
    member: &'static str,
    serial: u32,
    flags: u8,
    /// Signature and bytes.
    body: Option<(&'static str, Vec<u8>)>,
    fds: u32,
}

impl Call {
    fn new(member: &'static str, serial: u32) -> Self {
        Self { member, serial, flags: 0, body: None, fds: 0 }
    }

    fn wait(job: u64, serial: u32) -> Self {
        Self { body: Some(("t", job.to_le_bytes().to_vec())), ..Self::new("WaitJob", serial) }
    }

    fn bytes(&self) -> Vec<u8> {
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(8), 0);
        let mut fields = Vec::new();
        for (code, kind, text) in
            [(1, b'o', ROOT_PATH), (2, b's', MANAGER_INTERFACE), (3, b's', self.member)]
        {
            pad(&mut fields);
            fields.extend([code, 1, kind, 0]);
            fields.extend(length(text.as_bytes()).to_le_bytes());
            fields.extend(text.as_bytes());
            fields.push(0);
        }
        let (signature, body) = self.body.clone().unwrap_or_default();
        pad(&mut fields);
        fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).expect("short")]);
        fields.extend(signature.as_bytes());
        fields.push(0);
        pad(&mut fields);
        fields.extend([9, 1, b'u', 0]);
        fields.extend(self.fds.to_le_bytes());
        let mut bytes = vec![b'l', 1, self.flags, 1];
        for number in [length(&body), self.serial, length(&fields)] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(fields);
        pad(&mut bytes);
        bytes.extend(body);
        bytes
    }
}

impl Raw {
    async fn connect(world: &World, uid: u32) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let caller = Caller::for_test(uid, &[GROUP], Transport::Peer);
        tokio::spawn(serve_peer(world.desk.clone(), caller, ours, PATIENCE));
        theirs.set_nonblocking(true).expect("nonblocking");
        let mut raw = Self(tokio::net::UnixStream::from_std(theirs).expect("a socket"));
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        let words = format!("\0AUTH EXTERNAL {hex}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        raw.0.write_all(words.as_bytes()).await.expect("written");
        let mut lines = 0;
        while lines < 2 {
            lines += usize::from(raw.0.read_u8().await.expect("an answer") == b'\n');
        }
        raw
    }

    async fn send(&mut self, call: &Call) {
        let bytes = call.bytes();
        let written = tokio::time::timeout(PATIENCE, self.0.write_all(&bytes)).await;
        written.expect("the supervisor reads").expect("written");
    }

    async fn send_with(&mut self, call: &Call, files: &[std::fs::File]) {
        let fds: Vec<_> = files.iter().map(std::fs::File::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = call.bytes();
        let sent = [IoSlice::new(&bytes)];
        let count = rustix::net::sendmsg(&self.0, &sent, &mut control, SendFlags::empty());
        assert_eq!(count.expect("sent"), bytes.len());
    }

    /// The next answer: kind, number of the call, all of it as text.
    async fn answer(&mut self) -> (u8, u32, String) {
        let read = async {
            loop {
                let (first, rest) = message(&mut self.0).await;
                if first[1] != SIGNAL {
                    let found = rest.windows(4).position(|bytes| *bytes == [5, 1, b'u', 0]);
                    let serial = number(&rest, found.expect("an answer") + 4);
                    return (first[1], serial, String::from_utf8_lossy(&rest).into_owned());
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }

    /// Whether the supervisor hangs up.
    async fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let ended = async {
            loop {
                match self.0.read(&mut bytes).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.is_ok()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("short")
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What the next message begins with, and the rest of it.
async fn message(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> ([u8; 16], Vec<u8>) {
    let mut first = [0; 16];
    from.read_exact(&mut first).await.expect("a message");
    let length = number(&first, 12).next_multiple_of(8) + number(&first, 4);
    let mut rest = vec![0; length as usize];
    from.read_exact(&mut rest).await.expect("the rest");
    (first, rest)
}

fn nothing(count: usize) -> Vec<std::fs::File> {
    (0..count).map(|_| std::fs::File::open("/dev/null").expect("there")).collect()
}

#[tokio::test]
async fn a_header_that_promises_too_much_ends_the_connection() {
    let world = World::new(1).await;
    let mut raw = Raw::connect(&world, 1000).await;
    let mut header = Call::new("SubmitJob", 1).bytes();
    header[4..8].copy_from_slice(&(2_u32 << 20).to_le_bytes());
    raw.0.write_all(&header).await.expect("written");
    assert!(raw.is_closed().await, "what was promised is waited for");
}

#[tokio::test]
async fn messages_of_one_user_have_a_limit_together() {
    let world = World::new(1).await;
    let mut raws = Vec::new();
    // All of them together promise more than a user may have on the way.
    for _ in 0..63 {
        let mut raw = Raw::connect(&world, 1000).await;
        let mut header = Call::new("SubmitJob", 1).bytes();
        header[4..8].copy_from_slice(&(1_u32 << 20).to_le_bytes());
        raw.0.write_all(&header).await.expect("written");
        raws.push(raw);
    }
    let mut one_more = Raw::connect(&world, 1000).await;
    let mut header = Call::new("SubmitJob", 1).bytes();
    header[4..8].copy_from_slice(&(2_u32 << 20).wrapping_sub(1024).to_le_bytes());
    one_more.0.write_all(&header).await.expect("written");
    assert!(one_more.is_closed().await, "more than the user may have");
    submit(&world.manager(1001).await, &["true"]).await;
    drop(raws);
}

#[tokio::test]
async fn descriptors_without_end_end_the_connection() {
    let world = World::new(1).await;
    let files = nothing(129);
    let mut raw = Raw::connect(&world, 1000).await;
    raw.send_with(&Call { fds: 129, ..Call::new("ListProfiles", 1) }, &files).await;
    assert!(raw.is_closed().await, "129 descriptors with one message");
    let mut raw = Raw::connect(&world, 1000).await;
    for serial in 1..=3 {
        // No header counts them.
        raw.send_with(&Call::new("ListProfiles", serial), &files).await;
    }
    assert!(raw.is_closed().await, "descriptors that belong to no message");
}

#[tokio::test]
async fn a_call_that_waits_holds_no_descriptors() {
    let world = World::new(1).await;
    let job = submit(&world.manager(1000).await, &["sleep"]).await;
    let mut raw = Raw::connect(&world, 1000).await;
    raw.send_with(&Call { fds: 1, ..Call::wait(job, 7) }, &nothing(1)).await;
    let (kind, serial, words) = raw.answer().await;
    assert_eq!((kind, serial), (3, 7), "{words}");
    assert!(words.contains("LimitsExceeded") && words.contains("send none"), "{words}");
}

#[tokio::test]
async fn a_user_has_a_limit_of_calls_that_wait() {
    let world = World::new(1).await;
    let (one, other) = (world.manager(1000).await, world.manager(1000).await);
    let job = submit(&one, &["sleep"]).await;
    let mut waits = FuturesUnordered::new();
    for at in 0..257 {
        let manager = if at % 2 == 0 { one.clone() } else { other.clone() };
        waits.push(async move { manager.wait_job(job).await });
    }
    let first = tokio::time::timeout(PATIENCE, waits.next()).await.expect("one too many");
    let refused = first.expect("an answer").expect_err("one too many").to_string();
    assert!(refused.contains("256 calls of yours"), "{refused}");
    // Neither another user nor another question of this one is in the way of it.
    let root = world.manager(0).await;
    let theirs = submit(&root, &["sleep"]).await;
    let waiting = tokio::spawn(async move { root.wait_job(theirs).await });
    one.cancel_job(job).await.expect("cancelled");
    while let Some(over) = waits.next().await {
        assert_eq!(described(&over.expect("answered")).id.0, job);
    }
    one.wait_job(job).await.expect("the places are given back");
    world.manager(0).await.cancel_job(theirs).await.expect("cancelled");
    waiting.await.expect("no panic").expect("answered");
}

#[tokio::test]
async fn who_hangs_up_gives_the_places_back() {
    let world = World::new(1).await;
    let job = submit(&world.manager(1000).await, &["sleep"]).await;
    let mut raw = Raw::connect(&world, 1000).await;
    for serial in 1..=257 {
        raw.send(&Call::wait(job, serial)).await;
    }
    assert!(raw.answer().await.2.contains("LimitsExceeded"));
    drop(raw);
    let manager = world.manager(1000).await;
    let again = async {
        let mut waits: FuturesUnordered<_> = (0..256).map(|_| manager.wait_job(job)).collect();
        loop {
            // A refusal is answered; a wait is not.
            let refused = tokio::time::timeout(Duration::from_millis(50), waits.next()).await;
            if refused.is_err() && waits.len() == 256 {
                break;
            }
            waits.push(manager.wait_job(job));
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the places are given back");
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered() {
    let world = World::new(1).await;
    let raw = Raw::connect(&world, 1000).await;
    let mut calls = Vec::new();
    for serial in 1..=3000 {
        calls.extend(Call::new("ListProfiles", serial).bytes());
    }
    let (read, mut write) = raw.0.into_split();
    let writing = tokio::spawn(async move {
        write.write_all(&calls).await.expect("written");
        write
    });
    // Nothing is read before the supervisor has answered as much as fits.
    tokio::task::yield_now().await;
    let mut read = tokio::io::BufReader::new(read);
    let mut seen = std::collections::BTreeSet::new();
    let reading = async {
        while seen.len() < 3000 {
            let (first, _) = message(&mut read).await;
            seen.insert(number(&first, 8));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all are answered");
    drop(writing.await.expect("no panic"));
}

#[tokio::test]
async fn a_call_that_wants_no_answer_gets_none() {
    let world = World::new(1).await;
    let mut raw = Raw::connect(&world, 1000).await;
    for serial in 1..=2000 {
        raw.send(&Call { flags: NO_REPLY, ..Call::new("ListProfiles", serial) }).await;
    }
    raw.send(&Call::new("ListProfiles", 2001)).await;
    let (kind, serial, _) = raw.answer().await;
    assert_eq!((kind, serial), (2, 2001));
}
