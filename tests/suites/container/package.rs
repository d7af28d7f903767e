//! What the package brings, and what it leaves.

use crate::jobs::{let_it_end, submit_patient};
use crate::support::{describe, submit, supervisor, wait_for_output};
use fetchml_tests::Container;

pub(crate) fn installing_starts_the_service(c: &Container) {
    for unit in ["fetchmld.service", "fetchmld.socket", "fetchml-jobs.service"] {
        assert_eq!(c.run("root", &["systemctl", "is-active", unit]).ok(), "active", "{unit}");
        assert_eq!(c.run("root", &["systemctl", "is-enabled", unit]).ok(), "enabled", "{unit}");
    }
    assert_eq!(c.run("root", &["systemctl", "is-system-running"]).ok(), "running");
    assert_eq!(
        c.run("root", &["stat", "--format=%a %U:%G", "/run/fetchml/bus.sock"]).ok(),
        "660 root:fetchml"
    );
    assert!(c.run("alice", &["fetchmlctl", "--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
    c.sh("alice", "test -s /usr/share/bash-completion/completions/fetchmlctl").ok();
    c.run("root", &["fetchmld", "--check-config"]).ok();

    // What is installed is what dpkg says is installed.
    assert_eq!(c.run("root", &["dpkg", "--verify", "fetchml"]).ok(), "");
}

pub(crate) fn units_are_clean_and_exposed_no_more_than_promised(c: &Container) {
    let verified = c.sh(
        "root",
        "systemd-analyze verify --man=no fetchmld.service fetchmld.socket fetchml-jobs.service fetchml.slice 2>&1",
    );
    assert_eq!(verified.ok(), "");
    let exposure = c.run(
        "root",
        &["systemd-analyze", "security", "--no-pager", "--threshold=55", "fetchmld.service"],
    );
    exposure.ok();
}

pub(crate) fn removing_leaves_state_and_purging_nothing(c: &Container) {
    let job = submit(c, "alice", "", "echo running; sleep 600");
    wait_for_output(c, "alice", job, "running");
    c.sh("root", "apt-get remove --yes fetchml 2>&1").ok();
    for unit in ["fetchmld.service", "fetchmld.socket", "fetchml-jobs.service"] {
        assert_ne!(c.run("root", &["systemctl", "is-active", unit]).status, 0, "{unit}");
    }
    assert_eq!(c.sh("root", "pgrep fetchml || true").ok(), "", "processes are left");
    c.sh("root", "test -d /var/lib/fetchml && test -d /var/log/fetchml/audit && test -f /etc/fetchml/fetchml.toml").ok();

    c.sh("root", "apt-get purge --yes fetchml 2>&1").ok();
    let left = c.sh(
        "root",
        "find / -xdev \\( -path /proc -o -path /sys -o -path /home -o -path '/var/log/journal' -o -path /var/tmp \\) -prune \
         -o -iname '*fetchml*' -print | grep -v '^/var/log/\\(dpkg\\|apt\\)' || true",
    );
    assert_eq!(left.ok(), "", "files are left");
    assert_eq!(
        c.sh("root", "ls /sys/fs/cgroup | grep fetchml || true").ok(),
        "",
        "cgroups are left"
    );
    assert_eq!(c.run("root", &["systemctl", "is-system-running"]).ok(), "running");
}

pub(crate) fn upgrading_leaves_jobs_running(c: &Container) {
    let job = submit_patient(c);
    let old = supervisor(c);
    c.sh("root", "apt-get install --yes --reinstall /var/tmp/fetchml.deb 2>&1").ok();
    assert_ne!(supervisor(c), old, "the supervisor was not restarted");
    assert_eq!(describe(c, job)["state"], "running");
    let_it_end(c, job);
}
