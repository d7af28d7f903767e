//! Disks that are full, read-only, slow, or lose what they were given.

use super::*;
use std::path::Path;

/// A file system of 64 KiB that is gone when the test is.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(at.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_refuses_records_and_the_gap_is_recorded() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    };
    let scene = Scene { dir: disk.0.path().join("audit"), _root: tempfile::tempdir().unwrap() };
    let (audit, _) = scene.open();
    let filler = disk.0.path().join("filler");
    drop(fs::write(&filler, vec![0; 40 << 10]));
    let mut durable = 1;
    let error = loop {
        match append(&audit, durable) {
            Ok(receipt) => durable = receipt.seq,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(audit.state().is_err() && append(&audit, 0).is_err());
    assert_eq!(
        (audit.head().seq, verdict(&audit)),
        (durable, Verdict::Intact),
        "no half line stays"
    );

    fs::remove_file(&filler).unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while audit.state().is_err() {
        assert!(Instant::now() < patience, "it never recovered");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(append(&audit, 0).unwrap().seq, durable + 2);
    assert_eq!(verdict(&audit), Verdict::Intact);
    let events = scene.events();
    assert_eq!(events[events.len() - 2], "log_resumed");
    drop(audit);
    drop(scene.open());
}

#[test]
fn a_file_system_that_became_read_only_refuses_records_until_it_is_not() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    };
    let scene = Scene { dir: disk.0.path().join("audit"), _root: tempfile::tempdir().unwrap() };
    let (audit, _) = scene.open();
    let durable = append(&audit, 1).unwrap().seq;
    drop(audit);
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", how]).arg(disk.0.path()).status();
        assert!(done.unwrap().success(), "{how}");
    };
    remount("remount,ro");
    let refused = scene.refusal();
    assert!(refused.to_string().contains("Read-only file system"), "{refused}");
    remount("remount,rw");
    let (audit, report) = scene.open();
    assert_eq!(report.head.seq, durable);
    assert_eq!((append(&audit, 2).unwrap().seq, verdict(&audit)), (durable + 1, Verdict::Intact));
}

/// An ext4 on a loop device whose blocks come from a small tmpfs: when that is full, the
/// kernel takes writes and fails to bring them to the disk, as a disk does that dies.
struct LossyDisk {
    at: tempfile::TempDir,
    mounted: bool,
}

impl LossyDisk {
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let script = "cd \"$1\" && mkdir blocks disk && mount -t tmpfs -o size=8m tmpfs blocks && \
             truncate -s 16M blocks/image && mkfs.ext4 -q -b 4096 -O ^has_journal blocks/image && \
             mount -o loop blocks/image disk";
        let made = Command::new("sh").args(["-c", script, "sh"]).arg(at.path()).status();
        let disk = Self { at, mounted: true };
        made.is_ok_and(|status| status.success()).then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.at.path().join("disk")
    }

    fn filler(&self) -> PathBuf {
        self.at.path().join("blocks/filler")
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
    }

    fn run(&self, program: &str, words: &[&str], on: &Path) {
        let status = Command::new(program).args(words).arg(on).status().unwrap();
        assert!(status.success(), "{program} {words:?}: {status}");
    }

    fn unmount(&mut self) {
        self.run("umount", &[], &self.path());
        self.mounted = false;
    }

    fn mount_again(&mut self) {
        let script = "e2fsck -fy \"$1\"/blocks/image >/dev/null 2>&1; \
             mount -o loop \"$1\"/blocks/image \"$1\"/disk";
        self.run("sh", &["-c", script, "sh"], self.at.path());
        self.mounted = true;
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if self.mounted {
            drop(Command::new("umount").arg(self.path()).status());
        }
        drop(Command::new("umount").arg(self.at.path().join("blocks")).status());
    }
}

/// A log on such a disk.
fn on_a_lossy_disk() -> Option<(LossyDisk, Scene)> {
    let Some(disk) = LossyDisk::mount() else {
        eprintln!("skipped: a loop device and mkfs.ext4 need root");
        return None;
    };
    let scene = Scene { dir: disk.path().join("audit"), _root: tempfile::tempdir().unwrap() };
    Some((disk, scene))
}

