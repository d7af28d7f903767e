//! Words the tests of this suite have in common.

use fetchml_tests::{Container, Output};
use serde_json::Value;

/// Runs a script in a project directory of the user.
pub(crate) fn in_project(container: &Container, user: &str, script: &str) -> Output {
    container.sh(user, &format!("mkdir -p ~/project && cd ~/project && {script}"))
}

/// Submits a command of the shell and gives the job's number.
pub(crate) fn submit(container: &Container, user: &str, options: &str, command: &str) -> u64 {
    let quoted = command.replace('\'', r"'\''");
    let output = in_project(
        container,
        user,
        &format!("fetchmlctl submit --quiet {options} -- sh -c '{quoted}'"),
    );
    output.ok().parse().unwrap_or_else(|_| panic!("no number of a job: {output}"))
}

/// A job as its owner sees it.
pub(crate) fn describe(container: &Container, job: u64) -> Value {
    let output = container.sh(
        "root",
        &format!(
            "busctl --system --json=short call org.fetchml.FetchML1 /org/fetchml/FetchML1 \
             org.fetchml.FetchML1.Manager DescribeJob t {job}"
        ),
    );
    let reply: Value = serde_json::from_str(output.ok()).expect("busctl writes JSON");
    let text = reply["data"][0].as_str().expect("DescribeJob answers with a text");
    serde_json::from_str(text).expect("a description is JSON")
}

/// Waits until a job has said something.
pub(crate) fn wait_for_output(container: &Container, user: &str, job: u64, text: &str) {
    let _ = container.eventually(user, &format!("fetchmlctl logs {job} | grep -q '{text}'"));
}

/// Every record of the audit log, in order.
pub(crate) fn audit_records(container: &Container) -> Vec<Value> {
    let output = container.sh("root", "cat /var/log/fetchml/audit/*.log");
    let lines = output.ok().lines();
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Number of the supervisor's process.
pub(crate) fn supervisor(container: &Container) -> String {
    container.sh("root", "systemctl show --property=MainPID --value fetchmld").ok().to_owned()
}
