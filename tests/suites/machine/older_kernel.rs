//! Debian 12 with its own kernel, 6.1: Landlock stands at level 2 there, tmpfs
//! cannot map ids (6.3), a peer has no pidfd (6.5). What is missing is missing in
//! words, and nothing else is.

use fetchml_tests::{Debian, Output, available, machine, package};
use serde_json::Value;

/// What Landlock lacks at level 2.
const LACKS: &str = "truncation, TCP ports, device ioctls, abstract sockets and signals";

const PREPARE: &str = r#"
set -e
uname -r
dpkg -i ./fetchml_*.deb
usermod -aG fetchml alice
install -d -o alice -g alice /home/alice/project /home/alice/flags
install -o alice -g alice -m 0644 inside.py /home/alice/project/
mkdir -p /etc/fetchml/policies/profiles
cat > /etc/fetchml/policies/profiles/all-of-landlock.toml <<'PROFILE'
description = "refuses where Landlock is incomplete"
extends = "default"
landlock = "required"
PROFILE
systemctl restart fetchmld
systemctl is-active fetchmld fetchml-jobs
"#;

/// Run as a job: prints one line for each thing that is not as it must be, and
/// `held` at the end. On the machine a process listens on an abstract socket.
const INSIDE: &str = r#"
import ctypes, errno, mmap, multiprocessing, os, socket, subprocess, threading
from multiprocessing import shared_memory

def refused(what, function, *numbers):
    try:
        function()
    except OSError as e:
        if e.errno not in numbers:
            print(what, "is refused with", errno.errorcode.get(e.errno))
    else:
        print(what, "is allowed")

def abstract():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0fetchml-test")

def tcp():
    with socket.socket() as s:
        s.connect(("127.0.0.1", 22))

libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    def run():
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    return run

refused("truncating a file of the host", lambda: os.truncate("/usr/bin/env", 0),
        errno.EROFS, errno.EACCES, errno.EPERM)
refused("writing to the root", lambda: open("/new", "w"), errno.EROFS, errno.EACCES)
refused("an abstract socket of the host", abstract, errno.ECONNREFUSED, errno.EPERM)
refused("TCP without a network", tcp, errno.ENETUNREACH, errno.EACCES)
refused("a process of the host", lambda: os.kill(4711, 9), errno.ESRCH)
refused("ptrace", call(101, 0, 0, 0, 0), errno.EPERM)
refused("mount", call(165, 0, 0, 0, 0, 0), errno.EPERM)
refused("unshare", call(272, 0x10000000), errno.EPERM)
refused("io_uring_setup", call(425, 1, 0), errno.EPERM)

status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    if int(status[name], 16) != 0:
        print(name, "is", status[name].strip())
for name, wanted in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", "1000\t1000\t1000\t1000")):
    if status[name].strip() != wanted:
        print(name, "is", status[name].strip())

def double(n):
    return 2 * n

with multiprocessing.Pool(2) as pool:
    if pool.map(double, range(4)) != [0, 2, 4, 6]:
        print("worker processes do not answer")
block = shared_memory.SharedMemory(create=True, size=1 << 20)
block.close()
block.unlink()
thread = threading.Thread(target=subprocess.run, args=(["true"],), kwargs={"check": True})
thread.start()
thread.join()
os.ftruncate(os.memfd_create("x"), 4096)
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
with open("/work/new", "w") as file:
    file.write("x")
os.truncate("/work/inside.py", 0)
os.mkdir("/work/directory")
os.rename("/work/new", "/work/directory/new")
print("held")
"#;

const INCOMPLETE: &str = r#"
cd /home/alice/project
python3 -c '
import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("\0fetchml-test")
s.listen()
time.sleep(600)
' &
listener=$!
runuser -u alice -- fetchmlctl run -- python3 inside.py
echo "status $?"
kill $listener
runuser -u alice -- fetchmlctl run --network loopback -- python3 -c '
import socket
a = socket.create_server(("127.0.0.1", 0))
b = socket.create_connection(a.getsockname())
print("loopback works")
'
[ -s inside.py ] && echo "the original is whole"
"#;

