//! Two users and an analyst: what each learns of the jobs of others.

use crate::support::{in_project, submit, wait_for_output};
use fetchml_tests::{Container, Output};

/// In everything of alice's that nobody else may see.
const SECRET: &str = "hush";
/// No job has it.
const ABSENT: u64 = 987_654;

/// Jobs of alice: one that runs and one that failed for good. Their numbers are in no
/// other words of an answer.
fn jobs_of_alice(c: &Container) -> [u64; 2] {
    c.sh("alice", "mkdir -p ~/hush-data").ok();
    in_project(c, "alice", "fetchmlctl submit --quiet --hold --array 1-20 -- true").ok();
    let options = "--name hush-name --experiment hush-experiment --env NAME=hush-variable \
                   --mount ~/hush-data:/data:ro";
    let command = "echo hush-log; echo step=1 hush=2 >> $FETCHML_METRICS_FILE; \
                   echo x > /outputs/hush-file; echo x > hush-work; ";
    let failed = submit(c, "alice", options, &format!("{command} exit 3"));
    c.sh("alice", &format!("timeout 60 fetchmlctl wait {failed}")).expect(3);
    let runs = submit(c, "alice", options, &format!("{command} exec sleep 4711"));
    wait_for_output(c, "alice", runs, "hush-log");
    [runs, failed]
}

fn alike(what: &str, job: u64, foreign: &Output, absent: &Output) {
    assert_ne!(foreign.status, 0, "{what}: {foreign}");
    assert!(!foreign.says(SECRET), "{what}: {foreign}");
    let said = |output: &Output, number: u64| {
        let text = format!("{}{}", output.stdout, output.stderr);
        text.replace(&number.to_string(), "N")
    };
    assert_eq!(foreign.status, absent.status, "{what}: {foreign}\n{absent}");
    assert_eq!(said(foreign, job), said(absent, ABSENT), "{what}");
}

pub(crate) fn a_job_of_another_is_one_that_is_not_there(c: &Container) {
    let jobs = jobs_of_alice(c);
    let by_verb = |form: &str, job: u64| {
        let words = form.replace('N', &job.to_string());
        c.sh("bob", &format!("mkdir -p p && cd p && fetchmlctl --no-ask-password {words}"))
    };
    for form in [
        "status N",
        "logs N",
        "logs --follow N",
        "attempts N",
        "metrics N",
        "outputs N",
        "wait N",
        "cancel N",
        "hold N",
        "release N",
        "priority N -1",
        "dead show N",
        "dead requeue N",
        "dead drop --yes N",
        "submit --after N -- true",
        "submit --after-ok N -- true",
    ] {
        for job in jobs {
            alike(form, job, &by_verb(form, job), &by_verb(form, ABSENT));
        }
    }
    for words in ["list --json", "queue --json", "dead list --json"] {
        let seen = c.sh("bob", &format!("fetchmlctl {words}"));
        seen.ok();
        assert!(!seen.says(SECRET) && !seen.says("alice") && !seen.says("2001"), "{seen}");
    }
    for words in ["list --all-users", "dead list --all-users", "audit show", "audit verify"] {
        let seen = c.sh("bob", &format!("fetchmlctl --no-ask-password {words}"));
        assert_ne!(seen.status, 0, "{seen}");
        assert!(!seen.says(SECRET), "{seen}");
    }
    objects_are_not_there_either(c, jobs[0]);
    files_are_closed(c, jobs[0]);
    let state = c.sh("alice", &format!("fetchmlctl --json status {}", jobs[0]));
    assert!(state.says("\"running\""), "somebody else ended it: {state}");
}

