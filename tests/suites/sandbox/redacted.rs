//! Secrets that a job prints are gone before its log is on the disk.

use crate::private;
use fetchml_tests::Private;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Puts every secret together at run time, so that it stands in no file and no
/// specification, and prints it in many ways.
const PRINTS: &str = "\
import os, sys, time
token = 'ghp_' + 'zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ' + '0mLq17'
password = 'hunter' + '2-Zq9'
def say(text, to=1): os.write(to, text.encode())
say(f'whole {token} end\\n')
say(f'to the other stream {token}\\n', 2)
say('in halves ' + token[:17]); time.sleep(0.2); say(token[17:] + ' end\\n')
for byte in 'byte by byte ' + token + ' end\\n': say(byte)
say('db_pass'); time.sleep(0.2); say('word='); time.sleep(0.2); say(password + ' end\\n')
say('-----BEGIN PRIVATE KEY-----\\n' + 'MIIEpAIBAAKCAQEA7bq3' * 3 + '\\n-----END PRIVATE KEY-----\\n')
for before in range(32_700, 32_800, 7): say('.' * before + f' {token} end\\n')
try: raise RuntimeError(f'401 for https://bob:{password}@db/x')
except RuntimeError:
    import traceback; traceback.print_exc()
say('harmless end ' + 'x' * 100 + '\\n'); say('last, and no line end: ' + token)";

const SECRETS: [&str; 4] = ["zQWBuTSO", "0mLq17", "hunter2", "MIIEpAIB"];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn what_a_job_prints_is_redacted_before_it_is_on_the_disk() {
    let private = private!();
    private.put("prints.py", PRINTS);
    let output = private.ctl(["run", "--", "/usr/bin/python3", "prints.py"]);
    let shown = output.ok().to_owned();
    let marker = "[redacted:github-token]";
    for line in [
        format!("whole {marker} end\n"),
        format!("in halves {marker} end\n"),
        format!("byte by byte {marker} end\n"),
        "db_password=[redacted:named-secret] end\n".to_owned(),
        format!("harmless end {}\n", "x".repeat(100)),
    ] {
        assert!(shown.contains(&line), "{line} is not in {shown:.2000}");
    }
    assert!(shown.ends_with(&format!("last, and no line end: {marker}")), "{shown}");
    assert_eq!(shown.matches(&format!(". {marker} end\n")).count(), 15);
    assert!(output.says(&format!("to the other stream {marker}")), "{}", output.stderr);
    assert!(output.says("https://bob:[redacted:url-password]@db/x"), "{}", output.stderr);
    let mut all = Vec::new();
    files(&private.dir(), &mut all);
    assert!(all.iter().any(|path| path.ends_with("log")), "{all:?}");
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        for secret in SECRETS {
            assert!(!holds(&bytes, secret), "{secret} is in {}", path.display());
        }
    }
}

/// What a job's live output shows of `script` before the job goes on.
fn shows(private: &Private, script: &str, wanted: &str) -> String {
    let run = ["run", "--", "/bin/sh", "-c", script];
    let mut child = private.command(run).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut shown, mut byte) = (String::new(), [0]);
    // Without what is waited for this lasts as long as the job.
    while !shown.ends_with(wanted) && stdout.read(&mut byte).unwrap() == 1 {
        shown.push(char::from(byte[0]));
    }
    private.ctl(["cancel", "@last"]).ok();
    child.wait().unwrap();
    shown
}

#[test]
fn who_follows_a_job_sees_half_a_line() {
    let private = private!();
    let shown = shows(&private, "printf ' 47%%|####  step 3, lo'; sleep 600", "lo");
    assert_eq!(shown, " 47%|####  step 3, lo");
    let shown = shows(&private, "printf db_pass; printf word=; printf hunt; sleep 600", "=");
    assert_eq!(shown, "db_password=", "and not what may be the beginning of a secret");
}
