//! What jobs open of audited data, as the kernel tells it.

use crate::resident::{Resident, mount, open, shell};
use fetchml_api::job::{JobSpec, Layer, MountMode};
use fetchml_policies::Library;
use fetchmld::supervise::Access;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs a job to its end, reading its accesses all the while.
fn accesses(resident: &Resident, spec: JobSpec) -> Vec<Access> {
    resident.runtime.block_on(async {
        let attempt = resident.start(spec, 1, &[]).await;
        let read = async {
            let mut all = Vec::new();
            while let Some(some) = attempt.accesses().await {
                all.extend(some);
            }
            all
        };
        let (all, report) = tokio::join!(read, attempt.finished());
        assert_eq!(report.status, 0, "{}", report.summary);
        assert!(report.layers.iter().any(|layer| layer.name == Layer::DATA_AUDIT));
        all
    })
}

#[test]
fn each_file_of_audited_data_that_a_job_opens_is_told_once_by_its_path_on_the_host() {
    let Some(resident) = Resident::new() else { return };
    let data = resident.place.path().join("data");
    let results = resident.place.path().join("results");
    for directory in ["phi/sub", "open"] {
        fs::create_dir_all(data.join(directory)).unwrap();
    }
    fs::create_dir(&results).unwrap();
    for file in ["phi/a", "phi/sub/b", "phi/unread", "open/c"] {
        fs::write(data.join(file), file).unwrap();
    }
    // Named by a link, as administrators do.
    let link = resident.place.path().join("link");
    std::os::unix::fs::symlink(data.join("phi"), &link).unwrap();
    resident.host.audit_data(&[link, results.clone()]);
    let mut spec = shell(
        "cat /mnt/phi/a /mnt/phi/sub/b /mnt/phi/a /mnt/open/c /data/a; ls /mnt/phi
         echo x > /results/new; echo y >> /results/new",
    );
    spec.mounts = vec![
        mount(&data, "/mnt", MountMode::Ro),
        mount(&data.join("phi"), "/data", MountMode::Ro),
        mount(&results, "/results", MountMode::Rw),
    ];
    let all = accesses(&resident, spec);
    let opened = |path: PathBuf| Access::Opened(path);
    let expected = [
        opened(data.join("phi/a")),
        opened(data.join("phi/sub/b")),
        // Of a mount with audited data everything is told.
        opened(data.join("open/c")),
        opened(results.join("new")),
        Access::Written(results.join("new")),
    ];
    assert_eq!(all, expected);
}

#[test]
fn opens_for_which_there_was_no_room_are_told_as_unseen() {
    let Some(resident) = Resident::new() else { return };
    let data = resident.place.path().join("data");
    fs::create_dir(&data).unwrap();
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap();
    let more = limit.trim().parse::<usize>().unwrap() + 1000;
    for n in 0..more {
        fs::write(data.join(n.to_string()), "").unwrap();
    }
    resident.host.audit_data(std::slice::from_ref(&data));
    let mut spec = JobSpec::plain(
        ["/usr/bin/python3", "-c", "import os\nfor n in os.listdir('/data'): open('/data/' + n)"]
            .map(str::to_owned)
            .to_vec(),
    );
    spec.mounts = vec![mount(&data, "/data", MountMode::Ro)];
    resident.runtime.block_on(async {
        let attempt = resident.start(spec, 1, &[]).await;
        let report = attempt.finished().await;
        assert_eq!(report.status, 0, "{}", report.summary);
        let mut all = Vec::new();
        while let Some(some) = attempt.accesses().await {
            all.extend(some);
        }
        let unseen = all.iter().filter(|access| matches!(access, Access::Unseen(_))).count();
        assert!(unseen > 0 && all.len() < more, "{unseen} of {}", all.len());
    });
}

#[test]
fn audited_data_is_no_project_directory() {
    let Some(resident) = Resident::new() else { return };
    let data = resident.place.path().join("data");
    fs::create_dir_all(data.join("project")).unwrap();
    resident.host.audit_data(std::slice::from_ref(&data));
    let mut spec = shell("true");
    spec.mounts = vec![mount(&data.join("project"), "/work", MountMode::Project)];
    let library = Library::load::<&Path>(&[]).unwrap();
    let profile = library.profile("default").unwrap();
    let refused = resident.host.check(&spec, &profile, &open(&spec)).unwrap_err();
    assert!(refused.to_string().contains("mount it elsewhere"), "{refused}");
}