/// Appends until the segment ends with a page. The loop device takes a write for done of
/// which it could do a part (Linux 6.18), so the one that is to fail begins with a page.
fn fill_a_page(audit: &Audit, scene: &Scene) -> Receipt {
    const PAGE: u64 = 4096;
    let length = || fs::metadata(scene.segment()).unwrap().len();
    loop {
        let before = length();
        let mut receipt = append(audit, 1).unwrap();
        let (line, left) = (length() - before, PAGE - length() % PAGE);
        // The next one is as long, and `"padding":"",` more.
        if (line + 20..2 * line).contains(&left) {
            let padding = "x".repeat(usize::try_from(left - line - 13).unwrap());
            let padded = record(1).detail("padding", padding);
            receipt = runtime().block_on(audit.append(padded)).unwrap();
        }
        if length() % PAGE == 0 {
            return receipt;
        }
    }
}

#[test]
fn after_a_failed_fsync_nothing_is_acknowledged_until_the_next_start() {
    let Some((disk, scene)) = on_a_lossy_disk() else { return };
    let (audit, _) = scene.open();
    let durable = fill_a_page(&audit, &scene);
    disk.fill();
    let error = append(&audit, durable.seq).unwrap_err();
    assert!(matches!(error, AuditError::Unsynced { .. }), "{error}");
    assert!(error.to_string().contains("supervisor is started again"), "{error}");
    // The next fsync would succeed, and say nothing of what was lost.
    fs::remove_file(disk.filler()).unwrap();
    for n in 0..3 {
        std::thread::sleep(Duration::from_millis(600));
        assert!(matches!(append(&audit, n), Err(AuditError::Unsynced { .. })));
    }
    assert!(audit.state().is_err());
    assert!(runtime().block_on(audit.checkpoint()).is_err(), "nothing is signed either");
    assert_eq!(audit.head().seq, durable.seq);
    drop(audit);

    let (audit, report) = scene.open();
    assert_eq!(report.head, Head { seq: durable.seq, hash: durable.hash }, "all that was said");
    assert_eq!(append(&audit, 0).unwrap().seq, durable.seq + 1);
    assert_eq!(verdict(&audit), Verdict::Intact);
}

#[test]
fn a_file_system_that_the_kernel_gives_up_refuses_records_and_keeps_what_was_acknowledged() {
    let Some((mut disk, scene)) = on_a_lossy_disk() else { return };
    let (audit, _) = scene.open();
    let durable = append(&audit, 1).unwrap();
    // What the kernel does on an error of the file system: read-only under open files.
    disk.run("mount", &["-o", "remount,abort"], &disk.path());
    for n in 0..3 {
        assert!(append(&audit, n).is_err());
    }
    assert!(audit.state().is_err());
    drop(audit);
    disk.unmount();
    disk.mount_again();
    let (audit, report) = scene.open();
    assert_eq!(report.head, Head { seq: durable.seq, hash: durable.hash });
    assert_eq!(append(&audit, 2).unwrap().seq, durable.seq + 1);
    assert_eq!(verdict(&audit), Verdict::Intact);
}

#[test]
fn a_disk_that_does_not_answer_lets_nothing_through_and_blocks_no_question() {
    let Some((disk, scene)) = on_a_lossy_disk() else { return };
    let (audit, _) = scene.open();
    let before = append(&audit, 1).unwrap();
    disk.run("fsfreeze", &["--freeze"], &disk.path());
    let runtime = runtime();
    let receipts = runtime.block_on(async {
        let all = futures_util::future::join_all((0..50).map(|n| audit.append(record(n))));
        tokio::pin!(all);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut all).await;
        let (state, head) = (audit.state(), audit.head());
        disk.run("fsfreeze", &["--unfreeze"], &disk.path());
        assert!(early.is_err(), "acknowledged before it was on the disk");
        assert!(state.is_ok() && head.seq == before.seq);
        all.await
    });
    let numbers = receipts.into_iter().map(|receipt| receipt.unwrap().seq);
    assert!(numbers.eq(before.seq + 1..before.seq + 51));
    assert_eq!(verdict(&audit), Verdict::Intact);
}
