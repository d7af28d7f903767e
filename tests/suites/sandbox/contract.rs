//! What `run` returns.

use crate::private;

#[test]
fn each_status_of_the_contract_is_reached() {
    let private = private!();
    private.put("data.txt", "not a program");
    for (arguments, status, says) in [
        (&["--", "true"][..], 0, ""),
        (&["--", "sh", "-c", "exit 3"], 3, "exited with code 3"),
        (&["--", "sh", "-c", "kill -9 $$"], 137, "signal 9 (SIGKILL)"),
        (&["--", "sh", "-c", "kill -15 $$"], 143, "signal 15 (SIGTERM)"),
        (&["--time-limit", "1s", "--", "sleep", "60"], 124, "time limit of 1 s"),
        (&["--profile", "nosuch", "--", "true"], 125, "unknown profile"),
        (&["--", "/work/data.txt"], 126, "cannot be executed"),
        (&["--", "/work"], 126, "cannot be executed"),
        (&["--", "nosuchcommand"], 127, "was not found"),
        (&["--", "/nosuch/command"], 127, "was not found"),
    ] {
        let output = private.ctl(std::iter::once(&"run").chain(arguments));
        output.expect(status);
        assert!(output.says(says), "{output}");
    }
}

#[test]
fn a_job_that_ignores_term_at_its_time_limit_is_killed_with_all_it_started() {
    let private = private!();
    let output = private.ctl([
        "run",
        "--time-limit",
        "1s",
        "--",
        "sh",
        "-c",
        "trap '' TERM; sleep 1000 & sleep 1000 & wait; wait; sleep 1000",
    ]);
    output.expect(124);
}

#[test]
fn the_project_is_read_and_written_and_never_changed() {
    let private = private!();
    private.put("input.txt", "as it was\n");
    let output = private.shell(
        "cat input.txt && echo changed > input.txt && mkdir -p new/deep && echo x > new/deep/f \
         && rm -f input.txt && ls && echo result > \"$FETCHML_OUTPUT_DIR/result.txt\"",
    );
    assert_eq!(output.ok(), "as it was\nnew");
    assert_eq!(
        std::fs::read_to_string(private.project().join("input.txt")).unwrap(),
        "as it was\n"
    );
    assert!(!private.project().join("new").exists());
    let outputs = private.ctl(["outputs", "@last"]);
    assert!(outputs.ok().contains("result.txt"), "{outputs}");
    let got = private.ctl(["outputs", "@last", "--get", "result.txt", "-o", "-"]);
    assert_eq!(got.ok(), "result");
    let work = private.ctl(["outputs", "@last", "--work"]);
    assert!(work.ok().contains("new/deep/f"), "{work}");
}

