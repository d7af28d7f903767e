//! `make bench`: how fast secrets are taken out of a log, beside a plain copy of the
//! same bytes and beside a scanner of others that only looks for them.
//!
//! Best of several rounds, by turns, on one thread, from memory to memory. A peer that
//! is not installed is left out, and said so.

use fetchml_policies::secrets::{self, Piece, Redactor};
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LOG_BYTES: usize = 64 << 20;
/// As much as the agent reads at once.
const PIECE_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 5;

/// Lines of a training run; `secrets` of a thousand have a password in them.
fn log(secrets: usize) -> Vec<u8> {
    let mut text = String::with_capacity(LOG_BYTES + 4096);
    let mut step = 0usize;
    while text.len() < LOG_BYTES {
        step += 1;
        let _ = match step % 10 {
            0 => writeln!(
                text,
                "Epoch {}:  47%|####      | 1403/2990 [07:12<08:09,  3.24it/s, loss=0.{step}, v_num=3]",
                step / 100
            ),
            1 => writeln!(
                text,
                "2026-03-01 10:12:{:02},113 INFO saved /mnt/ckpt/llama3/epoch=3-step={step}.ckpt",
                step % 60
            ),
            2 => writeln!(
                text,
                "{{\"step\": {step}, \"tokens\": {}, \"lr\": 3.0e-4, \"eos_token_id\": 2}}",
                step * 4096
            ),
            3 => writeln!(
                text,
                "model.layers.{}.self_attn.q_proj.weight grad_norm=0.{step} dtype=bf16",
                step % 80
            ),
            4 if step / 10 % 100 < secrets / 10 => {
                writeln!(text, "connecting with password=hunter2-{step} to db")
            }
            _ => writeln!(
                text,
                "2026-03-01 10:12:{:02},{step:06} INFO trainer step={step} loss=2.{step} lr=3.0e-04 tokens/s=183402 grad_norm=1.03",
                step % 60
            ),
        };
    }
    text.into_bytes()
}

fn best(mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)]
fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

#[allow(clippy::print_stdout)]
fn main() {
    let rules = secrets::load::<&str>(&[]).expect("the vendor's rules are sound");
    for (name, secrets) in [("no secret", 0), ("a secret every hundredth line", 100)] {
        let log = log(secrets);
        let mut copy = Vec::with_capacity(log.len() * 2);
        let plain = best(|| {
            copy.clear();
            log.chunks(PIECE_BYTES).for_each(|piece| copy.extend_from_slice(piece));
            black_box(&copy);
        });
        let mut found = 0;
        let redacted = best(|| {
            copy.clear();
            found = 0;
            let mut redactor = Redactor::new(&rules, &[]);
            let mut out = |piece: Piece<'_>| match piece {
                Piece::Text(text) => copy.extend_from_slice(text),
                Piece::Secret(rule) => {
                    found += 1;
                    copy.extend_from_slice(rules.marker(rule).as_bytes());
                }
            };
            for piece in log.chunks(PIECE_BYTES) {
                redactor.feed(&rules, piece, &mut out);
            }
            redactor.finish(&rules, &mut out);
            black_box(&copy);
        });
        println!(
            "{name}: redacted {:.0} MB/s ({found} secrets), copied {:.0} MB/s",
            rate(log.len(), redacted),
            rate(log.len(), plain)
        );
        if secrets == 0 {
            println!("{}", peer(&log));
        }
    }
}

/// ripsecrets on the same log, from the page cache.
fn peer(log: &[u8]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("train.log");
    std::fs::write(&path, log).expect("a write");
    let run = || {
        let start = Instant::now();
        let status = Command::new("ripsecrets")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        status.code().is_some().then(|| start.elapsed())
    };
    match (0..2).map_while(|_| run()).min() {
        Some(time) => format!("ripsecrets, looking only: {:.1} MB/s", rate(log.len(), time)),
        None => "not there, left out: ripsecrets (cargo install ripsecrets)".to_owned(),
    }
}
