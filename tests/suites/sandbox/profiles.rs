//! What single keys of a profile do to a job.

use fetchml_api::job::{JobId, JobSpec};
use fetchml_policies::Library;
use fetchmld::supervise::{Host, HostConfig, StartRequest, Submitter};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Runs a shell script under a profile that consists of the given lines, without
/// queue and bus; its output, or why it did not run.
fn run_under(profile: &str, script: &str) -> Option<String> {
    crate::start()?;
    let place = tempfile::tempdir().unwrap();
    let policies = place.path().join("policies/profiles");
    fs::create_dir_all(&policies).unwrap();
    fs::write(policies.join("tried.toml"), profile).unwrap();
    let library = Arc::new(Library::load(&[place.path().join("policies")]).unwrap());
    let host = Host::prepare(&HostConfig {
        state_dir: place.path().join("state"),
        runtime_dir: place.path().join("run"),
        agent_path: fetchml_tests::agent(),
        library: Arc::clone(&library),
        private: true,
        machine_root: "/".into(),
    })
    .unwrap();
    let spec = JobSpec {
        name: "tried".into(),
        experiment: "tried".into(),
        profile: "tried".into(),
        ..JobSpec::plain(["sh", "-c", script].map(str::to_owned).to_vec())
    };
    let profile = library.profile("tried").unwrap();
    host.check(&spec, &profile, &[]).unwrap();
    let submitter = Submitter { uid: 0, gid: 0 };
    let request = StartRequest {
        job: JobId(1),
        spec,
        profile,
        submitter,
        directories: Vec::new(),
        attempt: 1,
        gpus: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        match host.plan(request).unwrap().start().await {
            Ok(attempt) => attempt.finished().await,
            Err(report) => report,
        }
    });
    assert_eq!(report.status, 0, "{}", report.summary);
    let mut log =
        fs::File::from(host.job_directory(0, "tried", JobId(1)).unwrap().open_log(1).unwrap());
    let mut frames = Vec::new();
    log.read_to_end(&mut frames).unwrap();
    host.leave();
    Some(String::from_utf8_lossy(&frames).into_owned())
}

#[test]
fn a_job_keeps_exactly_the_capabilities_that_its_profile_names() {
    let profile = "description = \"tried\"\nextends = \"default\"\ndrop_all_caps = false\n\
                   allowed_caps = [\"CAP_SYS_NICE\", \"CAP_KILL\"]\n";
    let Some(seen) = run_under(profile, "grep ^Cap /proc/self/status") else { return };
    let wanted = format!("{:016x}", 1 << 23 | 1 << 5);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(seen.contains(&format!("{set}:\t{wanted}")), "{set} of {seen}");
    }
}

#[test]
fn a_job_in_the_hosts_network_is_in_no_other() {
    let profile = "description = \"tried\"\nextends = \"default\"\nnetwork_mode = \"host\"\nlandlock = \"required\"\n";
    let script = "readlink /proc/self/ns/net; cat /etc/resolv.conf; stat -c %F /etc/resolv.conf";
    let Some(seen) = run_under(profile, script) else { return };
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(seen.contains(host.to_str().unwrap()), "{seen}");
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert!(seen.contains(&resolver), "names are found as on the host: {seen}");
    assert!(seen.contains("regular file") || resolver.is_empty(), "{seen}");
}

/// A node in the host's /dev under an accelerator's name, while a test runs.
struct Node(&'static str);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

#[test]
fn accelerators_are_shown_by_the_profile_for_them_and_by_no_other() {
    let private = crate::private!();
    // Of the kernel's own subsystem, whose devices nobody gives out one by one.
    let node = Node("/dev/accel/accel-fetchml-test");
    fs::create_dir_all("/dev/accel").unwrap();
    assert!(!Path::new(node.0).exists(), "{} is there already", node.0);
    // It is /dev/null by another name.
    let made = Command::new("mknod").args(["-m", "666", node.0, "c", "1", "3"]).status().unwrap();
    assert!(made.success());
    let script =
        format!("if [ -c {0} ]; then echo x > {0} && echo used; else echo none; fi", node.0);
    let under = |profile: &str| {
        let command = ["run", "--quiet", "--profile", profile, "--", "sh", "-c", &script];
        String::from_utf8(private.command(command).output().unwrap().stdout).unwrap()
    };
    assert_eq!(under("default").trim(), "none");
    assert_eq!(under("gpu").trim(), "used");
    let mounts = ["run", "--quiet", "--profile", "gpu", "--", "cat", "/proc/self/mounts"];
    let mounts = String::from_utf8(private.command(mounts).output().unwrap().stdout).unwrap();
    let line = mounts.lines().find(|l| l.contains(node.0)).unwrap();
    assert!(line.contains("nosuid") && line.contains("noexec"), "{line}");
}
