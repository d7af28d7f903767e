//! A Debian booted by `systemd-nspawn` on a copy of an image.

use crate::cgroup::Cgroup;
use crate::image::{self, Debian, Kind};
use crate::{Output, Unavailable};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A booted Debian. Ends with this value.
#[derive(Debug)]
pub struct Container {
    name: String,
    nspawn: RefCell<Child>,
    leader: Cell<u32>,
    // Declared in the order in which they have to go: processes before files.
    cgroup: Cgroup,
    root: Tree,
}

impl Container {
    /// Boots a bare Debian with the users `alice`, `bob` and `mallory`.
    ///
    /// # Errors
    /// When this machine cannot.
    ///
    /// # Panics
    /// When it can, and the system does not come up.
    pub fn boot(debian: Debian) -> Result<Self, Unavailable> {
        let image = image::directory(Kind::Container, debian)?;
        Self::boot_copy(&image.join("root"))
    }

    /// Boots a Debian in which the package is installed, and `alice` and `bob`
    /// are in the group `fetchml`.
    ///
    /// # Errors
    /// When this machine cannot, or the package is not built.
    ///
    /// # Panics
    /// When the package cannot be installed or the system does not come up.
    pub fn boot_with_package(debian: Debian) -> Result<Self, Unavailable> {
        let package = crate::package()?;
        let container = Self::boot(debian)?;
        container.install(&package);
        Ok(container)
    }

    /// Installs a package and lets `alice` and `bob` run jobs.
    ///
    /// # Panics
    /// When that fails.
    pub fn install(&self, package: &Path) {
        self.copy_in(package, "/var/tmp/fetchml.deb");
        self.sh("root", "apt-get install --yes --no-install-recommends /var/tmp/fetchml.deb 2>&1")
            .ok();
        self.sh("root", "usermod -aG fetchml alice && usermod -aG fetchml bob").ok();
    }

    fn boot_copy(image: &Path) -> Result<Self, Unavailable> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("fetchml-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Tree::copy(image, &name)?;
        let cgroup = Cgroup::create(&name)?;
        let nspawn = RefCell::new(spawn(&root, &name, &cgroup)?);
        let container = Self { name, nspawn, leader: Cell::new(0), cgroup, root };
        container.wait_until_booted();
        Ok(container)
    }

    /// Ends the system in an orderly way and boots it again, with a boot id of its own.
    ///
    /// # Panics
    /// When it does not end or does not come up.
    pub fn reboot(&self) {
        assert!(self.stop(), "the container did not power off:\n{}", self.console());
        let again = spawn(&self.root, &self.name, &self.cgroup);
        *self.nspawn.borrow_mut() = again.unwrap_or_else(|why| panic!("{why}"));
        self.wait_until_booted();
    }

    fn wait_until_booted(&self) {
        let end = Instant::now() + BOOT_TIMEOUT;
        let mut state = String::new();
        while Instant::now() < end && !self.has_ended() {
            if let Some(leader) = leader_of(self.nspawn.borrow().id()) {
                self.leader.set(leader);
                let output =
                    self.enter().args(["systemctl", "is-system-running", "--wait"]).output();
                state = output
                    .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
                    .unwrap_or_default();
                if state == "running" || state == "degraded" {
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if state != "running" {
            let failed = self.enter().args(["systemctl", "--failed", "--no-pager"]).output();
            panic!(
                "the container did not come up ({state:?})\n{}\n{}",
                failed.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default(),
                self.console()
            );
        }
    }

    /// Runs a command as a user, as cron would: by PID 1, outside any session.
    /// The status is 255 when a signal ended it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, user: &str, command: &[&str]) -> Output {
        let output = self.command(user, command).output().expect("nsenter is there");
        Output::of(format!("{user}: {}", command.join(" ")), &output)
    }

    /// Runs a script of the shell as a user.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn sh(&self, user: &str, script: &str) -> Output {
        self.run(user, &["sh", "-c", script])
    }

    /// Starts a command as a user and goes on; the caller waits for it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, user: &str, command: &[&str]) -> Child {
        let mut process = self.command(user, command);
        process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter is there")
    }

    fn command(&self, user: &str, command: &[&str]) -> Command {
        let mut process = self.enter();
        process
            .args([
                "systemd-run",
                "--quiet",
                "--pipe",
                "--wait",
                "--collect",
                "--service-type=exec",
            ])
            .args(["--setenv=LC_ALL=C.UTF-8", "--setenv=COLUMNS=200"])
            .arg(format!("--property=User={user}"))
            .args(["--property=WorkingDirectory=~", "--"])
            // systemd would expand variables in the arguments.
            .args(command.iter().map(|word| word.replace('$', "$$")))
            .stdin(Stdio::null());
        process
    }

    fn enter(&self) -> Command {
        let mut process = Command::new("nsenter");
        process.args(["--target", &self.leader.get().to_string(), "--all"]);
        process
    }

