//! The queue as a person handles it: arrays, holds, dead letters, and questions
//! before what cannot be undone.

use super::{Fake, run};
use fetchml_api::job::JobState;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn what_a_job_asks_of_the_queue_reaches_the_supervisor() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--name", "first", "--", "late"]).1, "1\n");
    let words = [
        "submit",
        "-q",
        "--priority",
        "-5",
        "--hold",
        "--after",
        "first,1",
        "--after-ok",
        "@last",
        "--retry",
        "lost=3",
        "--retry",
        "infrastructure=0",
        "--gpus",
        "2",
        "--gpu-type",
        "H100",
        "--disk",
        "1G",
        "--log-limit",
        "1M",
        "--cpuset",
        "0-3,8",
        "--cpu-weight",
        "50",
        "--io-weight",
        "200",
        "--",
        "late",
    ];
    assert_eq!(run(&fake, &words), (0, "2\n".into(), String::new()));
    let spec = fake.shared.spec.lock().expect("no panic while held").clone();
    for (key, part) in [
        ("priority", "-5"),
        ("hold", "true"),
        ("after", "\"any\""),
        ("after", "\"ok\""),
        ("retry", "infrastructure"),
        ("gpus", "2"),
        ("gpu-type", "H100"),
        ("disk-bytes", "1073741824"),
        ("log-bytes", "1048576"),
        ("cpuset", "0-3,8"),
        ("cpu-weight", "50"),
        ("io-weight", "200"),
    ] {
        assert!(spec.get(key).is_some_and(|value| value.contains(part)), "{key}: {spec:?}");
    }
    for (words, part) in [
        (["--priority", "2000"], "-1000 to 1000"),
        (["--retry", "cancelled=1"], "use one of infrastructure"),
        (["--gpu-type", "H100"], "--gpus"),
        (["--after", "nobody"], "no job has the name"),
        (["--io-weight", "0"], "from 1 to 10000"),
        (["--gpus", "x"], "write a whole number"),
        (["--name", "12"], "begin it with a letter"),
        (["--cpuset", "3-1"], "such as 0-3,8"),
    ] {
        let (status, stdout, stderr) =
            run(&fake, &[&["submit"], &words[..], &["--", "x"]].concat());
        assert!(status > 0 && stdout.is_empty(), "{words:?}");
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    }
}

#[test]
fn a_dry_run_shows_the_jobs_and_makes_none() {
    let fake = Fake::start();
    let words = [
        "submit",
        "--dry-run",
        "--sweep",
        "lr=0.1,0.01",
        "--sweep",
        "seed=1..2",
        "--",
        "python3",
        "train.py",
        "--lr={lr}",
    ];
    let (status, stdout, stderr) = run(&fake, &words);
    assert_eq!(
        (status, stdout.as_str()),
        (
            0,
            "NAME        lr    seed  COMMAND\n\
             python3[1]  0.1   1     python3 train.py --lr=0.1\n\
             python3[2]  0.1   2     python3 train.py --lr=0.1\n\
             python3[3]  0.01  1     python3 train.py --lr=0.01\n\
             python3[4]  0.01  2     python3 train.py --lr=0.01\n"
        )
    );
    let (made, not_asked) = stderr.split_once('\n').expect("two lines");
    assert_eq!(made, "would make 4 jobs; nothing was submitted");
    assert!(not_asked.starts_with("not asked of the supervisor: whether you may"), "{stderr}");
    let shown = json(&run(&fake, &["submit", "--json", "--dry-run", "--array", "7", "--", "x"]).1);
    assert_eq!(shown[0]["index"], 7);
    assert_eq!(run(&fake, &["list", "-o", "name"]).1, "");
    for (words, part) in [
        (["--profile", "nope"], "there is none"),
        (["--after", "nope9"], "no job has the name"),
        (["--after-ok", "99"], "there is no such job"),
        (["--gpus", "9"], "it could never start: it asks for 9 GPUs, and the machine has 0"),
        (["--memory", "1T"], "the machine has 1 GiB"),
    ] {
        let words = [&["submit", "--dry-run"], &words[..], &["--", "x"]].concat();
        let (status, stdout, stderr) = run(&fake, &words);
        assert_eq!((status, stdout.as_str()), (1, ""), "{words:?}: {stderr}");
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    }
    let nobody = fake.dir.path().join("nobody");
    let alone = fake.client_of(&nobody, &["submit", "--dry-run", "--", "x"]).output();
    let said = String::from_utf8(alone.expect("the client runs").stderr).expect("text");
    assert!(said.contains("not asked of the supervisor, which does not run"), "{said}");
    assert!(!nobody.exists(), "something was started");
    for (words, part) in [
        (["--array", "5-1"], "smaller index first"),
        (["--array", "1-99999999"], "the most is 1000000"),
        (["--sweep", "lr"], "NAME=VALUES"),
        (["--sweep", "1x=2"], "use letters"),
        (["--array", "1-200"], "the most is 100"),
    ] {
        let (status, _, stderr) = run(&fake, &[&["submit"], &words[..], &["--", "x"]].concat());
        assert!(status > 0 && stderr.contains(part), "{words:?}: {stderr}");
    }
}