const REPORT: &str = "runuser -u alice -- fetchmlctl --json status 1";
const AUDIT: &str = "fetchmlctl --json audit show --job 1";
const DOCTOR: &str = "runuser -u alice -- fetchmlctl --json doctor";

const REQUIRED: &str = "
cd /home/alice/project
for profile in all-of-landlock strict; do
    runuser -u alice -- fetchmlctl run --profile $profile -- echo ran
    echo status $?
done
";

const TMPFS: &str = "
install -d -o alice -g alice /dev/shm/project
cd /dev/shm/project
runuser -u alice -- fetchmlctl run -- echo ran
echo status $?
cd /home/alice/project
runuser -u alice -- fetchmlctl run --mount /dev/shm/project:/data -- echo ran
echo status $?
";

const RESTART: &str = r#"
cd /home/alice/project
patient='echo up; while [ ! -e /flags/go ]; do sleep 0.2; done; echo went on'
one=$(runuser -u alice -- fetchmlctl submit --quiet --mount /home/alice/flags:/flags -- sh -c "$patient")
two=$(runuser -u alice -- fetchmlctl submit --quiet -- sh -c 'echo up; exec sleep 4711')
for job in $one $two; do
    while ! runuser -u alice -- fetchmlctl logs "$job" | grep -q up; do sleep 0.2; done
done
old=$(systemctl show --property=MainPID --value fetchmld)
kill -KILL "$old"
while [ "$(systemctl show --property=MainPID --value fetchmld)" = "$old" ] ||
    ! systemctl --quiet is-active fetchmld; do sleep 0.2; done
touch /home/alice/flags/go
runuser -u alice -- fetchmlctl wait "$one"
echo "status $?"
runuser -u alice -- fetchmlctl logs "$one"
runuser -u alice -- fetchmlctl cancel "$two"
runuser -u alice -- fetchmlctl wait "$two"
runuser -u alice -- fetchmlctl status "$two" | head -n 1
"#;

const PRIVATE: &str = "
mkdir -p /srv/project
cd /srv/project
fetchmlctl --private=/srv/private run --memory 256M -- echo ran
echo status $?
# What the refusal says to do.
systemd-run --quiet --scope -p Delegate=yes \\
    fetchmlctl --private=/srv/delegated run --memory 256M -- echo ran
echo status $?
";

const AFTERWARDS: &str = "
fetchmlctl audit verify
journalctl -b -p err --no-pager -u fetchmld -u fetchml-jobs -o cat
";

#[test]
fn what_an_older_kernel_lacks_is_said_and_the_rest_holds() {
    let Some(package) = available(package()) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let inside = dir.path().join("inside.py");
    std::fs::write(&inside, INSIDE).expect("it can be written");
    let scripts = [
        ("prepare", PREPARE),
        ("incomplete", INCOMPLETE),
        ("report", REPORT),
        ("audit", AUDIT),
        ("doctor", DOCTOR),
        ("required", REQUIRED),
        ("tmpfs", TMPFS),
        ("restart", RESTART),
        ("private", PRIVATE),
        ("afterwards", AFTERWARDS),
    ];
    let Some(outputs) =
        available(machine::run_scripts(Debian::Bookworm, &[package, inside], &scripts))
    else {
        return;
    };
    let [prepare, incomplete, report, audit, doctor, required, tmpfs, restart, private, afterwards] =
        &outputs[..]
    else {
        panic!("{outputs:#?}");
    };
    assert!(prepare.ok().starts_with("6.1."), "not the kernel that this is about: {prepare}");
    jobs_run_and_are_held(incomplete);
    the_report_names_what_was_missing(report);
    the_audit_log_names_it_as_well(audit);
    doctor_names_it_with_a_remedy(doctor);
    demanding_all_of_it_is_refused_in_words(required);
    what_cannot_map_ids_is_refused_in_words(tmpfs);
    a_restarted_supervisor_finds_its_jobs(restart);
    a_private_supervisor_keeps_a_limit_where_it_is_given_a_group(private);
    assert!(afterwards.says("intact"), "{afterwards}");
}

