//! Records verified a second: chain, spelling, tree and checkpoints, beside SHA-256 of
//! the same bytes, and a journal's own check of the same records.

use super::rate;
use fetchml_api::audit::{
    Actor, Anchor, Chain, Event, Id128, NewRecord, Origin, Stamp, Verdict, Verifier,
};
use fetchml_api::job::JobId;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RECORDS: u64 = 400_000;

fn log() -> (Vec<u8>, fetchml_api::audit::Head) {
    let (log_id, boot_id) = (Id128([7; 16]), Id128([9; 16]));
    let mut chain = Chain::begin(Origin { log_id, host: "node".into(), boot_id });
    let mut bytes = Vec::new();
    for n in 1..=RECORDS {
        let new = NewRecord::new(
            Event::JobQueued,
            Actor::uid(1000).named("alice"),
            "submit",
            &format!("job/{n}"),
        )
        .job(JobId(n))
        .detail("name", "train")
        .detail("profile", "default");
        let stamp = Stamp { time_usec: 1_763_000_000_000_000 + n, boottime_usec: n };
        chain.append(&new, stamp, &mut bytes);
    }
    (bytes, chain.head())
}

/// The shortest of some tries.
fn best(mut act: impl FnMut()) -> Duration {
    let tries = (0..5).map(|_| {
        let start = Instant::now();
        act();
        start.elapsed()
    });
    tries.min().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn section() -> String {
    let (bytes, head) = log();
    let verify = |with_tree: bool| {
        best(|| {
            let verifier = Verifier::new(Anchor::Exactly(head));
            let mut verifier = if with_tree { verifier.with_tree() } else { verifier };
            verifier.feed(&bytes);
            assert_eq!(verifier.finish().verdict, Verdict::Intact);
        })
    };
    let (chain, tree) = (verify(false), verify(true));
    let raw = best(|| {
        let _ = std::hint::black_box(Sha256::digest(std::hint::black_box(&bytes)));
    });
    let mib = |time: Duration| bytes.len() as f64 / time.as_secs_f64() / f64::from(1 << 20);
    let mut text =
        format!("verification of {RECORDS} records of {} bytes\n", bytes.len() as u64 / RECORDS);
    for (what, time) in [("chain", chain), ("chain and tree", tree), ("SHA-256 alone", raw)] {
        let (records, mib) = (rate(RECORDS, time), mib(time));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:<16}{records:>10.0} records/s  {mib:>6.0} MiB/s");
    }
    text + &journal(&bytes)
}

/// The same records as entries of a journal, and how long the journal's own check of
/// them takes.
fn journal(records: &[u8]) -> String {
    const WRITER: &str = "/lib/systemd/systemd-journal-remote";
    let place = tempfile::tempdir().expect("a directory can be made");
    let write = || -> std::io::Result<bool> {
        let mut writer = Command::new(WRITER)
            .arg(format!("--output={}", place.path().join("bench.journal").display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut entries = BufWriter::new(writer.stdin.take().expect("it is piped"));
        for (n, record) in (1u64..).zip(records.trim_ascii_end().split(|byte| *byte == b'\n')) {
            write!(
                entries,
                "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID={:032x}\n\
                 _PID=1\nPRIORITY=6\nMESSAGE=",
                1_763_000_000_000_000 + n,
                9
            )?;
            entries.write_all(record)?;
            entries.write_all(b"\n\n")?;
        }
        entries.flush()?;
        drop(entries);
        Ok(writer.wait()?.success())
    };
    if !write().is_ok_and(|written| written) {
        return format!("  journalctl --verify: left out, no {WRITER} (systemd-journal-remote)\n");
    }
    let start = Instant::now();
    let mut verify = Command::new("journalctl");
    match verify.args(["--verify", "-q", "-D"]).arg(place.path()).output() {
        Ok(done) => {
            let rate = rate(RECORDS, start.elapsed());
            format!("  {:<16}{rate:>10.0} records/s  ({})\n", "journalctl --verify", done.status)
        }
        Err(error) => format!("  journalctl --verify: {error}\n"),
    }
}
