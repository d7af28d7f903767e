//! What single keys of a profile do to a job.

use crate::resident::{Resident, shell};
use fetchml_api::job::JobSpec;
use fetchml_policies::Library;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a shell script under a profile that consists of the given lines, without
/// queue and bus; its output.
fn run_under(profile: &str, script: &str) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let policies = place.path().join("policies/profiles");
    fs::create_dir_all(&policies).unwrap();
    fs::write(policies.join("tried.toml"), profile).unwrap();
    fs::create_dir(place.path().join("state")).unwrap();
    let library = Library::load(&[place.path().join("policies")]).unwrap();
    let resident = Resident::with(place, "/".into(), library)?;
    let left = resident.run(JobSpec { profile: "tried".into(), ..shell(script) }, 1, &[]);
    assert_eq!(left.report.status, 0, "{}", left.report.summary);
    Some(left.log)
}

/// Whoever starts a job may have more descriptors open than the job can have.
#[test]
fn a_small_limit_of_descriptors_is_the_jobs_alone() {
    let open: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let profile = "extends = \"default\"\n[limits]\nopen_files = 64\n";
    let Some(log) = run_under(profile, "ulimit -n") else { return };
    assert!(log.contains("64\n"), "{log}");
    drop(open);
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