fn objects_are_not_there_either(c: &Container, job: u64) {
    const NAME: &str = "org.fetchml.FetchML1";
    const ROOT: &str = "/org/fetchml/FetchML1";
    let call = |user: &str, form: &str, job: u64| {
        c.sh(
            user,
            &format!(
                "busctl --system {}",
                form.replace("OBJECT", &format!("{NAME} {ROOT}/job/{job}"))
            ),
        )
    };
    for form in [
        "introspect OBJECT",
        "call OBJECT org.freedesktop.DBus.Introspectable Introspect",
        "call OBJECT org.freedesktop.DBus.Properties GetAll s org.fetchml.FetchML1.Job",
        "call OBJECT org.freedesktop.DBus.Properties GetAll s org.example.Other",
        "call OBJECT org.freedesktop.DBus.Properties Set ssv org.fetchml.FetchML1.Job Name s x",
        "get-property OBJECT org.fetchml.FetchML1.Job Name",
        "get-property OBJECT org.fetchml.FetchML1.Job Absent",
        "get-property OBJECT org.fetchml.FetchML1.Manager Version",
        "call OBJECT org.fetchml.FetchML1.Job Describe",
        "call OBJECT org.fetchml.FetchML1.Job OpenLog",
        "call OBJECT org.fetchml.FetchML1.Job Cancel",
        "call OBJECT org.fetchml.FetchML1.Job Absent",
        "call OBJECT org.fetchml.FetchML1.Manager DescribeQueue",
        "call OBJECT org.fetchml.FetchML1.Audit Head",
        "call OBJECT org.freedesktop.DBus.ObjectManager GetManagedObjects",
        "call OBJECT org.example.Other Absent",
    ] {
        alike(form, job, &call("bob", form, job), &call("bob", form, ABSENT));
    }
    // What is hidden from bob is there for alice.
    let path = format!("{ROOT}/job/{job}");
    for (user, sees) in [("alice", true), ("bob", false)] {
        let tree = c.sh(user, &format!("busctl --system --list tree {NAME}"));
        assert_eq!(tree.ok().lines().any(|line| line == path), sees, "{user}: {tree}");
        let objects = c.sh(user, &format!(
            "busctl --system call {NAME} {ROOT} org.freedesktop.DBus.ObjectManager GetManagedObjects"
        ));
        assert_eq!(objects.ok().contains("hush-name"), sees, "{user}: {objects}");
    }
    let introspected = call("alice", "introspect OBJECT", job);
    for member in [".Describe", ".OpenLog", ".GetAll", "\"hush-name\"", "\"running\""] {
        assert!(introspected.ok().contains(member), "{member}: {introspected}");
    }
    for words in [
        "call OBJECT org.fetchml.FetchML1.Job Describe",
        "get-property OBJECT org.fetchml.FetchML1.Job Name",
    ] {
        assert!(call("alice", words, job).ok().contains("hush-name"), "{words}");
    }
    assert_ne!(c.sh("bob", &format!("timeout 5 busctl --system monitor {NAME}")).status, 0);
    // The same on the socket, whose tree grows while a client is connected.
    let socket = "--address=unix:path=/run/fetchml/bus.sock";
    let tree = c.sh("bob", &format!("busctl {socket} --list tree {NAME}"));
    assert!(!tree.ok().lines().any(|line| line == path), "{tree}");
}

fn files_are_closed(c: &Container, job: u64) {
    let group = "/sys/fs/cgroup/fetchml.slice/fetchml-jobs.service";
    for path in [
        "/var/lib/fetchml",
        "/var/lib/fetchml/users/2001",
        &format!("/var/lib/fetchml/users/2001/hush-experiment/{job}/outputs"),
        "/var/log/fetchml/audit",
        "/run/fetchml/jobs",
        &format!("{group}/job-{job}"),
        &format!("{group}/job-{job}/cgroup.procs"),
    ] {
        c.sh("root", &format!("test -e {path}")).ok();
        let listed = c.sh("bob", &format!("ls {path} && cat {path}"));
        assert_ne!(listed.status, 0, "{listed}");
    }
    // Wherever else it may stand. The test's own commands are in units of systemd.
    let found =
        c.sh("bob", "grep -rsl hus[h] /run/fetchml /var /tmp /dev/shm /sys/fs/cgroup || true");
    assert_eq!(found.ok(), "");
    let journal =
        c.sh("bob", "journalctl --no-pager --quiet --output=export | grep -c hus[h] || true");
    assert_eq!(journal.ok(), "0");
    let units = c.sh("bob", "systemctl list-units --all --no-pager | grep -i hus[h] || true");
    assert_eq!(units.ok(), "");
    let environ = c.sh("bob", "grep -sl hus[h]-variable /proc/[0-9]*/environ || true");
    assert_eq!(environ.ok(), "");
}