#[test]
fn more_jobs_than_a_page_has_are_listed() {
    let fake = Fake::start();
    for _ in 0..11 {
        assert_eq!(run(&fake, &["submit", "-q", "--array", "1-100", "--", "x"]).0, 0);
    }
    for (limit, first) in [("1000000", 1), ("1050", 51), ("1000", 101), ("7", 1094)] {
        let listed = json(&run(&fake, &["list", "--json", "--limit", limit]).1);
        let ids: Vec<_> =
            listed.as_array().expect("a list").iter().map(|j| j["id"].as_u64()).collect();
        assert_eq!(ids, (first..=1100).map(Some).collect::<Vec<_>>(), "--limit {limit}");
    }
}

#[test]
fn an_array_is_one_line_one_name_and_one_end() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--", "late"]).1, "1\n");
    let words = ["submit", "--array", "1-5%2", "--", "train", "{index}"];
    let (status, stdout, stderr) = run(&fake, &words);
    assert_eq!((status, stdout.as_str()), (0, "2\n"));
    assert!(stderr.starts_with("array 2 has 5 jobs, 2 to 6"), "{stderr}");
    assert_eq!(run(&fake, &["wait", "1"]).0, 0);
    assert_eq!(run(&fake, &["submit", "-q", "--array", "3,9", "--", "train"]).1, "7\n");

    let table = run(&fake, &["list"]).1;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[2].starts_with("2[]  train[]") && lines[2].ends_with("5 jobs: 5 queued"));
    let short = run(&fake, &["list", "-n", "2"]).1;
    assert_eq!(short.lines().count(), 3, "two lines, whatever an array takes: {short}");
    assert!(short.contains("2[]") && short.contains("7[]"), "{short}");
    assert_eq!(run(&fake, &["list", "--expand"]).1.lines().count(), 9);

    let one = run(&fake, &["status", "2[3]"]).1;
    assert!(one.contains("array: 2[3], one of 5 jobs, at most 2 at once"), "{one}");
    assert!(one.contains("command: train 3"), "{one}");
    assert!(run(&fake, &["status", "7[9]", "train[3]"]).2.contains("jobs have the name"));
    assert!(run(&fake, &["status", "2[8]"]).2.contains("no job with the index 8"));
    assert!(run(&fake, &["status", "1[]"]).2.contains("it is no array"));

    let (status, _, stderr) = run(&fake, &["cancel", "2[]"]);
    assert_eq!(status, 2);
    assert!(stderr.contains("this would cancel array 2 of 5 jobs (5 queued)"), "{stderr}");
    assert!(stderr.contains("--yes"), "{stderr}");
    let (status, _, stderr) = run(&fake, &["cancel", "--dry-run", "2[]"]);
    assert_eq!((status, stderr.as_str()), (0, "would cancel array 2 of 5 jobs (5 queued)\n"));
    assert_eq!(fake.description(2).state, JobState::Queued);
    let (status, stdout, _) = run(&fake, &["cancel", "--yes", "--json", "2[]"]);
    assert_eq!((status, json(&stdout)["cancelled"].clone()), (0, 5.into()));
    assert!((2..=6).all(|id| fake.description(id).state == JobState::Cancelled));
    assert_eq!(fake.description(7).state, JobState::Queued);
}

#[test]
fn of_many_jobs_each_failure_is_told_and_the_others_are_done() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--array", "1-3", "--", "train"]).1, "1\n");
    let (status, stdout, stderr) = run(&fake, &["hold", "1[]", "99"]);
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(stderr.contains("error: cannot hold job 99: there is no such job"), "{stderr}");
    assert!(stderr.ends_with("jobs 1-3: held\n"), "{stderr}");
    assert!((1..=3).all(|id| fake.description(id).held));
    let list = run(&fake, &["list"]).1;
    assert!(list.contains("3 jobs: 3 queued; held: release it to let it start"), "{list}");
    let (status, stdout, _) = run(&fake, &["release", "--json", "2", "99"]);
    assert_eq!(status, 1);
    let told = json(&stdout);
    assert_eq!((&told[0]["job"], &told[0]["error"]), (&2.into(), &Value::Null));
    assert_eq!((&told[1]["job"], &told[1]["error"]), (&99.into(), &"NoSuchJob".into()));
    assert!(!fake.description(2).held);
    assert_eq!(run(&fake, &["priority", "1", "3", "-10"]).0, 0);
    assert_eq!(fake.description(3).spec.queueing.priority, -10);
    let (status, _, stderr) = run(&fake, &["reprioritize", "1", "5"]);
    assert!(status == 1 && stderr.contains("above 0"), "{stderr}");
    assert_eq!(run(&fake, &["priority", "1", "high"]).0, 2);
}

