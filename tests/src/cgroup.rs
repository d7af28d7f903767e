//! A cgroup of its own for each booted container, so that two at once do not
//! meet, and so that nothing of one is left.

use crate::Unavailable;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A cgroup that is emptied and removed with this value.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below the root of the version 2 hierarchy.
    ///
    /// # Errors
    /// When this machine has no such hierarchy, or it cannot be written.
    pub fn create(name: &str) -> Result<Self, Unavailable> {
        let root =
            mount_point().ok_or_else(|| Unavailable("no cgroup v2 hierarchy is mounted".into()))?;
        let path = root.join(name);
        fs::create_dir(&path).map_err(|e| Unavailable::because(&path.display().to_string(), &e))?;
        Ok(Self { path })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.contains("populated 1"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Missing before kernel 5.14: then the processes were killed by their
        // parents' death alone, and the directory may stay.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let end = Instant::now() + Duration::from_secs(10);
        while self.is_populated() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        remove_tree(&self.path);
    }
}

/// rmdir(2) is all that a cgroup knows, children first.
fn remove_tree(path: &Path) {
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&child.path());
    }
    let _ = fs::remove_dir(path);
}

fn mount_point() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let of_root = mount.split(' ').nth(3)? == "/";
        (of_root && file_system.starts_with("cgroup2 "))
            .then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}
