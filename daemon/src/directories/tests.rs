//! The pool and the way back, on this machine's own file systems.

use super::*;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use std::fs;
use std::path::{Path, PathBuf};

const USER: u32 = 1000;

fn pool() -> Directories {
    Directories::new(Sight::Here, Notify::off())
}

fn opened(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("opens")
}

fn one(pool: &Directories, uid: u32, path: &Path) -> Directory {
    pool.take(uid, vec![opened(path)]).expect("taken").remove(0)
}

fn inode(of: &OwnedFd) -> u64 {
    fstat(of).expect("stat").st_ino
}

/// As after a restart that kept no descriptor.
fn after_a_reboot(directory: &Directory) -> Directory {
    let stored = directory.stored().expect("a form");
    pool().restore(&stored, None).expect("read back")
}

/// Handles are opened by root alone. What needs them says so where it is skipped.
#[allow(clippy::print_stderr)]
fn root() -> bool {
    let is = rustix::process::geteuid().is_root();
    if !is {
        assert!(std::env::var_os("CI").is_none(), "not root");
        eprintln!("skipped: only root opens directories by their handles");
    }
    is
}

/// A file system of a test's own, in a directory of its own.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Self {
        fs::create_dir_all(at).expect("a mount point");
        mount("test", at, "tmpfs", MountFlags::empty(), None).expect("mounted");
        Self(at.to_owned())
    }

    fn part(of: &Path, at: &Path, read_only: bool) -> Self {
        fs::create_dir_all(at).expect("a mount point");
        mount_bind(of, at).expect("mounted");
        if read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            mount_remount(at, flags, "").expect("read-only");
        }
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn one_directory_is_held_once_however_many_jobs_wait_for_it() {
    let place = tempfile::tempdir().expect("a directory");
    let pool = pool();
    let jobs: Vec<_> = (0..1000).map(|_| one(&pool, USER, place.path())).collect();
    assert!(jobs.iter().all(|job| job.id() == jobs[0].id()));
    assert_eq!(pool.held(), 1);
    let other = one(&pool, USER + 1, place.path());
    assert_ne!(other.id(), jobs[0].id(), "users share nothing");
    assert_eq!(pool.held(), 2);
    drop(jobs);
    assert_eq!(pool.held(), 1, "it is held for nobody");
    drop(other);
    assert_eq!(pool.held(), 0);
    assert!(pool.table().known.is_empty());
}

#[test]
fn a_directory_is_found_again_wherever_it_was_moved() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    fs::create_dir(&before).expect("made");
    let directory = one(&pool(), USER, &before);
    fs::rename(&before, &after).expect("moved");
    fs::create_dir(&before).expect("another in its place");
    let found = after_a_reboot(&directory).open().expect("found");
    assert_eq!(inode(&found), inode(&opened(&after)));
}

#[test]
fn a_directory_that_was_removed_is_not_mistaken_for_a_later_one() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("project");
    fs::create_dir(&path).expect("made");
    let stored = one(&pool(), USER, &path).stored().expect("a form");
    for _ in 0..50 {
        // ext4 gives the number of the last one to the next one at once.
        fs::remove_dir(&path).expect("removed");
        fs::create_dir(&path).expect("made again");
        let again = pool().restore(&stored, None).expect("read back").open();
        assert!(matches!(again, Err(DirectoryError::Gone)), "{again:?}");
    }
}

#[test]
fn an_inode_number_and_a_handle_are_not_enough() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let directory = one(&pool(), USER, place.path());
    let stored = directory.stored().expect("a form");
    let mut form: Form = serde_json::from_str(&stored.form).expect("a form");
    form.file.born = form.file.born.map(|(seconds, rest)| (seconds - 1, rest));
    let form = serde_json::to_string(&form).expect("a form");
    let again = pool().restore(&Stored { form, ..stored }, None).expect("read back").open();
    assert!(matches!(again, Err(DirectoryError::Gone)), "{again:?}");
}

#[test]
fn a_handle_is_not_tried_on_another_file_system() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let at = place.path().join("disk");
    let first = Mounted::tmpfs(&at);
    let directory = one(&pool(), USER, &at);
    assert!(after_a_reboot(&directory).open().is_ok());
    let stored = directory.stored().expect("a form");
    drop((directory, first));
    let _second = Mounted::tmpfs(&at);
    let error = pool().restore(&stored, None).expect("read back").open().expect_err("another");
    let words = error.to_string();
    assert!(matches!(error, DirectoryError::NotMounted { .. }), "{words}");
    assert!(words.contains("tmpfs") && words.contains(&at.display().to_string()), "{words}");
    assert!(error.may_pass());
}

