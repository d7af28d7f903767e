//! Where jobs and records are kept: the file system, its room, and whether it
//! is readable for who takes the disk away.

use super::kernel::Version;
use super::{Places, read};
use crate::view::text::size;
use fetchml_api::host::{Finding, Group};
use std::path::{Path, PathBuf};

/// Below this a single job's outputs fill the disk.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;
/// Below this not even records can be written for long.
const NO_ROOM_BYTES: u64 = 16 << 20;

/// Which kernels map ids on mounts of which file system (mount_setattr(2)).
const MAPPABLE: [(&str, Version); 9] = [
    ("ext4", (5, 12)),
    ("xfs", (5, 12)),
    ("vfat", (5, 12)),
    ("btrfs", (5, 15)),
    ("f2fs", (5, 18)),
    ("erofs", (5, 19)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
    ("zfs", (5, 12)),
];
/// Which never do, or not as the root of most containers has it.
const NOT_MAPPABLE: [&str; 6] = ["overlay", "nfs", "nfs4", "cifs", "ramfs", "9p"];

pub(super) fn findings(places: &Places, version: Version) -> Vec<Finding> {
    let mountinfo = read("/proc/self/mountinfo").unwrap_or_default();
    let state = Mount::below(&places.state, &mountinfo);
    vec![
        id_mapping(state.as_ref(), version),
        room("state-directory", &places.state, state.as_ref()),
        room("log-directory", &places.log, Mount::below(&places.log, &mountinfo).as_ref()),
        at_rest(&places.state, state.as_ref().map_or(Rest::Unknown, Mount::at_rest)),
        swap(&read("/proc/swaps").unwrap_or_default(), |device| {
            crypt_below(&device_of_name(device).unwrap_or_default())
        }),
    ]
}

/// The mount that a path lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    source: String,
    /// `major:minor` as the mount table has it.
    device: String,
}

/// Whether a disk that is taken away can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Encrypted,
    Memory,
    Plain,
    Unknown,
}

impl Mount {
    /// The last and deepest mount above the path or its nearest parent that exists.
    fn below(path: &Path, mountinfo: &str) -> Option<Self> {
        let path = existing(path);
        let mut best: Option<(usize, Self)> = None;
        for line in mountinfo.lines() {
            let Some((mount, source)) = line.split_once(" - ") else { continue };
            let fields: Vec<_> = mount.split(' ').collect();
            let (Some(device), Some(at)) = (fields.get(2), fields.get(4)) else { continue };
            // A space in a mount point is written as \040; ours have none.
            if !path.starts_with(at) || best.as_ref().is_some_and(|(len, _)| *len > at.len()) {
                continue;
            }
            let mut words = source.split(' ');
            let kind = words.next().unwrap_or_default().to_owned();
            let source = words.next().unwrap_or_default().to_owned();
            best = Some((at.len(), Self { kind, source, device: (*device).to_owned() }));
        }
        best.map(|(_, mount)| mount)
    }

    fn at_rest(&self) -> Rest {
        if matches!(self.kind.as_str(), "tmpfs" | "ramfs") {
            return Rest::Memory;
        }
        // btrfs and overlays have numbers of their own that name no device.
        let named = device_of_name(&self.source);
        let devices =
            named.into_iter().chain([PathBuf::from(format!("/sys/dev/block/{}", self.device))]);
        match devices.into_iter().find(|device| device.exists()) {
            Some(device) if crypt_below(&device) => Rest::Encrypted,
            Some(_) => Rest::Plain,
            None => Rest::Unknown,
        }
    }
}

/// The path, or the nearest directory above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|p| p.symlink_metadata().is_ok()).unwrap_or(Path::new("/"))
}

/// The directory in /sys of a device named as `/dev/…`.
fn device_of_name(name: &str) -> Option<PathBuf> {
    let device = Path::new(name).canonicalize().ok()?;
    let found = Path::new("/sys/class/block").join(device.strip_prefix("/dev").ok()?);
    found.exists().then_some(found)
}