pub(crate) fn processes_are_hidden_where_the_machine_hides_them(c: &Container) {
    let [job, _] = jobs_of_alice(c);
    let seen = || {
        let proc = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo 2>/dev/null";
        let systemd = "systemctl status --no-pager --full --lines=0 fetchml-jobs.service";
        c.sh("bob", &format!("{{ {proc}; ps ax; {systemd}; }} | tr '\\0' ' ' | grep -o -e 'sleep 471[1]' -e hush-dat[a] | sort -u; true"))
    };
    // So the page says, and why it has a remedy.
    assert_eq!(seen().ok(), "hush-data\nsleep 4711");
    let page = std::fs::read_to_string(fetchml_tests::repository().join("docs/privacy.md"))
        .expect("the documentation is there");
    let example = |kind: &str| {
        let rest = page.split_once(&format!("```{kind}\n")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once("```")).expect("the page has it").0
    };
    c.write("/etc/dbus-1/system.d/hide-processes.conf", example("xml").as_bytes());
    c.sh("root", example("sh")).ok();
    assert_eq!(seen().ok(), "");
    // The supervisor and its jobs are none the worse.
    let root = c.sh("root", "systemctl status --no-pager fetchml-jobs.service");
    assert!(root.says("sleep 4711"), "{root}");
    c.run("root", &["systemctl", "restart", "fetchmld.service"]).ok();
    c.sh("alice", &format!("fetchmlctl cancel {job} && ! timeout 60 fetchmlctl wait {job}")).ok();
    assert_eq!(c.sh("alice", "mkdir -p p && cd p && fetchmlctl run -- echo ran").ok(), "ran");
}

pub(crate) fn an_analyst_reads_everything_and_acts_on_nothing(c: &Container) {
    let [job, failed] = jobs_of_alice(c);
    c.sh("root", "useradd --create-home carol && usermod -aG fetchml-analysts carol").ok();
    for (words, what) in [
        (format!("status {job}"), "hush-name"),
        (format!("logs {job}"), "hush-log"),
        (format!("attempts {failed}"), "exited with code 3"),
        (format!("metrics {job}"), "hush"),
        (format!("outputs {job}"), "hush-file"),
        ("list --all-users".to_owned(), "hush-name"),
        ("queue".to_owned(), "alice"),
    ] {
        let seen = c.sh("carol", &format!("fetchmlctl {words}"));
        assert!(seen.ok().contains(what), "{seen}");
    }
    for words in [
        format!("cancel {job}"),
        format!("hold {job}"),
        format!("release {job}"),
        format!("priority {job} -1"),
        format!("dead requeue {failed}"),
        format!("dead drop --yes {failed}"),
        "drain --no-wait".to_owned(),
        "shutdown --jobs --yes".to_owned(),
        "run -- true".to_owned(),
        "submit -- true".to_owned(),
        "audit show".to_owned(),
    ] {
        let tried =
            c.sh("carol", &format!("mkdir -p p && cd p && fetchmlctl --no-ask-password {words}"));
        assert_ne!(tried.status, 0, "{tried}");
    }
    // A descriptor of a directory is no right to write there.
    let outputs = c.sh("carol", &format!(
        "python3 -c '
import dbus, os
bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object(\"org.fetchml.FetchML1\", \"/org/fetchml/FetchML1\"), \"org.fetchml.FetchML1.Manager\")
for directory in (manager.OpenOutputs({job}), manager.OpenWork({job})):
    directory = directory.take()
    try:
        os.open(\"new\", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
        print(\"written\")
    except PermissionError:
        print(\"refused\")
'"
    ));
    assert_eq!(outputs.ok(), "refused\nrefused");
    let state = c.sh("alice", &format!("fetchmlctl --json status {job}"));
    assert!(state.says("\"running\""), "{state}");
}
