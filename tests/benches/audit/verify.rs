//! Records verified a second: chain, spelling, tree and checkpoints, beside SHA-256 of
//! the same bytes, and the journal's own check of itself where there is a journal.

use super::rate;
use fetchml_api::audit::{
    Actor, Anchor, Chain, Event, Id128, NewRecord, Origin, Stamp, Verdict, Verifier,
};
use fetchml_api::job::JobId;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::process::Command;
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
    text + &journal()
}

fn journal() -> String {
    let usage = Command::new("journalctl").arg("--disk-usage").output();
    let entries = Command::new("sh")
        .args(["-c", "journalctl -q -o cat --output-fields=_PID | wc -l"])
        .output();
    let (Ok(usage), Ok(entries)) = (usage, entries) else {
        return "  journalctl --verify: no journal here, left out\n".to_owned();
    };
    let count: u64 = String::from_utf8_lossy(&entries.stdout).trim().parse().unwrap_or(0);
    if !usage.status.success() || count == 0 {
        return "  journalctl --verify: no journal here, left out\n".to_owned();
    }
    let start = Instant::now();
    let done = Command::new("journalctl").args(["--verify", "-q"]).output();
    let rate = rate(count, start.elapsed());
    match done {
        Ok(done) => format!(
            "  journalctl --verify {rate:>8.0} records/s ({count} entries, {})\n",
            done.status
        ),
        Err(error) => format!("  journalctl --verify: {error}\n"),
    }
}
