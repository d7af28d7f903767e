//! Secrets that an administrator keeps for jobs: how a job gets them, and that they are
//! nowhere else.

use crate::private;
use fetchml_tests::Private;
use sha2::{Digest, Sha256};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const IN_FILE: &str = "Pl4nted/file+4Zk ?&=end";
const IN_VARIABLE: &str = "Pl4nted-variable-8Wq%x";
const IN_CONFIGURATION: &str = "Pl4nted-config-9c1Tz";
const IN_SPECIFICATION: &str = "Pl4nted-spec-7Qx3v";

fn add(private: &Private, name: &str, value: &str) {
    let file = private.put("value", value);
    let file = file.display().to_string();
    private.ctl(["secret", "add", name, "--file", &file]).ok();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_job_gets_a_secret_as_a_file_that_it_alone_can_read() {
    let private = private!();
    add(&private, "api-key", "first line\nsecond line\n");
    let script = "stat -c '%a %u %g' /run/secrets/api-key; id -u
        sha256sum < /run/secrets/api-key
        grep ' /run/secrets ' /proc/self/mountinfo | cut -d' ' -f6
        touch /run/secrets/other 2>&1; echo more 2>&1 >> /run/secrets/api-key
        echo \"variable: $API_KEY\"; ls /run/secrets";
    let output = private.ctl(["run", "--secret", "api-key", "--", "sh", "-c", script]);
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines[..2], ["400 1000 1000", "1000"], "{lines:?}");
    let hash = Sha256::digest(b"first line\nsecond line\n");
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[2], format!("{hash}  -"));
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(lines[3].split(',').any(|f| f == flag), "{flag} is not in {}", lines[3]);
    }
    assert!(lines[4].contains("Read-only file system"), "{lines:?}");
    assert_eq!(lines[lines.len() - 2..], ["variable: ", "api-key"], "{lines:?}");
    let script = "[ \"$KEY\" = \"first line
second line\" ] && ls /run/secrets 2>&1";
    let asked = ["run", "--secret-env", "api-key=KEY", "--", "sh", "-c", script];
    let output = private.ctl(asked);
    assert!(output.expect(2).contains("No such file"), "a variable makes no file: {output:?}");
    // A later value is that of later jobs.
    let file = private.put("value", "other value");
    private.ctl(["secret", "rotate", "api-key", "--file", &file.display().to_string()]).ok();
    let shown =
        private.ctl(["run", "--secret", "api-key", "--", "wc", "-c", "/run/secrets/api-key"]);
    assert_eq!(shown.ok(), "11 /run/secrets/api-key");
    private.ctl(["secret", "remove", "api-key", "--yes"]).ok();
    let output = private.ctl(["run", "--secret", "api-key", "--", "true"]);
    output.expect(125);
    assert!(output.says("there is no secret api-key that you may use"), "{}", output.stderr);
}

#[test]
fn what_cannot_be_kept_or_given_is_refused_in_words() {
    let private = private!();
    add(&private, "token", "s3cret-value");
    let value = private.put("value", "s3cret-value").display().to_string();
    let short = private.put("short", "abc").display().to_string();
    for (words, said) in [
        (vec!["secret", "add", "token", "--file", &value], "there is a secret token already"),
        (vec!["secret", "add", "../x", "--file", &value], "a secret cannot be called"),
        (vec!["secret", "add", "x", "--file", &short], "the value has 3 bytes"),
        (vec!["secret", "add", "x", "--for", "no-one", "--file", &value], "no-one is no user"),
        (vec!["secret", "rotate", "x", "--file", &value], "there is no secret x"),
        (vec!["secret", "remove", "x", "--yes"], "there is no secret x"),
        (
            vec!["submit", "--secret", "token", "--secret", "token", "--", "true"],
            "secrets names token twice",
        ),
        (
            vec!["submit", "--secret-env", "token=FETCHML_X", "--", "true"],
            "secret-env sets FETCHML_X",
        ),
        (
            vec!["submit", "--secret-env", "token=A", "--env", "A=1", "--", "true"],
            "A is set by env and by secret-env",
        ),
    ] {
        let output = private.ctl(words);
        assert!(output.says(said), "{said} is not in {}", output.stderr);
        assert!(!output.says("s3cret-value"), "{}", output.stderr);
    }
}

/// Prints what it was given in every way that a program finds.
const PRINTS: &str = "\
import base64, os, sys, time, urllib.parse
file, variable = open('/run/secrets/file').read(), os.environ['VARIABLE']
for secret in file, variable:
    for n in range(3): print('b64', base64.b64encode(b'x' * n + secret.encode() + b'tail').decode())
    print('url', urllib.parse.quote(secret), urllib.parse.quote(secret, safe=''))
    print('plain', secret, 'end', flush=True)
    os.write(2, f'{secret[:9]}'.encode()); time.sleep(0.1); os.write(2, f'{secret[9:]} end\\n'.encode())
print('ghp_' + 'zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ' + '0mLq17', flush=True)
open('/outputs/started', 'w').close()
if os.environ.get('FETCHML_ATTEMPT') == '1': sys.exit(3)
time.sleep(600)";

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// What must not be found anywhere: the secrets, and the beginnings of what they are in
/// base64 and in a URL.
const PLANTED: [&str; 12] = [
    IN_FILE,
    IN_VARIABLE,
    IN_CONFIGURATION,
    IN_SPECIFICATION,
    "zQWBuTSOoRi4A9spHcVY5ncn",
    "Pl4nted%2Ffile",
    "UGw0bnRlZC9maWxl",
    "BsNG50ZWQvZmlsZ",
    "bDRudGVkL2ZpbGU",
    "UGw0bnRlZC12YXJp",
    "BsNG50ZWQtdmFya",
    "bDRudGVkLXZhcml",
];

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

