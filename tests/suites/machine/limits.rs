//! Limits of jobs as the kernel keeps them: cgroup v2 with all its controllers.

use fetchml_tests::{Debian, Output, available, machine, package};

const PREPARE: &str = "
set -e
dpkg -i ./fetchml_*.deb
usermod -aG fetchml alice
mkdir -p /etc/fetchml/policies/profiles
cat > /etc/fetchml/policies/profiles/small.toml <<'PROFILE'
description = \"little of everything\"
extends = \"default\"
[limits]
disk = \"16MiB\"
log = \"1MiB\"
cpu_weight = 10
io_weight = 50
PROFILE
cat > /etc/fetchml/policies/profiles/pinned.toml <<'PROFILE'
description = \"on one processor\"
extends = \"default\"
[limits]
cpuset = \"0\"
PROFILE
systemctl restart fetchmld
systemctl is-active fetchmld fetchml-jobs
runuser -u alice -- mkdir -p /home/alice/project /home/alice/flags
";

/// Says of the last job how it ended, in one line.
const ENDED: &str = r#"
ended() {
    runuser -u alice -- fetchmlctl --json status @last | python3 -c '
import json, sys
job = json.load(sys.stdin)
job = job[0] if isinstance(job, list) else job
report = job["report"]
print(sys.argv[1], report["failure"], "|", report["summary"], "|", json.dumps(report["usage"]))
' "$1"
}
"#;