/// Whether a device-mapper encryption is the device or lies anywhere below it.
fn crypt_below(device: &Path) -> bool {
    const DEEPEST: u32 = 8;
    fn look(device: &Path, depth: u32) -> bool {
        let uuid = std::fs::read_to_string(device.join("dm/uuid")).unwrap_or_default();
        if uuid.starts_with("CRYPT-") {
            return true;
        }
        let slaves = std::fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
        depth < DEEPEST && slaves.into_iter().any(|slave| look(&slave.path(), depth + 1))
    }
    look(device, 0)
        // A partition's own directory has no slaves; those are its disk's.
        || device.canonicalize().is_ok_and(|d| {
            d.join("partition").exists() && d.parent().is_some_and(|disk| look(disk, 0))
        })
}

/// As the supervisor will find it; when one runs, it has tried.
fn id_mapping(mount: Option<&Mount>, version: Version) -> Finding {
    const NAME: &str = "id-mapped-mounts";
    const FIX: &str = "keep it on ext4, xfs or btrfs (tmpfs from Linux 6.3)";
    let Some(mount) = mount else {
        return Finding::unknown(
            Group::Sandbox,
            NAME,
            "the mount of the state directory is not known",
        )
        .needed();
    };
    let kind = mount.kind.as_str();
    if NOT_MAPPABLE.contains(&kind) {
        return Finding::missing(Group::Sandbox, NAME, format!("the state directory is on {kind}"))
            .needed()
            .so("files of jobs could not belong to their submitters: no job runs")
            .fix(FIX);
    }
    match MAPPABLE.iter().find(|(name, _)| *name == kind) {
        Some((_, since)) if version >= *since => Finding::ok(
            Group::Sandbox,
            NAME,
            format!("the state directory is on {kind}; what a job writes belongs to its submitter"),
        )
        .needed(),
        Some((_, (major, minor))) => Finding::missing(
            Group::Sandbox,
            NAME,
            format!("the state directory is on {kind}, mapped from Linux {major}.{minor} on"),
        )
        .needed()
        .so("files of jobs could not belong to their submitters: no job runs")
        .fix(FIX),
        None => Finding::unknown(
            Group::Sandbox,
            NAME,
            format!("the state directory is on {kind}; only a running supervisor can try it"),
        )
        .needed()
        .fix(FIX),
    }
}

fn room(name: &str, path: &Path, mount: Option<&Mount>) -> Finding {
    let place = existing(path);
    let kind = mount.map_or("?", |mount| mount.kind.as_str());
    let Ok(stat) = rustix::fs::statvfs(place) else {
        return Finding::unknown(
            Group::Resources,
            name,
            format!("cannot look at {}", path.display()),
        );
    };
    let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let made = if place == path { "" } else { " (not made yet)" };
    let detail = format!("{}{made}: {} free of {}, {kind}", path.display(), size(free), size(all));
    judge_room(name, detail, free, stat.f_favail, stat.f_files)
}

fn judge_room(name: &str, detail: String, free: u64, free_files: u64, files: u64) -> Finding {
    const FIX: &str = "remove outputs that nobody needs, or move the directory to a larger disk";
    // Some file systems count no files at all.
    let no_files = files > 0 && free_files < 1024;
    if free < NO_ROOM_BYTES || no_files {
        let detail = if no_files { format!("{detail}, no inodes") } else { detail };
        return Finding::missing(Group::Resources, name, detail)
            .needed()
            .so("without room for records no job is started")
            .fix(FIX);
    }
    if free < LITTLE_ROOM_BYTES {
        return Finding::partial(Group::Resources, name, detail)
            .needed()
            .so("jobs that write much fail, and then all do")
            .fix(FIX);
    }
    Finding::ok(Group::Resources, name, detail).needed()
}

fn at_rest(path: &Path, rest: Rest) -> Finding {
    const NAME: &str = "encryption-at-rest";
    let path = path.display();
    match rest {
        Rest::Encrypted => Finding::ok(Group::Resources, NAME, format!("{path} is on dm-crypt")),
        Rest::Memory => Finding::ok(Group::Resources, NAME, format!("{path} is in memory")),
        Rest::Plain => Finding::absent(
            Group::Resources,
            NAME,
            format!("{path} is on a plain disk"),
        )
        .so("who takes the disk reads every experiment on it")
        .fix("put the directory on a LUKS volume (cryptsetup luksFormat) if that matters here"),
        Rest::Unknown => Finding::unknown(
            Group::Resources,
            NAME,
            format!("the disk below {path} is not seen from here"),
        ),
    }
}