#[test]
fn the_dead_are_listed_shown_requeued_and_dropped() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["dead", "list"]), (0, String::new(), "no dead jobs\n".into()));
    assert_eq!(run(&fake, &["run", "-q", "--", "dies", "7"]).0, 7);
    assert_eq!(run(&fake, &["run", "-q", "--", "dies", "8"]).0, 8);
    let table = run(&fake, &["dead", "list"]).1;
    assert!(table.starts_with("JOB  NAME") && table.contains("exit code 7"), "{table}");
    assert_eq!(run(&fake, &["dead", "list", "-o", "name"]).1, "1\n2\n");
    assert_eq!(json(&run(&fake, &["dead", "ls", "--json"]).1)[1]["id"], 2);
    let (_, shown, next) = run(&fake, &["dead", "show", "1"]);
    assert!(shown.contains("\nATTEMPT  STATE") && next.contains("dead requeue 1"), "{shown}");
    assert!(!next.contains("not in the dead-letter list"), "{next}");
    let (status, _, stderr) = run(&fake, &["dead", "drop", "1"]);
    assert!(status == 2 && stderr.contains("drop job 1 from the dead-letter list"), "{stderr}");
    assert_eq!(run(&fake, &["dead", "list", "-o", "name"]).1, "1\n2\n");
    assert_eq!(run(&fake, &["dead", "drop", "-y", "1"]).0, 0);
    assert_eq!(run(&fake, &["dead", "requeue", "2"]).2, "job 2: back in the queue\n");
    assert_eq!(run(&fake, &["dead", "list", "-o", "name"]).1, "");
    let (status, shown, stderr) = run(&fake, &["dead", "show", "1"]);
    assert!(status == 0 && shown.contains("exit code 7"), "{shown}");
    assert!(stderr.starts_with("job 1 is not in the dead-letter list\n"), "{stderr}");
    let attempts = run(&fake, &["attempts", "2"]).1;
    assert_eq!(attempts.lines().count(), 3, "{attempts}");
    assert_eq!(json(&run(&fake, &["attempts", "--json", "2"]).1)[1]["number"], 2);
}

#[test]
fn the_queue_is_shown_drained_and_ended() {
    let fake = Fake::start();
    run(&fake, &["submit", "-q", "--array", "1-3", "--", "train"]);
    let shown = run(&fake, &["queue"]).1;
    assert!(shown.contains("CPUs      0.5    4"), "{shown}");
    assert!(shown.contains("USER  RUNNING  WAITING"), "{shown}");
    assert_eq!(json(&run(&fake, &["queue", "--json"]).1)["queued"], 3);

    assert_eq!(run(&fake, &["submit", "-q", "--", "late"]).1, "4\n");
    let (status, _, stderr) = run(&fake, &["drain"]);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(fake.description(4).state, JobState::Succeeded, "it waited");
    assert!(stderr.contains("nothing runs"), "{stderr}");
    assert!(run(&fake, &["queue"]).2.contains("drain --end"));
    for submit in [&["submit", "--", "later"][..], &["submit", "--array", "1-2", "--", "later"]] {
        let (_, stdout, stderr) = run(&fake, submit);
        assert!(stdout.trim().parse::<u64>().is_ok(), "{stdout}");
        assert!(
            stderr.contains("the queue is drained") && stderr.contains("drain --end"),
            "{stderr}"
        );
    }
    assert_eq!(run(&fake, &["submit", "-q", "--", "later"]).2, "");
    assert_eq!(run(&fake, &["drain", "--end"]).0, 0);
    assert_eq!(run(&fake, &["queue"]).2, "");
    assert!(!run(&fake, &["submit", "--", "later"]).2.contains("drained"));

    let (status, _, stderr) = run(&fake, &["shutdown", "--jobs"]);
    assert!(status == 2 && stderr.contains("this would end 0 running jobs"), "{stderr}");
    assert_eq!(run(&fake, &["shutdown", "--jobs", "--dry-run"]).0, 0);
    assert_eq!(*fake.shared.shut_down.lock().expect("no panic while held"), None);
    assert_eq!(run(&fake, &["shutdown", "--jobs", "--yes"]).0, 0);
    assert_eq!(*fake.shared.shut_down.lock().expect("no panic while held"), Some(true));
}

