//! The child of a launch, which shares the supervisor's memory until it executes.

use crate::resident::{Resident, mount, shell};
use fetchml_api::job::{JobSpec, MountMode, NetworkMode};
use fetchml_sys::clone::{CloneFlags, Stack, spawn};
use fetchml_sys::sentinel::{Sentinel, foreign_calls};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs;
use std::hint::black_box;
use std::os::fd::AsFd;

#[global_allocator]
static ALLOCATOR: Sentinel = Sentinel;

#[test]
fn from_the_clone_to_the_exec_nothing_is_allocated() {
    let Some(resident) = Resident::new() else { return };
    let data = resident.place.path().join("data");
    fs::create_dir(&data).unwrap();
    let mounts = vec![
        mount(&data, "/work", MountMode::Project),
        mount(&data, "/data", MountMode::Ro),
        mount(&data, "/results", MountMode::Rw),
    ];
    let plain = shell("true");
    let specs = [
        JobSpec { mounts, network: Some(NetworkMode::Loopback), ..plain.clone() },
        JobSpec { profile: "strict".into(), ..plain.clone() },
        JobSpec { profile: "gpu".into(), ..plain.clone() },
        JobSpec { profile: "debug".into(), ..plain },
    ];
    for (attempt, spec) in (1..).zip(specs) {
        let profile = spec.profile.clone();
        let report = resident.run(spec, attempt, &[]).report;
        assert_eq!(report.status, 0, "{}", report.summary);
        assert_eq!(foreign_calls(), 0, "under {profile}");
    }
    // And it would be seen.
    let mut stack = Stack::new(64 * 1024).unwrap();
    let child = spawn(CloneFlags::SHARED_DESCRIPTORS, None, &mut stack, &mut || {
        drop(black_box(Box::new(black_box(7))));
        0
    })
    .unwrap();
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
    assert_eq!(foreign_calls(), 2);
}