#[test]
fn a_mount_of_a_part_leads_only_to_what_it_shows() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let (disk, shown) = (place.path().join("disk"), place.path().join("shown"));
    let whole = Mounted::tmpfs(&disk);
    for name in ["inside/project", "outside"] {
        fs::create_dir_all(disk.join(name)).expect("made");
    }
    let inside = one(&pool(), USER, &disk.join("inside/project")).stored().expect("a form");
    let outside = one(&pool(), USER, &disk.join("outside")).stored().expect("a form");
    let top = one(&pool(), USER, &disk).stored().expect("a form");
    let itself = one(&pool(), USER, &disk.join("inside")).stored().expect("a form");
    let _part = Mounted::part(&disk.join("inside"), &shown, false);
    drop(whole);
    let reopened = |stored| pool().restore(stored, None).expect("read back").open();
    let found = reopened(&inside).expect("it is shown");
    assert_eq!(inode(&found), inode(&opened(&shown.join("project"))));
    assert_eq!(inode(&reopened(&itself).expect("shown")), inode(&opened(&shown)));
    for hidden in [&outside, &top] {
        let error = reopened(hidden).expect_err("it is not shown");
        assert!(matches!(error, DirectoryError::NotMounted { .. }), "{error}");
    }
}

#[test]
fn nobody_gets_more_rights_than_the_mount_gave_that_was_used() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let (disk, shown) = (place.path().join("disk"), place.path().join("shown"));
    let _whole = Mounted::tmpfs(&disk);
    let part = Mounted::part(&disk, &shown, true);
    let directory = one(&pool(), USER, &shown).stored().expect("a form");
    assert!(pool().restore(&directory, None).expect("read back").open().is_ok());
    drop(part);
    let error = pool().restore(&directory, None).expect("read back").open().expect_err("more");
    assert!(matches!(error, DirectoryError::MountedOtherwise { .. }), "{error}");
}

#[test]
fn beyond_the_bound_only_handles_are_kept() {
    if !root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let pool = pool();
    let many: Vec<_> = (0..HELD + 10)
        .map(|n| {
            let path = place.path().join(n.to_string());
            fs::create_dir(&path).expect("made");
            (one(&pool, USER, &path), inode(&opened(&path)))
        })
        .collect();
    assert_eq!(pool.held(), HELD);
    for (directory, expected) in &many {
        assert_eq!(inode(&directory.open().expect("opens")), *expected);
    }
    drop(many);
    assert_eq!(pool.held(), 0);
}

#[test]
fn without_a_handle_only_the_descriptor_leads_there_and_those_are_counted() {
    // The kernel gives out no handles of it.
    let proc = Path::new("/proc/self/task");
    let pool = pool();
    let directory = one(&pool, USER, proc);
    assert!(directory.0.form.handle.is_none());
    let stored = directory.stored().expect("a form");
    let lost = Directories::new(Sight::Here, Notify::off()).restore(&stored, None);
    let error = lost.expect("read back").open().expect_err("no way back");
    assert!(error.to_string().contains("submit the job again"), "{error}");
    let kept = directory.open().expect("held");
    let again = pool.restore(&stored, Some(kept)).expect("read back");
    assert_eq!(inode(&again.open().expect("held")), inode(&opened(proc)));

    let mut table = Table::default();
    for _ in 0..HELD_ALONE_OF_USER {
        table.count_alone(USER).expect("below the bound");
    }
    let error = table.count_alone(USER).expect_err("above it");
    assert!(error.to_string().contains("1024 such directories are held for you"), "{error}");
    table.let_go_alone(USER);
    table.count_alone(USER).expect("below the bound again");
    for _ in HELD_ALONE_OF_USER..HELD_ALONE {
        table.count_alone(USER + 1).expect("below the bound of all");
    }
    table.count_alone(USER + 2).expect_err("above the bound of all");
}

#[test]
fn a_descriptor_that_was_kept_under_an_old_number_is_not_taken_for_another() {
    let place = tempfile::tempdir().expect("a directory");
    let (right, wrong) = (place.path().join("right"), place.path().join("wrong"));
    fs::create_dir(&right).expect("made");
    fs::create_dir(&wrong).expect("made");
    let stored = one(&pool(), USER, &right).stored().expect("a form");
    let restored = pool().restore(&stored, Some(opened(&wrong))).expect("read back");
    assert!(restored.0.held.is_none());
    let restored = pool().restore(&stored, Some(opened(&right))).expect("read back");
    assert!(restored.0.held.is_some());
}

#[test]
fn numbers_go_on_after_those_of_the_store() {
    let place = tempfile::tempdir().expect("a directory");
    let stored = one(&pool(), USER, place.path()).stored().expect("a form");
    let pool = pool();
    pool.restore(&Stored { id: DirectoryId(41), ..stored }, None).expect("read back");
    assert_eq!(one(&pool, USER, place.path()).id(), DirectoryId(42));
}
