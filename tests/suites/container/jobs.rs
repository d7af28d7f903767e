//! Jobs of ordinary users, and what becomes of them when units stop.

use crate::support::{audit_records, describe, in_project, submit, supervisor, wait_for_output};
use fetchml_tests::Container;

/// Waits until its project has a file `go`, then ends with 7.
const PATIENT: &str =
    "echo before; while [ ! -e /data/go ]; do sleep 0.1; done; echo after; exit 7";
/// The directory of that file is shared with the job in place.
const WITH_DATA: &str = "--mount ~/data:/data:ro";

pub(crate) fn submit_patient(c: &Container) -> u64 {
    c.sh("alice", "mkdir -p ~/data").ok();
    let job = submit(c, "alice", WITH_DATA, PATIENT);
    wait_for_output(c, "alice", job, "before");
    job
}

/// Lets the job end and checks that nothing of its end is missing.
pub(crate) fn let_it_end(c: &Container, job: u64) {
    c.sh("alice", "touch ~/data/go").ok();
    c.sh("alice", &format!("timeout 60 fetchmlctl wait {job}")).expect(7);
    assert_eq!(c.sh("alice", &format!("fetchmlctl logs {job}")).ok(), "before\nafter");
    let description = describe(c, job);
    assert_eq!(description["report"]["exit_code"], 7, "{description}");
    c.sh("root", "fetchmlctl audit verify").ok();
    let records = audit_records(c);
    for event in ["job_queued", "job_started", "job_completed"] {
        let count = records.iter().filter(|r| r["event"] == event && r["job"] == job).count();
        assert_eq!(count, 1, "{event} in {records:#?}");
    }
}

pub(crate) fn a_member_of_the_group_runs_a_job(c: &Container) {
    let seen = in_project(
        c,
        "alice",
        "echo data > input && fetchmlctl run -- sh -c 'id -u; cat input; echo late >&2; echo x > written'",
    );
    assert_eq!(seen.ok(), "1000\ndata");
    assert!(seen.stderr.contains("late"), "{seen}");
    assert_eq!(c.sh("alice", "ls ~/project").ok(), "input", "the project was changed");
    for (command, status) in [("exit 3", 3), ("kill -KILL $$", 137)] {
        in_project(c, "alice", &format!("fetchmlctl run -- sh -c '{command}'")).expect(status);
    }
    in_project(c, "alice", "fetchmlctl run --time-limit 1s -- sleep 60").expect(124);
    in_project(c, "alice", "fetchmlctl run -- ./input").expect(126);
    in_project(c, "alice", "fetchmlctl run -- no-such-program").expect(127);
    in_project(c, "alice", "fetchmlctl run --profile no-such-profile -- true").expect(125);
    c.sh("root", "fetchmlctl audit verify").ok();
}

/// What the unit itself refused would be neither counted nor given back by a profile.
pub(crate) fn refusals_are_the_profiles_and_not_the_units(c: &Container) {
    const CALLS: [(&str, u32); 7] = [
        ("ptrace", 101),
        ("mount", 165),
        ("umount2", 166),
        ("reboot", 169),
        ("kexec_load", 246),
        ("perf_event_open", 298),
        ("open_by_handle_at", 304),
    ];
    let tries = CALLS.map(|(_, number)| format!("call({number})")).join("; ");
    let script = format!("import ctypes; call = ctypes.CDLL(None).syscall; {tries}");
    in_project(
        c,
        "alice",
        &format!("fetchmlctl run --name refused -- /usr/bin/python3 -c '{script}'"),
    )
    .ok();
    let described = describe(c, 1);
    let denied = described["report"]["denied"].as_array().expect("a list").clone();
    for (name, _) in CALLS {
        assert!(denied.iter().any(|d| d["call"] == name && d["count"] == 1), "{name}: {described}");
    }
    let debugged = in_project(
        c,
        "alice",
        &format!(
            "fetchmlctl run --profile debug -- /usr/bin/python3 -c \
         'import ctypes; print(ctypes.CDLL(None).syscall({}, 0, 0, 0, 0))'",
            CALLS[0].1
        ),
    );
    assert_eq!(debugged.ok(), "0", "PTRACE_TRACEME under the profile debug: {debugged}");
}

pub(crate) fn killing_the_supervisor_loses_nothing(c: &Container) {
    let job = submit_patient(c);
    let old = supervisor(c);
    c.run("root", &["kill", "-KILL", &old]).ok();
    let _ = c.eventually("root", &format!(
        "test \"$(systemctl show --property=MainPID --value fetchmld)\" != {old} && systemctl is-active fetchmld"
    ));
    let_it_end(c, job);
}

pub(crate) fn restarting_the_supervisor_keeps_jobs(c: &Container) {
    let job = submit_patient(c);
    // Ends while nobody supervises it.
    c.run("root", &["systemctl", "stop", "fetchmld.service", "fetchmld.socket"]).ok();
    c.sh("alice", "touch ~/data/go").ok();
    let _ = c.eventually("root", "! pgrep -f 'data/[g]o'");
    c.run("root", &["systemctl", "start", "fetchmld.socket", "fetchmld.service"]).ok();
    let_it_end(c, job);

    c.sh("alice", "rm ~/data/go").ok();
    let job = submit_patient(c);
    c.run("root", &["systemctl", "restart", "fetchmld"]).ok();
    assert_eq!(describe(c, job)["state"], "running");
    let_it_end(c, job);
}

pub(crate) fn stopping_the_jobs_unit_ends_them(c: &Container) {
    let job = submit(c, "alice", "", "echo before; sleep 600");
    wait_for_output(c, "alice", job, "before");
    c.run("root", &["systemctl", "stop", "fetchml-jobs"]).ok();
    let waited = c.sh("alice", &format!("timeout 60 fetchmlctl wait {job}"));
    assert!(![0, 124].contains(&waited.status), "{waited}");
    // The next job needs the unit, so it comes back or is refused in words.
    c.run("root", &["systemctl", "start", "fetchml-jobs"]).ok();
    c.run("root", &["systemctl", "restart", "fetchmld"]).ok();
    assert_eq!(in_project(c, "alice", "fetchmlctl run -- echo again").ok(), "again");
}
