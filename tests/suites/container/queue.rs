//! The queue of a machine: what outlives a restart, who goes first, and how it ends.

use crate::jobs::{let_it_end, submit_patient};
use crate::support::{describe, in_project, submit, wait_for_output};
use fetchml_tests::Container;

pub(crate) fn directories_of_waiting_jobs_outlive_supervisor_and_machine(c: &Container) {
    c.sh(
        "alice",
        "mkdir -p ~/data ~/project && echo data > ~/data/text && echo code > ~/project/code",
    )
    .ok();
    let options = "--hold --mount ~/data:/data:ro";
    let jobs = [(); 3].map(|()| submit(c, "alice", options, "cat /work/code /data/text"));
    let ends_well = |job: u64| {
        c.sh("alice", &format!("fetchmlctl release {job} && timeout 60 fetchmlctl wait {job}"))
            .ok();
        assert_eq!(c.sh("alice", &format!("fetchmlctl logs {job}")).ok(), "code\ndata");
    };
    // systemd keeps the descriptors of a unit that it restarts.
    c.run("root", &["systemctl", "restart", "fetchmld.service"]).ok();
    ends_well(jobs[0]);
    // Nobody keeps them over a stop: what is left is the kernel's handle, which leads
    // to the directory that alice opened and not to what has its name now.
    c.run("root", &["systemctl", "stop", "fetchmld.service"]).ok();
    c.sh("alice", "mv ~/data ~/moved && mkdir ~/data && echo other > ~/data/text").ok();
    c.run("root", &["systemctl", "start", "fetchmld.service"]).ok();
    ends_well(jobs[1]);
    let boot = || c.sh("root", "cat /proc/sys/kernel/random/boot_id").ok().to_owned();
    let before = boot();
    c.reboot();
    assert_ne!(boot(), before, "it was not booted again");
    ends_well(jobs[2]);
    // One that is gone is said to be.
    let lost = submit(c, "alice", "--hold --mount ~/moved:/data:ro", "cat /data/text");
    c.run("root", &["systemctl", "stop", "fetchmld.service"]).ok();
    c.sh("alice", "rm -r ~/moved").ok();
    c.run("root", &["systemctl", "start", "fetchmld.service"]).ok();
    c.sh("alice", &format!("fetchmlctl release {lost}; ! timeout 60 fetchmlctl wait {lost}")).ok();
    let description = describe(c, lost);
    let reason = description["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("was removed after the job was submitted"), "{description}");
}

pub(crate) fn a_priority_above_the_usual_needs_an_authorization(c: &Container) {
    let submits = |user: &str, priority: i32| {
        let words = format!("submit --quiet --hold --priority={priority} -- true");
        in_project(c, user, &format!("fetchmlctl --no-ask-password {words}"))
    };
    let raises = |user: &str, job: &str| {
        c.sh(user, &format!("fetchmlctl --no-ask-password priority {job} 7"))
    };
    let own = submits("alice", -5).ok().to_owned();
    for refused in [submits("alice", 1), raises("alice", &own)] {
        assert_ne!(refused.status, 0, "{refused}");
        assert!(refused.says("authenti"), "does not say what is needed: {refused}");
    }
    assert_eq!(describe(c, own.parse().expect("a number"))["spec"]["queueing"]["priority"], -5);
    submits("root", 1).ok();
    raises("root", &own).ok();
    // An administrator gives the right to whom they like.
    c.write(
        "/etc/polkit-1/rules.d/10-site.rules",
        br#"polkit.addRule(function (action, subject) {
            if (action.id === "org.fetchml.raise-priority" && subject.user === "bob") {
                return polkit.Result.YES;
            }
        });"#,
    );
    let bobs = c.eventually("bob", "mkdir -p p && cd p && fetchmlctl --no-ask-password submit --quiet --hold --priority=3 -- true");
    raises("bob", bobs.ok()).ok();
    // It is a right to one's own jobs.
    let foreign = raises("bob", &own);
    assert!(foreign.status != 0 && foreign.says("there is no job"), "{foreign}");
    assert_ne!(submits("alice", 1).status, 0);
}

pub(crate) fn a_drain_waits_and_a_shutdown_ends_what_runs(c: &Container) {
    let job = submit_patient(c);
    for words in ["drain --no-wait", "shutdown --jobs --yes"] {
        let refused = c.sh("alice", &format!("fetchmlctl --no-ask-password {words}"));
        assert_ne!(refused.status, 0, "{refused}");
    }
    let mut drain = c.start("root", &["fetchmlctl", "drain"]);
    let _ = c.eventually("root", "fetchmlctl queue --json | grep -q '\"draining\": *true'");
    let waits = submit(c, "alice", "", "echo late");
    assert!(drain.try_wait().is_ok_and(|ended| ended.is_none()), "it does not wait");
    let_it_end(c, job);
    let drained = drain.wait().expect("it can be waited for");
    assert!(drained.success(), "{drained}");
    assert_eq!(describe(c, waits)["state"], "queued");
    c.run("root", &["fetchmlctl", "drain", "--end"]).ok();
    c.sh("alice", &format!("timeout 60 fetchmlctl wait {waits}")).ok();

    let runs = submit(c, "alice", "", "echo up; sleep 4711");
    wait_for_output(c, "alice", runs, "up");
    let waits = submit(c, "alice", "--hold", "echo late");
    c.run("root", &["fetchmlctl", "shutdown", "--jobs", "--yes"]).ok();
    assert_eq!(c.sh("root", "pgrep -f 'sleep 471[1]' || true").ok(), "");
    let _ = c.eventually("root", "! systemctl is-active --quiet fetchmld.service");
    // Whoever asks wakes it; what waited waits.
    assert_eq!(describe(c, runs)["state"], "cancelled");
    assert_eq!(describe(c, waits)["state"], "queued");
    c.sh("alice", &format!("fetchmlctl release {waits} && timeout 60 fetchmlctl wait {waits}"))
        .ok();
    assert_eq!(c.sh("alice", &format!("fetchmlctl logs {waits}")).ok(), "late");
    c.sh("root", "fetchmlctl audit verify").ok();
}