fn jobs_run_and_are_held(output: &Output) {
    let (told, lines): (Vec<_>, Vec<_>) = output
        .ok()
        .lines()
        .partition(|line| line.starts_with("job 1 succeeded; denied: ptrace ×1"));
    assert_eq!(
        lines,
        ["held", "status 0", "loopback works", "the original is whole"],
        "the first lines say what the job could do and must not, or the other way round"
    );
    assert_eq!(told.len(), 1, "what it must not is told at its end: {output}");
}

fn the_report_names_what_was_missing(output: &Output) {
    let job: Value = serde_json::from_str(output.ok()).unwrap_or_else(|e| panic!("{e}: {output}"));
    let job = if job.is_array() { &job[0] } else { &job };
    let layers = job["report"]["layers"].as_array().unwrap_or_else(|| panic!("{output}"));
    for layer in layers {
        if layer["name"] == "landlock" {
            assert_eq!(layer["state"], "partial", "{output}");
            let detail = layer["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("level 2") && detail.contains(LACKS), "{detail}");
        } else {
            assert_eq!(layer["state"], "held", "{output}");
        }
    }
    assert!(layers.iter().any(|l| l["name"] == "landlock"), "{output}");
    let denied = job["report"]["denied"].as_array().unwrap_or_else(|| panic!("{output}"));
    for call in ["ptrace", "mount", "unshare", "io_uring_setup"] {
        let counted = |d: &Value| d["call"].as_str().is_some_and(|c| c.starts_with(call));
        assert!(denied.iter().any(counted), "{call} was not counted: {output}");
    }
}

fn the_audit_log_names_it_as_well(output: &Output) {
    for event in ["job_started", "job_completed"] {
        let line = output
            .ok()
            .lines()
            .find(|line| line.contains(event))
            .unwrap_or_else(|| panic!("no {event}: {output}"));
        assert!(line.contains("landlock=partial") && line.contains(LACKS), "{line}");
    }
}

fn doctor_names_it_with_a_remedy(output: &Output) {
    let findings: Value =
        serde_json::from_str(output.ok()).unwrap_or_else(|e| panic!("{e}: {output}"));
    let landlock = findings
        .as_array()
        .and_then(|all| all.iter().find(|f| f["name"] == "landlock"))
        .unwrap_or_else(|| panic!("{output}"));
    assert_eq!(landlock["state"], "partial", "{output}");
    let consequence = landlock["consequence"].as_str().unwrap_or_else(|| panic!("{output}"));
    for lack in LACKS.split(", ") {
        assert!(consequence.contains(lack), "no word of {lack}: {consequence}");
    }
    assert!(landlock["remedy"].as_str().is_some_and(|r| r.contains("Linux 6.")), "{output}");
}

fn demanding_all_of_it_is_refused_in_words(output: &Output) {
    assert_eq!(output.stdout.matches("status 125").count(), 2, "{output}");
    for word in ["`all-of-landlock`", "`strict`", "this kernel has 2", LACKS, "best-effort"] {
        assert!(output.says(word), "no word of {word}: {output}");
    }
}

fn what_cannot_map_ids_is_refused_in_words(output: &Output) {
    assert_eq!(output.stdout.matches("status 125").count(), 2, "{output}");
    assert!(!output.says("ran\n") && output.says("Linux 6.3 for tmpfs"), "{output}");
}

fn a_restarted_supervisor_finds_its_jobs(output: &Output) {
    for word in ["status 0", "went on", "cancelled"] {
        assert!(output.says(word), "no word of {word}: {output}");
    }
}

fn a_private_supervisor_keeps_a_limit_where_it_is_given_a_group(output: &Output) {
    assert!(output.says("status 125") && output.says("systemd-run --scope"), "{output}");
    assert!(output.ok().ends_with("ran\nstatus 0"), "{output}");
}
