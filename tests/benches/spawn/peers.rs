//! Other sandbox launchers, set up to do as nearly the same as they can: all
//! seven namespaces, a read-only root of /usr and /etc, private /tmp and
//! /dev/shm, no capabilities, the same seccomp allow list.

use crate::{Program, stamp};
use fetchml_policies::{Library, Outcome};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 2] = ["bwrap", "crun"];

/// Executes this program again in a mount namespace in which /sys/fs/cgroup is
/// the version 2 hierarchy, on a machine where it is a mixture: crun refuses that.
pub(crate) fn enter_unified_view() {
    use std::os::unix::process::CommandExt;
    const MARK: &str = "FETCHML_BENCH_UNIFIED";
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if unified || std::env::var_os(MARK).is_some() {
        return;
    }
    let program = std::env::current_exe().expect("the bench knows its own path");
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    panic!("unshare cannot be executed: {error}");
}

/// One launcher.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Name and version.
    pub(crate) name: String,
    kind: &'static str,
    place: PathBuf,
}

/// Launchers that this machine does not have.
pub(crate) fn missing() -> Vec<&'static str> {
    let mut missing: Vec<_> = NAMES.into_iter().filter(|n| version(n).is_none()).collect();
    if limit().is_none() {
        missing.push("limit, the kernel's floor (name a built one in FETCHML_LIMIT)");
    }
    missing
}

/// The program that does the least a complete sandbox can cost on this kernel.
pub(crate) fn limit() -> Option<PathBuf> {
    std::env::var_os("FETCHML_LIMIT").map(PathBuf::from).filter(|p| p.exists())
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next()?.split_whitespace().last().map(str::to_owned)
}

impl Peer {
    /// The launchers that are there, with their files made below `place`.
    pub(crate) fn installed(place: &Path) -> Vec<Self> {
        let library = Library::load::<&Path>(&[]).expect("the vendor's policies are sound");
        let profile = library.profile("default").expect("it is there");
        let filter = library.filter(&profile).expect("it compiles");
        fs::write(place.join("filter.bpf"), filter.programs.concat()).expect("it can be written");
        let allowed: Vec<_> = filter
            .rules
            .iter()
            .filter(|r| r.outcome == Outcome::Allow && r.conditions.is_empty())
            .flat_map(|r| r.names.iter().cloned())
            // Their C library probes these and falls back.
            .chain(["clone", "socket", "prctl", "ioctl", "openat", "open"].map(str::to_owned))
            .collect();
        let job = place.join("job");
        fs::create_dir(&job).expect("a directory can be made");
        stamp::place_in(&job);
        for program in [Program::True, Program::Stamp] {
            bundle(place, program, &allowed);
        }
        NAMES
            .into_iter()
            .filter_map(|kind| {
                let name = format!("{kind} {}", version(kind)?);
                Some(Self { name, kind, place: place.to_owned() })
            })
            .collect()
    }

    /// The command that runs a program once.
    pub(crate) fn command(&self, program: Program) -> Command {
        let mut command = Command::new(self.kind);
        match self.kind {
            "bwrap" => {
                command.args([
                    "--unshare-all",
                    "--unshare-user",
                    "--uid",
                    "1000",
                    "--gid",
                    "1000",
                    "--cap-drop",
                    "ALL",
                    "--hostname",
                    "job",
                    "--new-session",
                    "--die-with-parent",
                    "--ro-bind",
                    "/usr",
                    "/usr",
                    "--ro-bind",
                    "/etc",
                    "/etc",
                    "--symlink",
                    "usr/bin",
                    "/bin",
                    "--symlink",
                    "usr/lib",
                    "/lib",
                    "--symlink",
                    "usr/lib64",
                    "/lib64",
                    "--ro-bind",
                ]);
                command.arg(self.place.join("job")).args([
                    "/job",
                    "--tmpfs",
                    "/tmp",
                    "--proc",
                    "/proc",
                    "--dev",
                    "/dev",
                    "--remount-ro",
                    "/",
                    "--seccomp",
                    "0",
                    "--",
                    program.path(),
                ]);
                let filter = fs::File::open(self.place.join("filter.bpf")).expect("it was written");
                command.stdin(filter);
            }
            _ => {
                // crun gives its standard input to the container's user: with
                // /dev/null that would be the host's node.
                let input = fs::File::open(self.place.join("filter.bpf")).expect("it was written");
                command
                    .args(["--root".as_ref(), self.place.join("crun-state").as_os_str()])
                    .args(["run", "--bundle"])
                    .arg(self.place.join(program.bundle()))
                    .arg("fetchml-bench")
                    .stdin(input);
            }
        }
        command
    }
}

/// An OCI bundle whose root is the host's /usr and /etc.
fn bundle(place: &Path, program: Program, allowed: &[String]) {
    let bundle = place.join(program.bundle());
    let root = bundle.join("rootfs");
    for dir in ["usr", "etc", "proc", "dev", "tmp", "job"] {
        fs::create_dir_all(root.join(dir)).expect("a directory can be made");
    }
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(target, root.join(link)).expect("a link can be made");
    }
    let bind = |source: &Path, path: &str| {
        json!({"source": source, "destination": path, "type": "bind",
               "options": ["rbind", "ro", "nosuid", "nodev"]})
    };
    let tmpfs = |path: &str| {
        json!({"source": "tmpfs", "destination": path, "type": "tmpfs",
               "options": ["nosuid", "nodev", "mode=1777", "size=64m"]})
    };
    let ids = json!([{"containerID": 0, "hostID": 1_879_048_192u32, "size": 65536}]);
    let none: [&str; 0] = [];
    let namespaces = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"]
        .map(|kind| json!({"type": kind}));
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": [program.path()], "cwd": "/",
            "env": ["PATH=/usr/bin"], "noNewPrivileges": true,
            "capabilities": {"bounding": none, "effective": none, "permitted": none, "ambient": none},
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
        },
        "root": {"path": root, "readonly": true},
        "hostname": "job",
        "mounts": [
            bind(Path::new("/usr"), "/usr"), bind(Path::new("/etc"), "/etc"),
            bind(&place.join("job"), "/job"),
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "nodev", "noexec"]},
            tmpfs("/tmp"), tmpfs("/dev"),
        ],
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": "/fetchml-bench",
            "uidMappings": ids, "gidMappings": ids,
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
            },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    });
    fs::write(bundle.join("config.json"), config.to_string()).expect("it can be written");
}