/// Each of these goes over one limit, while a neighbour works.
const OVER: &str = r#"
cd /home/alice/project
quietly() { runuser -u alice -- fetchmlctl run "$@" >/dev/null 2>&1; }
neighbour=$(runuser -u alice -- fetchmlctl submit --quiet --memory 64M --mount /home/alice/flags:/flags -- \
    sh -c 'n=0; while [ ! -e /flags/go ]; do n=$((n + 1)); echo $n >> /outputs/steps; sleep 0.1; done
           [ "$(cat /outputs/steps)" = "$(seq $n)" ] && echo "all $n steps"')
quietly --memory 64M -- python3 -c 'x = bytearray(512 << 20)'
ended memory
quietly --pids 20 -- python3 -c '
import subprocess
for n in range(100):
    subprocess.Popen(["sleep", "30"])
'
ended processes
quietly --profile small -- sh -c 'dd if=/dev/zero of=/outputs/large bs=1M count=32; sleep 600'
ended disk
quietly --profile small -- sh -c 'while :; do echo one line after the other; done'
ended log
quietly --time-limit 3s -- sleep 600
ended time
touch /home/alice/flags/go
runuser -u alice -- fetchmlctl wait "$neighbour"
echo "neighbour $?"
runuser -u alice -- fetchmlctl logs "$neighbour"
"#;

/// Two jobs want both processors for as long.
const WEIGHTS: &str = r#"
cd /home/alice/project
spin='
import os, time
os.fork()
end = time.monotonic() + 12
while time.monotonic() < end:
    pass
time.sleep(1)
'
heavy=$(runuser -u alice -- fetchmlctl submit --quiet -- python3 -c "$spin")
light=$(runuser -u alice -- fetchmlctl submit --quiet --profile small -- python3 -c "$spin")
for job in $heavy $light; do
    runuser -u alice -- fetchmlctl wait "$job"
    runuser -u alice -- fetchmlctl --json status "$job" | python3 -c '
import json, sys
job = json.load(sys.stdin)
job = job[0] if isinstance(job, list) else job
print("user_usec", job["report"]["usage"]["user_usec"])
'
done
"#;

const MEMORY: &str = "
cd /home/alice/project
runuser -u alice -- fetchmlctl run --memory 64M -- python3 -c 'x = bytearray(512 << 20)'
echo status $?
runuser -u alice -- fetchmlctl --json status @last
";

const PROCESSES: &str = "
cd /home/alice/project
runuser -u alice -- fetchmlctl run --pids 20 --time-limit 10s -- sh -c 'f() { f | f & }; f; sleep 5; echo survived'
echo status $?
runuser -u alice -- fetchmlctl run --pids 20 -- python3 -c '
import os, sys
n = 0
try:
    while n < 100:
        if os.fork() == 0:
            import time
            time.sleep(30)
            os._exit(0)
        n += 1
except BlockingIOError:
    pass
print(\"children\", n)
'
";

const OWN_CGROUP: &str = r#"
cd /home/alice/project
job=$(runuser -u alice -- fetchmlctl submit --quiet --name lighthouse --profile small --memory 256M --cpus 0.5 --cpuset 1 --pids 64 -- sh -c 'echo up; exec sleep 4711')
# A job that is refused never says so; the script goes on and the test sees why.
for try in $(seq 100); do
    runuser -u alice -- fetchmlctl logs "$job" | grep -q up && break
    sleep 0.2
done
runuser -u alice -- fetchmlctl status "$job" | head -n 2
pid=$(pgrep -f 'sleep 4711' | head -n 1)
path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
echo "path $path"
for file in memory.max memory.swap.max memory.high cpu.max cpuset.cpus cpu.weight io.weight pids.max; do
    echo "$file $(cat "/sys/fs/cgroup$path/$file" 2>/dev/null || cat "/sys/fs/cgroup${path%/*}/$file")"
done
ps -o pid= -p "$(cat "/sys/fs/cgroup/fetchml.slice/fetchmld.service/cgroup.procs" | tr '\n' ',' | sed 's/,$//')" | wc -l
runuser -u alice -- fetchmlctl --json status "$job" | python3 -c '
import json, sys
job = json.load(sys.stdin)
job = job[0] if isinstance(job, list) else job
usage = job["usage"]
print("uses", usage["processes"], usage["memory_bytes"] > 100000, usage["read_bytes"] is not None)
'
systemctl status fetchml-jobs --no-pager -n 0 | grep -A1 -o 'job-[0-9]*'
systemd-cgls --no-pager --xattr=yes -u fetchml-jobs.service | grep fetchml.name | sed 's/^/root: /'
runuser -u alice -- systemd-cgls --no-pager --xattr=yes -u fetchml-jobs.service | grep fetchml.name | sed 's/^/alice: /'
runuser -u alice -- fetchmlctl cancel "$job"
runuser -u alice -- fetchmlctl wait "$job" || true
[ ! -e "/sys/fs/cgroup$path" ] && echo cgroup gone
"#;

const CPUS: &str = "
cd /home/alice/project
runuser -u alice -- fetchmlctl run --cpus 0.5 -- python3 -c '
import time
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 10:
    pass
print(round((time.process_time() - cpu) / (time.monotonic() - wall), 2))
'
";

const CPUSET: &str = "
cd /home/alice/project
runuser -u alice -- fetchmlctl run --cpuset 1 -- python3 -c '
import os
os.sched_setaffinity(0, {0, 1})
print(\"on\", sorted(os.sched_getaffinity(0)))
'
runuser -u alice -- fetchmlctl run --cpuset 0-9 -- true
runuser -u alice -- fetchmlctl run --profile pinned -- python3 -c 'import os; print(\"pinned on\", os.sched_getaffinity(0))'
runuser -u alice -- fetchmlctl run --profile pinned --cpuset 1 -- true
true
";

const AFTERWARDS: &str = "
fetchmlctl audit verify
systemctl is-active fetchmld fetchml-jobs
systemctl restart fetchml-jobs fetchmld
cd /home/alice/project
runuser -u alice -- fetchmlctl run --memory 64M -- echo again
journalctl -b -p err --no-pager -u fetchmld -u fetchml-jobs -o cat
";

#[test]
fn limits_are_kept_by_the_kernel() {
    let Some(package) = available(package()) else { return };
    let over = format!("{ENDED}{OVER}");
    let scripts = [
        ("prepare", PREPARE),
        ("memory", MEMORY),
        ("processes", PROCESSES),
        ("cgroup", OWN_CGROUP),
        ("cpus", CPUS),
        ("cpuset", CPUSET),
        ("over", over.as_str()),
        ("weights", WEIGHTS),
        ("afterwards", AFTERWARDS),
    ];
    let Some(outputs) = available(machine::run_scripts(Debian::Trixie, &[package], &scripts))
    else {
        return;
    };
    let [prepare, memory, processes, cgroup, cpus, cpuset, over, weights, afterwards] =
        &outputs[..]
    else {
        panic!("{outputs:#?}");
    };
    prepare.ok();
    memory_limit_ends_the_job_in_words(memory);
    process_limit_holds(processes);
    each_job_has_its_own_cgroup(cgroup);
    half_a_processor_is_half_a_processor(cpus);
    a_job_runs_on_its_own_processors_alone(cpuset);
    who_goes_over_a_limit_ends_alone_and_in_words(over);
    the_lighter_job_gets_less(weights);
    assert!(afterwards.ok().contains("again"), "{afterwards}");
}

fn memory_limit_ends_the_job_in_words(output: &Output) {
    assert!(output.says("status 137"), "{output}");
    let json = output.stdout.split_once("status 137").expect("just seen").1;
    let job = &json[json.find(['{', '[']).unwrap_or_else(|| panic!("no JSON: {output}"))..];
    let job: serde_json::Value =
        serde_json::from_str(job.trim()).unwrap_or_else(|e| panic!("{e}: {output}"));
    let report = if job.is_array() { &job[0]["report"] } else { &job["report"] };
    assert_eq!(report["failure"], "out-of-memory", "{output}");
    let summary = report["summary"].as_str().unwrap_or_else(|| panic!("no summary: {output}"));
    assert!(summary.contains("64"), "does not name the limit: {summary}");
    assert!(summary.contains("peak"), "does not name the peak: {summary}");
}

fn process_limit_holds(output: &Output) {
    let children = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("children "))
        .unwrap_or_else(|| panic!("no count: {output}"));
    // PID 1 of the job and the command itself count as well.
    assert!(children.parse::<u32>().is_ok_and(|n| n > 0 && n < 20), "{output}");
}

fn each_job_has_its_own_cgroup(output: &Output) {
    let path = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("path "))
        .unwrap_or_else(|| panic!("no path: {output}"));
    assert!(path.starts_with("/fetchml.slice/fetchml-jobs.service/"), "{output}");
    for fact in [
        "memory.max 268435456",
        "memory.swap.max 0",
        "memory.high max",
        "cpu.max 50000 100000",
        "cpuset.cpus 1",
        "cpu.weight 10",
        "io.weight default 50",
        "pids.max 65",
        "uses 2 True True",
    ] {
        assert!(output.says(fact), "{fact} is not so: {output}");
    }
    let number = path.rsplit('/').find(|part| part.starts_with("job-")).expect("it has a name");
    assert!(output.stdout.lines().any(|line| line.trim() == number), "{output}");
    let named = |who: &str| {
        let mut lines = output.stdout.lines();
        lines.any(|line| line.starts_with(who) && line.ends_with("lighthouse"))
    };
    assert!(named("root: "), "systemd-cgls does not tell the name: {output}");
    assert!(!named("alice: "), "anybody can read the names of jobs: {output}");
    assert!(output.says("cgroup gone"), "{output}");
}

fn half_a_processor_is_half_a_processor(output: &Output) {
    let share: f64 = output
        .ok()
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .unwrap_or_else(|| panic!("{output}"));
    assert!(share > 0.1 && share < 0.75, "{share} of a processor");
}

fn a_job_runs_on_its_own_processors_alone(output: &Output) {
    for words in [
        "on [1]",
        "--cpuset has CPU 2-9, but jobs of this machine run on 0-1",
        "pinned on {0}",
        "--cpuset has CPU 1, but jobs of profile `pinned` run on 0 alone",
    ] {
        assert!(output.says(words), "{words} is not so: {output}");
    }
}

fn who_goes_over_a_limit_ends_alone_and_in_words(output: &Output) {
    for (what, class, words) in [
        ("memory", "out-of-memory", "out of memory: reached its memory limit of 64 MiB; peak 6"),
        ("processes", "process-limit", "reached its limit of 20 processes and threads (peak 20); "),
        ("disk", "disk-limit", "its disk limit is 16 MiB; "),
        ("log", "log-limit", "filled its log, whose limit is 1 MiB; "),
        ("time", "timeout", "reached its time limit of 3 s"),
    ] {
        let found = output.stdout.lines().find(|line| line.starts_with(&format!("{what} ")));
        let line = found.unwrap_or_else(|| panic!("no word of {what}: {output}"));
        assert!(line.starts_with(&format!("{what} {class} | ")) && line.contains(words), "{line}");
        for used in ["memory_peak_bytes", "processes_peak", "read_bytes", "written_bytes"] {
            assert!(!line.contains(&format!("\"{used}\": null")), "{used} is not known: {line}");
        }
    }
    assert!(output.says("neighbour 0") && output.says("steps"), "{output}");
}

fn the_lighter_job_gets_less(output: &Output) {
    let used: Vec<u64> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("user_usec ")?.parse().ok())
        .collect();
    let [heavy, light] = used[..] else { panic!("{output}") };
    assert!(light * 2 < heavy, "{light} of a lighter job, {heavy} of the other");
}