#[test]
fn several_jobs_are_cancelled_only_by_one_who_is_sure() {
    let fake = Fake::start();
    for _ in 0..3 {
        run(&fake, &["submit", "-q", "--", "forever"]);
    }
    let (status, _, stderr) = run(&fake, &["cancel", "1-3"]);
    assert!(status == 2 && stderr.contains("this would cancel jobs 1-3"), "{stderr}");
    assert!(!fake.was_cancelled(1));
    let (status, _, stderr) = run(&fake, &["cancel", "--dry-run", "1-2"]);
    assert_eq!(status, 0);
    assert!(stderr.contains("would cancel job 2, which is running"), "{stderr}");
    assert_eq!(run(&fake, &["cancel", "1"]).0, 0, "one job needs no question");
    assert_eq!(run(&fake, &["cancel", "--yes", "2-3"]).0, 0);
    assert!((1..=3).all(|id| fake.was_cancelled(id)));
}

#[test]
fn a_copy_of_the_store_is_its_owners_alone_and_named() {
    use std::os::unix::fs::MetadataExt as _;
    let fake = Fake::start();
    let (status, _, stderr) = run(&fake, &["backup", "copy"]);
    let private = format!("--private={}", fake.dir.path().display());
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains(&format!("to copy; `fetchmld {private} --restore copy`")), "{stderr}");
    let copy = fake.dir.path().join("project/copy");
    assert_eq!(std::fs::metadata(&copy).expect("the copy").mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(&copy).expect("the copy"), b"every job");
    let told = json(&run(&fake, &["backup", ".", "--json"]).1);
    assert_eq!(told["file"], "./fetchml.db.backup");
    assert!(fake.dir.path().join("project/fetchml.db.backup").is_file());
}

#[test]
fn hints_name_the_supervisor_that_was_asked() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--array", "1-3", "--", "x"]).1, "1\n");
    let ctl = format!("`fetchmlctl --private={}", fake.dir.path().display());
    for (words, hint) in [
        (&["status", "foo"][..], "list`"),
        (&["status", "99"], "list`"),
        (&["status", "50-60"], "list`"),
        (&["status", "1[99]"], "status '1[]'`"),
        (&["cancel", "-y", "98", "99"], "list`"),
        (&["audit", "show", "--job", "nope"], "list`"),
    ] {
        let (status, _, stderr) = run(&fake, words);
        assert_eq!(status, 1, "{words:?}: {stderr}");
        assert!(stderr.contains(&format!("{ctl} {hint}")), "{words:?}: {stderr}");
    }
}

#[test]
fn a_word_that_is_no_number_is_answered_with_what_is_expected() {
    let fake = Fake::start();
    for words in [
        &["list", "-n", "abc"][..],
        &["logs", "--tail", "abc"],
        &["audit", "show", "--tail", "abc"],
        &["submit", "--gpus", "x", "--", "y"],
        &["submit", "--pids", "x", "--", "y"],
    ] {
        let (status, _, stderr) = run(&fake, words);
        assert_eq!(status, 2, "{words:?}: {stderr}");
        assert!(stderr.contains("write a whole number"), "{words:?}: {stderr}");
    }
}

#[test]
fn records_are_chosen_by_every_form_of_a_job() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["submit", "-q", "--name", "first", "--", "late"]).1, "1\n");
    assert_eq!(run(&fake, &["submit", "-q", "--array", "1-3", "--", "x"]).1, "2\n");
    let jobs = |word: &str| -> Vec<u64> {
        let (status, lines, stderr) = run(&fake, &["audit", "show", "--json", "--job", word]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{word}");
        lines.lines().map(|line| json(line)["job"].as_u64().expect("a job")).collect()
    };
    assert_eq!(jobs("9"), [9], "of a job that is forgotten");
    assert_eq!(jobs("first"), [1]);
    assert_eq!(jobs("@last"), [4]);
    assert_eq!(jobs("2[]"), [2, 3, 4]);
    assert_eq!(jobs("2[2]"), [3]);
    assert_eq!(jobs("3-9"), [3, 4, 5, 6, 7, 8, 9]);
    let all = run(&fake, &["audit", "show"]).1;
    assert_eq!(all.lines().count(), 11, "{all}");
    let (status, lines, stderr) = run(&fake, &["audit", "show", "--job", "99"]);
    assert_eq!((status, lines.as_str()), (0, ""));
    assert!(stderr.contains("no record is of what was asked for"), "{stderr}");
}
