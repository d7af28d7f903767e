//! Attacks that once worked, each against a running supervisor.

use crate::private;
use fetchml_tests::Output;
use std::process::Command;

#[test]
fn mounts_of_jobs_never_reach_the_host_and_the_hosts_stay() {
    let private = private!();
    let run = format!("{:?}", private.command(["run", "--mount"]));
    // As systemd leaves a machine: everything shared, and a mount below a path
    // that profiles show.
    let script = format!(
        "set -e; mount --make-rshared /; mount -t tmpfs host /opt; mkdir -p /opt/cuda /opt/vendor
         mount -t tmpfs cuda /opt/cuda; sort /proc/self/mountinfo > before
         for at in /data /other /third; do {run} \"$PWD:$at\" -- true; done
         {run} \"$PWD:/opt/vendor\" -- true && echo mounted over the host
         # A peer would still hear of what the host mounts and unmounts.
         {run} \"$PWD:/data\" -- grep -qE 'shared:|master:' /proc/self/mountinfo && echo a peer is left
         sort /proc/self/mountinfo > after; diff before after && echo the same"
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .current_dir(private.project())
        .output()
        .unwrap();
    let output = Output::of("unshare".into(), &output);
    assert_eq!(output.stdout.trim(), "the same", "{output}");
    assert!(output.says("would cover `/opt`"), "{output}");
}

#[test]
fn a_job_is_found_again_however_often_the_supervisor_dies() {
    let private = private!();
    let id = private.ctl(["submit", "--", "sh", "-c", "sleep 4; exit 5"]);
    for _ in 0..5 {
        while !private.ctl(["list"]).says("running") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        private.crash();
    }
    private.ctl(["wait", id.ok()]).expect(5);
}

#[test]
fn a_job_cannot_pretend_that_it_was_cancelled() {
    let private = private!();
    let output = private.python(
        "import ctypes, os, signal, time\n\
         libc = ctypes.CDLL(None)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n\
         n = 0\n\
         while n < 200000 and libc.sigqueue(os.getpid(), 40, None) == 0: n += 1\n\
         libc.syscall(234, 1, 1, signal.SIGTERM)\n\
         os.kill(1, signal.SIGTERM)\n\
         time.sleep(0.3); print('still here')",
    );
    assert_eq!(output.ok(), "still here");
    let status = private.ctl(["status", "@last"]);
    assert!(status.says("succeeded") && !status.says("cancelled"), "{status}");
}

#[test]
fn a_job_cannot_cripple_its_agent() {
    let private = private!();
    let output = private.python(
        "import os, resource\n\
         def tried(f):\n  try: f(); return 'done'\n  except PermissionError: return 'refused'\n\
         print(tried(lambda: resource.prlimit(1, resource.RLIMIT_FSIZE, (0, 0))),\n\
         \x20 tried(lambda: os.sched_setaffinity(1, {0})),\n\
         \x20 tried(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19)),\n\
         \x20 tried(lambda: os.setpriority(os.PRIO_USER, 0, 19)),\n\
         \x20 tried(lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))))\n\
         resource.prlimit(0, resource.RLIMIT_CORE); os.sched_setaffinity(0, os.sched_getaffinity(0))",
    );
    assert_eq!(output.ok(), "refused refused refused refused refused");
}

#[test]
fn refused_and_finished_jobs_leave_no_cgroup() {
    let private = private!();
    // /proc cannot map ids, which shows only when the plan is made.
    private.ctl(["run", "--mount", "/proc/self:/x", "--", "true"]).expect(125);
    private.shell("true").ok();
    let doctor = private.ctl(["doctor", "--json"]);
    let findings: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
    let cgroup = findings.as_array().unwrap().iter().find(|f| f["name"] == "cgroups").unwrap();
    let group = cgroup["detail"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let Ok(entries) = std::fs::read_dir(&group) else { return };
    let left: Vec<_> =
        entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("job-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_stranger_floods_the_audit_log_with_few_records() {
    let private = private!();
    private.shell("true").ok();
    let before = private.audit_lines().len();
    let script = format!(
        "import dbus, dbus.connection\n\
         bus = dbus.connection.Connection('unix:path={}')\n\
         manager = dbus.Interface(bus.get_object(None, '/org/fetchml/FetchML1'), 'org.fetchml.FetchML1.Manager')\n\
         for _ in range(300):\n  try: manager.SubmitJob({{'command': dbus.Array(['true'], signature='s'), 'profile': 'p'}}, \
         dbus.Array([], signature='(sssh)'))\n  except dbus.DBusException: pass",
        private.socket().display()
    );
    let done = Command::new("/usr/bin/python3").args(["-c", &script]).status().unwrap();
    assert!(done.success());
    let grown = private.audit_lines().len() - before;
    assert!((1..60).contains(&grown), "{grown}");
}
