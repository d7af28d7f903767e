//! Whoever submits a job may change directories while it is launched.

use super::treasure;
use crate::private;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exchanges two names until told to stop.
fn swap(a: &Path, b: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        std::thread::yield_now();
    }
}

#[test]
fn swapping_directories_during_the_launch_gains_nothing() {
    let private = private!();
    let outside = treasure(&private);
    let place = outside.parent().unwrap();
    let data = private.dir().with_file_name("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("sample"), "").unwrap();
    let (inner, link) = (private.project().join("inner"), private.project().join("link"));
    fs::create_dir(&inner).unwrap();
    symlink(place, &link).unwrap();
    let stop = AtomicBool::new(false);
    let (mut ran, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&inner, &link, &stop));
        let mount = format!("{}:/work/inner", data.display());
        for _ in 0..20 {
            let output = private.ctl([
                "run", "--mount", &mount, "--", "sh", "-c",
                "cat /work/*/marker /work/*/../marker 2>/dev/null; touch /work/inner/x /work/link/x 2>/dev/null; echo ran",
            ]);
            match output.status {
                0 => ran += 1,
                125 => refused += 1,
                _ => panic!("{output}"),
            }
            assert!(!output.says("the host's own"), "{output}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(ran + refused, 20);
    let left: Vec<_> = fs::read_dir(place).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["marker"], "something was made outside");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = private.dir().parent().unwrap().to_str().unwrap().to_owned();
    assert!(!mounts.contains(&ours), "a mount is left on the host");
}

#[test]
fn what_was_opened_is_shown_whatever_its_name_means_later() {
    let private = private!();
    let outside = treasure(&private);
    // One job at a time is not promised; the directory is exchanged while the
    // submitted job still waits for its project's first read.
    let project = private.project();
    fs::write(project.join("mine"), "honest").unwrap();
    let id = private.ctl(["submit", "--", "sh", "-c", "sleep 0.5; cat mine marker 2>&1"]);
    let moved = project.with_file_name("moved");
    fs::rename(&project, &moved).unwrap();
    symlink(outside.parent().unwrap(), &project).unwrap();
    fs::create_dir_all(private.dir()).unwrap();
    let ended = private.ctl(["wait", id.ok()]);
    let logs = private.ctl(["logs", id.ok()]);
    assert!(logs.says("honest") && !logs.says("the host's own"), "{logs} {ended}");
}

#[test]
fn targets_that_would_cover_the_sandbox_are_refused() {
    let private = private!();
    let here = private.project().display().to_string();
    for target in [
        "/",
        "/proc",
        "/proc/self/fd/8",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/null",
        "/dev/shm",
        "/etc",
        "/etc/passwd",
        "/usr/lib",
        "/lib64/x",
        "/bin/sh",
        "/run",
        "/tmp/x",
        "/outputs/x",
        "/opt",
        "/work/..",
        "/data/../etc",
        "/data/./x",
        "//etc",
        "/data/",
        "/da\nta",
        "data",
    ] {
        let output = private.ctl(["run", "--mount", &format!("{here}:{target}"), "--", "true"]);
        assert_eq!(output.status, 125, "{target:?}: {output}");
    }
    // Descriptors that prove nothing, or are no directories.
    let script = format!(
        "import dbus, dbus.connection, os\n\
         bus = dbus.connection.Connection('unix:path={}')\n\
         manager = dbus.Interface(bus.get_object(None, '/org/fetchml/FetchML1'), 'org.fetchml.FetchML1.Manager')\n\
         def submit(fd, target='/data', mode='ro'):\n\
         \x20 try: manager.SubmitJob({{'command': dbus.Array(['true'], signature='s')}}, \
         dbus.Array([(target, mode, 'x', dbus.types.UnixFd(fd))], signature='(sssh)')); print('taken')\n\
         \x20 except dbus.DBusException as e: print(e.get_dbus_name().split('.')[-1])\n\
         submit(os.open('/root', os.O_PATH | os.O_DIRECTORY))\n\
         submit(os.open('/etc/shadow', os.O_RDONLY)); submit(os.open('/dev/null', os.O_RDWR)); submit(os.pipe()[0])\n\
         submit(os.open('/', os.O_RDONLY), '/etc'); submit(os.open('/', os.O_RDONLY), '/data', 'root')",
        private.socket().display()
    );
    private.shell("true").ok();
    let output = super::on_the_host(&script);
    let words: Vec<_> = output.ok().split_whitespace().collect();
    assert_eq!(words, ["InvalidSpec"; 6], "{output}");
}

#[test]
fn a_link_cannot_move_a_mount_out_of_the_project() {
    let private = private!();
    let place = private.dir().with_file_name("data");
    fs::create_dir(&place).unwrap();
    // In the launcher's view as in the job's, from within and from the top.
    for (name, target) in [
        ("a", "../etc"),
        ("b", "/roots"),
        ("c", ".."),
        ("d", "../tmp"),
        ("e", "/lower"),
        ("f", "."),
    ] {
        symlink(target, private.project().join(name)).unwrap();
        for below in ["", "/etc", "/0"] {
            let mount = format!("{}:/work/{name}{below}", place.display());
            let output = private.ctl(["run", "--mount", &mount, "--", "true"]);
            assert_eq!(output.status, 125, "{name}{below}: {output}");
        }
    }
    assert_eq!(private.shell("cat /etc/passwd | wc -l").ok(), "3");
}
