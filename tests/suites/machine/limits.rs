//! Limits of jobs as the kernel keeps them: cgroup v2 with all its controllers.

use fetchml_tests::{Debian, Output, available, machine, package};

const PREPARE: &str = "
set -e
dpkg -i ./fetchml_*.deb
usermod -aG fetchml alice
systemctl is-active fetchmld fetchml-jobs
runuser -u alice -- mkdir -p /home/alice/project
";

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
job=$(runuser -u alice -- fetchmlctl submit --quiet --memory 256M --cpus 0.5 --pids 64 -- sh -c 'echo up; exec sleep 4711')
while ! runuser -u alice -- fetchmlctl logs "$job" | grep -q up; do sleep 0.2; done
pid=$(pgrep -f 'sleep 4711' | head -n 1)
path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
echo "path $path"
for file in memory.max memory.swap.max cpu.max pids.max; do
    echo "$file $(cat "/sys/fs/cgroup$path/$file" 2>/dev/null || cat "/sys/fs/cgroup${path%/*}/$file")"
done
ps -o pid= -p "$(cat "/sys/fs/cgroup/fetchml.slice/fetchmld.service/cgroup.procs" | tr '\n' ',' | sed 's/,$//')" | wc -l
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
    let scripts = [
        ("prepare", PREPARE),
        ("memory", MEMORY),
        ("processes", PROCESSES),
        ("cgroup", OWN_CGROUP),
        ("cpus", CPUS),
        ("afterwards", AFTERWARDS),
    ];
    let Some(outputs) = available(machine::run_scripts(Debian::Trixie, &[package], &scripts))
    else {
        return;
    };
    let [prepare, memory, processes, cgroup, cpus, afterwards] = &outputs[..] else {
        panic!("{outputs:#?}");
    };
    prepare.ok();
    memory_limit_ends_the_job_in_words(memory);
    process_limit_holds(processes);
    each_job_has_its_own_cgroup(cgroup);
    half_a_processor_is_half_a_processor(cpus);
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
    for fact in ["memory.max 268435456", "memory.swap.max 0", "cpu.max 50000 100000", "pids.max 65"]
    {
        assert!(output.says(fact), "{fact} is not so: {output}");
    }
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