fn swap(table: &str, encrypted: impl Fn(&str) -> bool) -> Finding {
    let devices: Vec<_> =
        table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    let plain: Vec<_> =
        devices.iter().filter(|d| !d.starts_with("/dev/zram") && !encrypted(d)).copied().collect();
    match (devices.is_empty(), plain.is_empty()) {
        (true, _) => Finding::ok(Group::Resources, "swap", "none"),
        (_, true) => Finding::ok(Group::Resources, "swap", "encrypted, or in memory"),
        _ => Finding::absent(
            Group::Resources,
            "swap",
            format!("{} is not encrypted", plain.join(", ")),
        )
        .so("memory of jobs and of the supervisor may reach a disk in clear")
        .fix("encrypt it (crypttab: swap with a random key), or use zram"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchml_api::host::FindingState::{Absent, Missing, Ok as Fine, Partial, Unknown};

    #[test]
    fn the_deepest_and_last_mount_is_the_one_that_counts() {
        let table = "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                     2 1 0:30 / /usr rw - tmpfs tmpfs rw\n\
                     3 1 0:31 / /usr rw - xfs /dev/sdb rw\n";
        let kind = |path: &str| Mount::below(Path::new(path), table).map(|m| m.kind);
        assert_eq!(kind("/usr/bin").as_deref(), Some("xfs"));
        assert_eq!(kind("/nowhere/at/all").as_deref(), Some("ext4"));
        assert_eq!(kind("/usrx").as_deref(), Some("ext4"));
    }

    #[test]
    fn file_systems_that_cannot_map_ids_are_named_with_the_way_out() {
        let on = |kind: &str| {
            let mount = Mount { kind: kind.into(), source: String::new(), device: String::new() };
            id_mapping(Some(&mount), (6, 1))
        };
        assert_eq!(on("ext4").state, Fine);
        for kind in ["overlay", "tmpfs"] {
            let finding = on(kind);
            assert!(finding.needed && finding.state == Missing, "{finding:?}");
            assert!(finding.remedy.is_some_and(|r| r.contains("ext4")));
        }
        assert_eq!(on("bcachefs").state, Unknown);
    }

    #[test]
    fn a_full_disk_is_told_before_jobs_fail() {
        let state = |free, files, all| judge_room("x", String::new(), free, files, all).state;
        assert_eq!(state(50 << 30, 1 << 20, 1 << 20), Fine);
        assert_eq!(state(50 << 30, 0, 0), Fine, "btrfs counts no files");
        assert_eq!(state(500 << 20, 1 << 20, 1 << 20), Partial);
        assert_eq!(state(1 << 20, 1 << 20, 1 << 20), Missing);
        assert_eq!(state(50 << 30, 3, 1 << 20), Missing);
    }

    #[test]
    fn encryption_is_found_below_partitions_and_volumes() {
        let sys = tempfile::tempdir().expect("a directory");
        let make = |device: &str, uuid: &str| {
            std::fs::create_dir_all(sys.path().join(device).join("dm")).expect("a directory");
            std::fs::write(sys.path().join(device).join("dm/uuid"), uuid).expect("a file");
        };
        make("dm-0", "CRYPT-LUKS2-0123-root\n");
        make("dm-1", "LVM-abc\n");
        make("dm-2", "LVM-def\n");
        let slaves = sys.path().join("dm-1/slaves");
        std::fs::create_dir(&slaves).expect("a directory");
        std::os::unix::fs::symlink(sys.path().join("dm-0"), slaves.join("dm-0")).expect("a link");
        assert!(crypt_below(&sys.path().join("dm-0")));
        assert!(crypt_below(&sys.path().join("dm-1")));
        assert!(!crypt_below(&sys.path().join("dm-2")));
        let path = Path::new("/x");
        assert_eq!(at_rest(path, Rest::Encrypted).state, Fine);
        assert_eq!(at_rest(path, Rest::Plain).state, Absent);
    }

    #[test]
    fn swap_in_clear_is_told() {
        let table =
            |device: &str| format!("Filename Type Size Used Priority\n{device} partition 1 0 -2\n");
        assert_eq!(swap("Filename Type Size\n", |_| false).state, Fine);
        assert_eq!(swap(&table("/dev/zram0"), |_| false).state, Fine);
        assert_eq!(swap(&table("/dev/dm-1"), |_| true).state, Fine);
        assert_eq!(swap(&table("/dev/sda2"), |_| false).detail, "/dev/sda2 is not encrypted");
    }
}