    /// Runs a script of the shell as a user without PID 1 or a bus.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn without_bus(&self, user: &str, script: &str) -> Output {
        let mut process = self.enter();
        process.args(["runuser", "-l", user, "-c", script]).stdin(Stdio::null());
        let output = process.output().expect("nsenter is there");
        Output::of(format!("{user}: {script}"), &output)
    }

    /// Asks again and again until a script ends with 0, and gives its last output.
    ///
    /// # Panics
    /// When it has not done so after a minute.
    #[must_use]
    pub fn eventually(&self, user: &str, script: &str) -> Output {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.sh(user, script);
            if output.status == 0 {
                return output;
            }
            assert!(Instant::now() < end, "never true: {output}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Copies a file of this machine into the system.
    ///
    /// # Panics
    /// When that fails.
    pub fn copy_in(&self, from: &Path, to: &str) {
        self.write(to, &fs::read(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())));
    }

    /// Writes a file in the system, which everybody may read.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, to: &str, content: &[u8]) {
        let mut process = self.enter();
        process.args([
            "sh",
            "-c",
            r#"umask 022; mkdir -p "$(dirname "$1")"; cat > "$1""#,
            "sh",
            to,
        ]);
        let mut child = process.stdin(Stdio::piped()).spawn().expect("nsenter is there");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        stdin.write_all(content).unwrap_or_else(|e| panic!("{to}: {e}"));
        drop(stdin);
        assert!(child.wait().is_ok_and(|status| status.success()), "{to} was not written");
    }

    /// Ends the system in an orderly way.
    ///
    /// # Panics
    /// When it does not end.
    pub fn power_off(self) {
        assert!(self.stop(), "the container did not power off:\n{}", self.console());
    }

    /// What the system has said on its console.
    #[must_use]
    pub fn console(&self) -> String {
        fs::read_to_string(self.root.path.join("console.log")).unwrap_or_default()
    }

    /// What somebody wants to see of a system in which a test failed.
    #[allow(clippy::print_stderr)]
    fn tell(&self) {
        let units = ["--unit=fetchmld.service", "--unit=fetchml-jobs.service"];
        let journal =
            self.enter().arg("journalctl").args(["--no-pager", "--lines=60"]).args(units).output();
        if let Ok(journal) = journal {
            eprintln!("--- journal\n{}", String::from_utf8_lossy(&journal.stdout));
        }
    }

    /// Asks `systemd-nspawn` to halt its payload; whether it did.
    fn stop(&self) -> bool {
        signal(self.nspawn.borrow().id(), Signal::TERM);
        let end = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < end {
            if self.has_ended() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn has_ended(&self) -> bool {
        self.nspawn.borrow_mut().try_wait().is_ok_and(|ended| ended.is_some())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if !self.has_ended() && !self.stop() {
            let mut nspawn = self.nspawn.borrow_mut();
            signal(nspawn.id(), Signal::KILL);
            let _ = nspawn.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn spawn(root: &Tree, name: &str, cgroup: &Cgroup) -> Result<Child, Unavailable> {
    let because = |e: std::io::Error| Unavailable::because("console.log", &e);
    let console = root.path.join("console.log");
    let log = OpenOptions::new().create(true).append(true).open(console).map_err(because)?;
    let log_too = log.try_clone().map_err(because)?;
    nspawn(&root.path.join("root"), name, cgroup.path())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        .spawn()
        .map_err(|e| Unavailable::because("setpriv", &e))
}

/// `systemd-nspawn` in a cgroup of its own, with nothing of this machine's
/// systemd, and gone when this process is gone.
///
/// Its own system-call filter is off: it would answer for the kernel.
fn nspawn(root: &Path, name: &str, cgroup: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c"])
        .arg(r#"echo $$ > "$1/cgroup.procs"; shift; exec "$@""#)
        .arg("sh")
        .arg(cgroup)
        .args([
            "systemd-nspawn",
            "--boot",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--settings=no",
        ])
        .args(["--private-network", "--link-journal=no", "--resolv-conf=off", "--timezone=off"])
        .args(["--console=pipe", "--hostname=fetchml-test"])
        .arg(format!("--machine={name}"))
        .arg("--directory")
        .arg(root)
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .env("SYSTEMD_SECCOMP", "0");
    command
}

/// PID 1 of the container, once it is systemd and no longer nspawn's helper.
fn leader_of(nspawn: u32) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let parent: u32 = tail.split(' ').nth(1)?.parse().ok()?;
        (parent == nspawn && head.ends_with("(systemd")).then_some(pid)
    })
}

/// A copy of an image, removed with this value.
#[derive(Debug)]
struct Tree {
    path: PathBuf,
    // Held as long as the copy is in use; says so to whoever tidies up.
    _lock: File,
}

impl Tree {
    /// Copies file by file: an overlay could not carry the overlays and
    /// id-mapped mounts of a job.
    fn copy(image: &Path, name: &str) -> Result<Self, Unavailable> {
        let runs = image::cache().join("runs");
        let because = |e: std::io::Error| Unavailable::because(&runs.display().to_string(), &e);
        fs::create_dir_all(&runs).map_err(because)?;
        remove_abandoned(&runs);
        let path = runs.join(name);
        fs::create_dir(&path).map_err(because)?;
        let lock = File::create(path.join("lock")).map_err(because)?;
        lock.lock().map_err(because)?;
        let tree = Self { path, _lock: lock };
        let status = Command::new("cp")
            .args(["--archive", "--reflink=auto"])
            .arg(image)
            .arg(tree.path.join("root"))
            .status()
            .map_err(because)?;
        if status.success() {
            Ok(tree)
        } else {
            Err(Unavailable(format!("cp failed with {status}")))
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what a killed test run left.
fn remove_abandoned(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let unused =
            File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if unused {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