fn search(bytes: &[u8], place: &dyn std::fmt::Display) {
    for secret in PLANTED {
        assert!(!holds(bytes, secret), "{secret} is in {place}");
    }
}

/// Arguments and environments of every process that is not in the job's namespace.
fn search_processes(job: u64) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let namespace = std::fs::metadata(path.join("ns/pid")).map(|found| found.ino());
        if !matches!(namespace, Ok(namespace) if namespace != job) {
            continue;
        }
        for part in ["cmdline", "environ"] {
            let bytes = std::fs::read(path.join(part)).unwrap_or_default();
            search(&bytes, &path.join(part).display());
        }
    }
}

/// Looks through all that a process has written into its memory.
fn search_memory(process: i32, secrets: &[&str]) {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut looked_through = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|edge| u64::from_str_radix(edge, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A thread's stack may have gone meanwhile.
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        looked_through += bytes.len();
        for secret in secrets {
            assert!(!holds(&bytes, secret), "{secret} is in {line} of process {process}");
        }
    }
    assert!(looked_through > 1 << 20, "only {looked_through} bytes");
}

#[test]
fn a_planted_secret_is_nowhere_but_in_its_job() {
    let private = private!();
    add(&private, "file", IN_FILE);
    add(&private, "variable", IN_VARIABLE);
    let mut said = Vec::new();
    let mut ctl = |words: &[&str]| {
        let output = private.command(words.iter().copied()).output().unwrap();
        said.extend_from_slice(&output.stdout);
        said.extend_from_slice(&output.stderr);
        output
    };
    let configuration =
        private.put("fetchml.toml", format!("[jobs]\npassword = \"{IN_CONFIGURATION}\"\n"));
    assert!(!ctl(&["config", "check", &configuration.display().to_string()]).status.success());
    let spec = format!("DB_PASSWORD={IN_SPECIFICATION}");
    assert!(!ctl(&["submit", "--env", &spec, "--", "true"]).status.success());
    std::fs::remove_file(configuration).unwrap();
    private.put("prints.py", PRINTS);
    let job = ["--secret", "file", "--secret-env", "variable=VARIABLE", "--", "/usr/bin/python3"];
    // It fails, and is tried again.
    let submit = [&["submit", "--retry", "user-error=1"], &job[..], &["prints.py"]].concat();
    let submitted = ctl(&submit);
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let begun = std::time::Instant::now();
    let log = loop {
        // In this order: what is shown then is the log of the second try.
        let status = ctl(&["status", "1", "--json"]);
        let log = ctl(&["logs", "1"]);
        let runs = ["\"state\":\"running\"", "\"attempt\":2"];
        let runs = runs.iter().all(|part| holds(&status.stdout, part));
        if runs && holds(&log.stdout, "[redacted:github-token]") {
            break log;
        }
        let shown = String::from_utf8_lossy(&log.stdout);
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{shown}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let shown = String::from_utf8_lossy(&log.stdout).into_owned();
    let marker = "[redacted:injected-secret]";
    assert_eq!(shown.matches(&format!("plain {marker} end\n")).count(), 2, "{shown}");
    assert_eq!(shown.matches(&format!("url {marker} {marker}\n")).count(), 2, "{shown}");
    assert_eq!(shown.lines().filter(|l| l.starts_with("b64") && l.contains(marker)).count(), 6);
    let commands = fetchml_tests::processes_with("python3\0prints.py");
    let command = commands.first().expect("the job runs").as_raw_nonzero();
    let namespace = std::fs::metadata(format!("/proc/{command}/ns/pid")).unwrap().ino();
    let environment = std::fs::read(format!("/proc/{command}/environ")).unwrap();
    assert!(holds(&environment, IN_VARIABLE), "the job itself has it");
    search_processes(namespace);
    // Nor would a core of the supervisor have it.
    let supervisor = private.supervisor().expect("it runs").as_raw_nonzero();
    search_memory(supervisor.get(), &[IN_FILE, IN_VARIABLE]);
    let parent = std::fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
    let agent = parent.rsplit_once(')').unwrap().1.split(' ').nth(2).unwrap();
    let plan = std::fs::read_link(format!("/proc/{agent}/fd/3")).unwrap();
    assert_eq!(plan, Path::new("/dev/null"), "the agent keeps its plan");
    private.crash();
    let export = private.dir().join("export.audit").display().to_string();
    for words in [
        &["list", "--json"][..],
        &["status", "1", "--json"],
        &["status", "1"],
        &["logs", "1"],
        &["secret", "list", "--json"],
        &["secret", "list"],
        &["cancel", "1"],
        &["wait", "1"],
        &["attempts", "1", "--json"],
        &["audit", "show", "--json"],
        &["audit", "export", &export],
        &["audit", "verify"],
        &["doctor"],
    ] {
        ctl(words);
    }
    search(&said, &"what was said");
    let mut all = Vec::new();
    files(&private.dir(), &mut all);
    let kept = private.dir().join("state/secrets");
    let (kept, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| p.starts_with(&kept));
    assert_eq!(kept.len(), 2, "{kept:?}");
    for path in &kept {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
    for name in ["log", "report", "fetchml.db", "000000000001.log", "export.audit"] {
        assert!(others.iter().any(|p| p.ends_with(name)), "{name} is not among {others:?}");
    }
    for path in &others {
        search(&std::fs::read(path).unwrap(), &path.display());
    }
    let audit = private.audit_lines().join("\n");
    for wanted in ["secret_added", "secret/variable", "\"secrets\":\"file,variable\""] {
        assert!(audit.contains(wanted), "{wanted} is not in {audit}");
    }
}