#[test]
fn mounts_appear_where_they_were_asked_for_and_as_they_were_asked_for() {
    let private = private!();
    let data = private.dir().with_file_name("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("sample"), "42").unwrap();
    std::fs::create_dir(private.project().join("inner")).unwrap();
    let host = data.display();
    let output = private.ctl([
        "run",
        "--mount",
        &format!("{host}:/data"),
        "--mount",
        &format!("{host}:/scratch/deep:rw"),
        "--mount",
        &format!("{host}:/work/inner"),
        "--",
        "sh",
        "-c",
        "cat /data/sample inner/sample; touch /data/x 2>&1; touch inner/x 2>&1; \
         echo new > /scratch/deep/made; stat -c %u /scratch/deep/made",
    ]);
    let text = output.ok();
    assert!(text.starts_with("4242"), "{output}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{output}");
    // On the host the file belongs to who submitted the job, not to a mapped id.
    let made = std::fs::metadata(data.join("made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
    assert!(text.ends_with("1000"), "{output}");
}

#[test]
fn a_mount_below_work_needs_its_mount_point() {
    let private = private!();
    let host = private.project();
    let output =
        private.ctl(["run", "--mount", &format!("{}:/work/nowhere", host.display()), "--", "true"]);
    output.expect(125);
    assert!(output.says("mount point must exist"), "{output}");
    // Nothing changes that: it is not tried again.
    let status = private.ctl(["status", "1", "--json"]);
    assert!(status.ok().contains("\"failure\":\"user-error\""), "{status}");
}

#[test]
fn who_cancels_a_job_and_what_waits_for_it_has_cancelled_both() {
    let private = private!();
    private.ctl(["submit", "--", "sleep", "600"]).ok();
    private.ctl(["submit", "--after-ok", "1", "--", "true"]).ok();
    private.ctl(["cancel", "--yes", "1", "2"]).ok();
    private.ctl(["wait", "1", "2"]);
    let listed = private.ctl(["list", "--json"]);
    assert_eq!(listed.ok().matches("\"state\":\"cancelled\"").count(), 2, "{listed}");
}

#[test]
fn a_link_in_the_project_does_not_redirect_a_mount() {
    let private = private!();
    std::os::unix::fs::symlink("/etc", private.project().join("trap")).unwrap();
    let output = private.ctl([
        "run",
        "--mount",
        &format!("{}:/work/trap", private.project().display()),
        "--",
        "true",
    ]);
    output.expect(125);
}

#[test]
fn an_interrupt_ends_the_job_and_waits_for_its_report() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead, BufReader};
    let private = private!();
    let mut child = private
        .command([
            "run",
            "--",
            "sh",
            "-c",
            "trap 'echo bye; exit 7' TERM; echo ready; sleep 100 & wait",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "bye");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let status = private.ctl(["status", "@last"]);
    assert!(status.says("cancelled"), "{status}");
}

#[test]
fn submit_wait_logs_and_cancel_work_apart_from_run() {
    let private = private!();
    let id = private.ctl(["submit", "--", "sh", "-c", "echo out; echo err >&2; exit 4"]);
    let id = id.ok();
    assert_eq!(id.parse::<u64>().map(|n| n.to_string()).as_deref(), Ok(id));
    private.ctl(["wait", id]).expect(4);
    let logs = private.ctl(["logs", id]);
    assert_eq!((logs.ok(), logs.stderr.trim()), ("out", "err"));
    let long = private.ctl(["submit", "--name", "long", "--", "sleep", "1000"]);
    // Cancelled before its command began it would have another status.
    while !private.ctl(["status", "long", "--json"]).says("\"state\":\"running\"") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    private.ctl(["cancel", "long"]).expect(0);
    let ended = private.ctl(["wait", long.ok()]);
    assert_eq!(ended.status, 143, "{ended}");
    let listed = private.ctl(["list", "--json"]);
    let jobs: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    let states: Vec<_> = jobs.as_array().unwrap().iter().map(|j| j["state"].clone()).collect();
    assert_eq!(states, ["failed", "cancelled"]);
}

#[test]
fn a_name_means_the_newest_while_it_alone_is_not_over_and_an_array_has_one_too() {
    let private = private!();
    let submit = |name: &'static str, more: &[&'static str]| {
        private.ctl([&["submit", "--name", name][..], more].concat())
    };
    submit("night", &["--", "true"]).ok();
    private.ctl(["wait", "night"]).expect(0);
    submit("night", &["--hold", "--", "true"]).ok();
    let held = private.ctl(["cancel", "--dry-run", "night"]);
    assert!(held.says("would cancel job 2"), "{held}");
    submit("night", &["--", "true"]).ok();
    private.ctl(["wait", "3"]).expect(0);
    // The one that is held is not meant any more.
    let several = private.ctl(["cancel", "--dry-run", "night"]);
    assert!(several.says("3 jobs have the name") && several.says("the newest is 3"), "{several}");

    let submitted = submit("many", &["--array", "4-6", "--hold", "--", "test", "{idx}", "=", "5"]);
    assert!(submitted.says("{idx} is none of {index}"), "{submitted}");
    assert!(private.ctl(["list"]).says("many[]"));
    // People who know Slurm mean all of them by the number.
    let one = private.ctl(["cancel", submitted.ok()]);
    assert!(one.says(&format!("cancel '{}[]'`", submitted.ok())), "{one}");
    let all = private.ctl(["cancel", "--yes", "many[]"]);
    assert!(all.says("cancelling 2 jobs of array 4"), "{all}");
    private.ctl(["wait", "many[]"]).expect(130);
    assert!(private.ctl(["wait", "many"]).says("'many[]' means all of its jobs"));
    assert!(private.ctl(["wait", "some[]"]).says("no array has the name \"some\""));
    assert!(submit("some[]", &["--", "true"]).status != 0, "no job has such a name");
    submit("many", &["--array", "1-2", "--", "true"]).ok();
    let several = private.ctl(["wait", "many[]"]);
    assert!(several.says("may mean several things") && several.says("newest is 7"), "{several}");
}
